//! Which neighbours a node keeps: the heuristic of the paper (algorithm 4), with protected links kept always.

use super::graph::{Link, NodeId};

/// A link under consideration, seen from the node that would hold it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Edge {
    /// Distance from the holder.
    pub score: f32,
    /// The other end.
    pub id: NodeId,
    /// Whether it must be kept.
    pub protected: bool,
    /// Whether it only fills a place: an edge nearer to the holder leads to its end as well.
    pub spare: bool,
}

impl Edge {
    /// An edge to a node, neither protected nor known to be spare.
    pub fn new(score: f32, id: NodeId) -> Edge {
        Edge { score, id, protected: false, spare: false }
    }

    /// The edge of a stored link.
    pub fn of(link: Link, score: f32) -> Edge {
        Edge { score, id: link.id(), protected: link.is_protected(), spare: link.is_spare() }
    }

    /// The link to store.
    pub fn link(&self) -> Link {
        Link::new(self.id, self.protected, self.spare)
    }
}

/// Keeps at most `max` of `edges` (sorted by score): first those nearer to the holder than to any kept before them,
/// then, as spares, the nearest of the rest. Protected edges are kept in any case.
/// `between(a, b)` is the distance of the ends of two edges, given by their positions in `edges`.
pub fn select(
    edges: &[Edge],
    max: usize,
    kept: &mut Vec<Edge>,
    mut between: impl FnMut(usize, usize) -> f32,
) {
    kept.clear();
    let mut owed = edges.iter().filter(|edge| edge.protected).count();
    let mut chosen: Vec<usize> = Vec::with_capacity(max);
    let mut spare = Vec::with_capacity(edges.len());
    for (at, edge) in edges.iter().enumerate() {
        owed -= usize::from(edge.protected);
        if edge.protected {
            chosen.push(at);
        } else if chosen.len() + owed >= max {
            break;
        } else if chosen.iter().all(|&other| edge.score < between(at, other)) {
            chosen.push(at);
        } else {
            spare.push(at);
        }
    }
    // Once there are enough, only protected edges are still taken.
    let rest = chosen.last().map_or(0, |&last| last + 1);
    if owed > 0 {
        let taken = |at: &usize| edges[*at].protected;
        let late: Vec<usize> = (rest..edges.len()).filter(taken).collect();
        chosen.extend(late);
    }
    let room = max.saturating_sub(chosen.len());
    kept.extend(chosen.into_iter().map(|at| Edge { spare: false, ..edges[at] }));
    kept.extend(spare.into_iter().take(room).map(|at| Edge { spare: true, ..edges[at] }));
}

/// What becomes of a list of edges that is offered one more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where the new edge goes; the length of the list: at its end.
    pub at: usize,
    /// Whether the new edge is a spare.
    pub spare: bool,
    /// Positions of edges that are spares from now on.
    pub demoted: Vec<usize>,
}

