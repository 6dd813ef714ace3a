//! In which order nodes are laid on pages: neighbours together, so that a search pins fewer pages.

use super::graph::NodeId;

/// Orders `nodes` nodes so that each run of `per_page` shares many links: a page starts from the node most linked
/// from the page before and takes, one by one, the node with the most links from those already on it.
/// `links(id, out)` replaces `out` by the neighbours of a node.
pub fn page_order(
    nodes: usize,
    per_page: usize,
    mut links: impl FnMut(NodeId, &mut Vec<NodeId>),
) -> Vec<NodeId> {
    if per_page <= 1 {
        return (0..nodes as NodeId).collect();
    }
    let mut order = Vec::with_capacity(nodes);
    let mut placed = vec![false; nodes];
    let mut gain = vec![0u16; nodes];
    let mut touched: Vec<NodeId> = Vec::new();
    let mut frontier: Vec<NodeId> = Vec::new();
    let mut neighbours = Vec::new();
    let mut unseen = 0;
    while order.len() < nodes {
        let mut next = best_of(&touched, &placed, &gain)
            .or_else(|| last_unplaced(&mut frontier, &placed))
            .unwrap_or_else(|| {
                while placed[unseen] {
                    unseen += 1;
                }
                unseen as NodeId
            });
        for id in touched.drain(..) {
            gain[id as usize] = 0;
            if !placed[id as usize] && id != next {
                frontier.push(id);
            }
        }
        for slot in 0..per_page {
            placed[next as usize] = true;
            order.push(next);
            links(next, &mut neighbours);
            for &id in &neighbours {
                if !placed[id as usize] {
                    if gain[id as usize] == 0 {
                        touched.push(id);
                    }
                    gain[id as usize] += 1;
                }
            }
            if slot + 1 == per_page || order.len() == nodes {
                break;
            }
            match best_of(&touched, &placed, &gain)
                .or_else(|| last_unplaced(&mut frontier, &placed))
            {
                Some(id) => next = id,
                None => break,
            }
        }
    }
    order
}

fn best_of(touched: &[NodeId], placed: &[bool], gain: &[u16]) -> Option<NodeId> {
    touched.iter().copied().filter(|&id| !placed[id as usize]).max_by_key(|&id| gain[id as usize])
}

fn last_unplaced(frontier: &mut Vec<NodeId>, placed: &[bool]) -> Option<NodeId> {
    while let Some(id) = frontier.pop() {
        if !placed[id as usize] {
            return Some(id);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_each_node_once_and_keeps_groups_together() {
        // Eight groups of four nodes, linked within the group, met in shuffled order.
        let group = |id: u32| id % 8;
        let order = page_order(32, 4, |id, out| {
            out.clear();
            out.extend((0..32).filter(|&other| other != id && group(other) == group(id)));
        });
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..32).collect::<Vec<_>>());
        for page in order.chunks(4) {
            assert!(page.iter().all(|&id| group(id) == group(page[0])), "{page:?}");
        }
    }
}