/// Decides what becomes of `edges`, of which there may be at most `max`, when `new` is offered; nothing if the list is
/// better without it. The rule of [`select`], applied to the one change: the farthest spare gives way, or else the
/// farthest edge; a protected one never does. `between(i)` is the distance from the new end to the end of edge `i`.
pub fn offer(
    edges: &[Edge],
    max: usize,
    new: Edge,
    mut between: impl FnMut(usize) -> f32,
) -> Option<Change> {
    let chosen = |edge: &Edge| !edge.spare;
    let nearer = edges.iter().enumerate().filter(|(_, e)| chosen(e) && e.score <= new.score);
    let spare = !new.protected && { nearer }.any(|(at, _)| between(at) <= new.score);
    let full = edges.len() >= max;
    let mut demoted = Vec::new();
    if spare {
        let worse = |edge: &&Edge| edge.spare && !edge.protected && edge.score > new.score;
        if full && !edges.iter().any(|edge| worse(&edge)) {
            return None;
        }
    } else {
        let farther = edges.iter().enumerate().filter(|(_, e)| chosen(e) && e.score > new.score);
        demoted.extend(
            farther
                .filter(|(at, edge)| !edge.protected && between(*at) <= edge.score)
                .map(|(at, _)| at),
        );
    }
    if !full {
        return Some(Change { at: edges.len(), spare, demoted });
    }
    let farthest = |wanted: &dyn Fn(usize, &Edge) -> bool| {
        edges
            .iter()
            .enumerate()
            .filter(|(at, edge)| !edge.protected && wanted(*at, edge))
            .max_by(|(_, a), (_, b)| a.score.total_cmp(&b.score))
            .map(|(at, _)| at)
    };
    let victim = farthest(&|at, edge| edge.spare || demoted.contains(&at))
        .or_else(|| farthest(&|_, edge| new.protected || edge.score > new.score))?;
    demoted.retain(|&at| at != victim);
    Some(Change { at: victim, spare, demoted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(points: &[f32]) -> Vec<Edge> {
        points.iter().enumerate().map(|(id, p)| Edge::new(p * p, id as u32)).collect()
    }

    fn ids(kept: &[Edge]) -> Vec<u32> {
        kept.iter().map(|edge| edge.id).collect()
    }

    #[test]
    fn prefers_other_directions_then_fills() {
        // The holder stands at 0; 1.0 and 1.1 are the same direction, -2 is another.
        let points = [1.0, 1.1, -2.0, 3.0];
        let edges = edges(&points);
        let mut kept = Vec::new();
        let between = |a: usize, b: usize| (points[a] - points[b]).powi(2);
        select(&edges, 2, &mut kept, between);
        assert_eq!(ids(&kept), [0, 2]);
        select(&edges, 3, &mut kept, between);
        assert_eq!(ids(&kept), [0, 2, 1]);
        assert_eq!(kept.iter().map(|edge| edge.spare).collect::<Vec<_>>(), [false, false, true]);
        select(&edges, 9, &mut kept, between);
        assert_eq!(kept.len(), 4);
    }

    #[test]
    fn keeps_protected_edges() {
        let points = [1.0, 1.1, 1.2, -5.0, 9.0];
        let mut edges = edges(&points);
        edges[4].protected = true;
        let mut kept = Vec::new();
        select(&edges, 2, &mut kept, |a, b| (points[a] - points[b]).powi(2));
        assert_eq!(ids(&kept), [0, 4]);
        edges[1].protected = true;
        select(&edges, 2, &mut kept, |a, b| (points[a] - points[b]).powi(2));
        assert_eq!(ids(&kept), [1, 4]);
    }

    #[test]
    fn an_offer_replaces_the_farthest_spare_or_is_refused() {
        let points: [f32; 4] = [1.0, 1.2, -2.0, 4.0];
        let mut kept = Vec::new();
        select(&edges(&points), 4, &mut kept, |a, b| (points[a] - points[b]).powi(2));
        let point = |edge: &Edge| points[edge.id as usize];
        let propose = |p: f32, protected: bool, list: &[Edge]| {
            let new = Edge { score: p * p, id: 9, protected, spare: false };
            offer(list, 4, new, |at| (point(&list[at]) - p).powi(2))
        };
        // Chosen: 1 and -2; spare: 1.2 and 4. What 1 makes needless takes the place of the farther spare.
        let four = kept.iter().position(|edge| edge.id == 3);
        let change = propose(1.1, false, &kept).expect("taken");
        assert_eq!((Some(change.at), change.spare), (four, true));
        assert_eq!(propose(5.0, false, &kept), None);
        // A nearer one makes 1 a spare.
        let change = propose(0.9, false, &kept).expect("taken");
        assert_eq!((Some(change.at), change.spare), (four, false));
        assert_eq!(change.demoted, [0]);
        kept.iter_mut().for_each(|edge| edge.protected = true);
        assert_eq!(propose(0.9, false, &kept), None);
    }
}
