//! Which neighbours a node keeps: the heuristic of the paper (algorithm 4), with protected links kept always.

use super::graph::NodeId;

/// A link under consideration, seen from the node that would hold it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Edge {
    /// Distance from the holder.
    pub score: f32,
    /// The other end.
    pub id: NodeId,
    /// Whether it must be kept.
    pub protected: bool,
}

/// Keeps at most `max` of `edges` (sorted by score): first those nearer to the holder than to any kept before them,
/// then, if places are left, the nearest of the rest. Protected edges are kept in any case.
/// `between(a, b)` is the distance of the ends of two edges, given by their positions in `edges`.
pub fn select(
    edges: &[Edge],
    max: usize,
    kept: &mut Vec<usize>,
    mut between: impl FnMut(usize, usize) -> f32,
) {
    kept.clear();
    if edges.len() <= max {
        kept.extend(0..edges.len());
        return;
    }
    let mut owed = edges.iter().filter(|edge| edge.protected).count();
    let mut spare = Vec::with_capacity(edges.len());
    for (at, edge) in edges.iter().enumerate() {
        if edge.protected {
            owed -= 1;
            kept.push(at);
        } else if kept.len() + owed < max {
            if kept.iter().all(|&k| edge.score < between(at, k)) {
                kept.push(at);
            } else {
                spare.push(at);
            }
        }
    }
    let room = max.saturating_sub(kept.len());
    kept.extend(spare.into_iter().take(room));
}

/// What to do when a full list is offered one more edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The list stays as it is.
    Reject,
    /// The new edge takes the place of the edge at this position.
    Replace(usize),
}

/// Decides which of the `edges` of a full list gives way to `new`, or that none does. Protected edges never do.
///
/// The same rule as [`select`], applied to the one change: a new edge that is nearer to a kept edge's end than to the
/// holder brings nothing; otherwise the farthest edge that the new one makes needless goes, or else the farthest.
/// `between(i)` is the distance from the new end to the end of edge `i`.
pub fn prune(edges: &[Edge], new: Edge, mut between: impl FnMut(usize) -> f32) -> Choice {
    let mut dominated: Option<usize> = None;
    let mut farthest: Option<usize> = None;
    let farther = |at: usize, best: Option<usize>| {
        best.is_none_or(|best| edges[at].score > edges[best].score)
    };
    for (at, edge) in edges.iter().enumerate() {
        if edge.protected {
            if !new.protected && edge.score <= new.score && between(at) <= new.score {
                return Choice::Reject;
            }
            continue;
        }
        if edge.score <= new.score {
            if !new.protected && between(at) <= new.score {
                return Choice::Reject;
            }
        } else if farther(at, dominated) && between(at) <= edge.score {
            dominated = Some(at);
        }
        if farther(at, farthest) {
            farthest = Some(at);
        }
    }
    match (dominated, farthest) {
        (Some(at), _) => Choice::Replace(at),
        (None, Some(at)) if new.protected || edges[at].score > new.score => Choice::Replace(at),
        _ => Choice::Reject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(points: &[f32]) -> Vec<Edge> {
        points
            .iter()
            .enumerate()
            .map(|(id, p)| Edge { score: p * p, id: id as u32, protected: false })
            .collect()
    }

    #[test]
    fn prefers_other_directions_then_fills() {
        // The holder stands at 0; 1.0 and 1.1 are the same direction, -2 is another.
        let points = [1.0, 1.1, -2.0, 3.0];
        let edges = edges(&points);
        let mut kept = Vec::new();
        let between = |a: usize, b: usize| (points[a] - points[b]).powi(2);
        select(&edges, 2, &mut kept, between);
        assert_eq!(kept, [0, 2]);
        select(&edges, 3, &mut kept, between);
        assert_eq!(kept, [0, 2, 1]);
    }

    #[test]
    fn keeps_protected_edges() {
        let points = [1.0, 1.1, 1.2, 9.0];
        let mut edges = edges(&points);
        edges[3].protected = true;
        let mut kept = Vec::new();
        select(&edges, 2, &mut kept, |a, b| (points[a] - points[b]).powi(2));
        assert_eq!(kept, [0, 3]);
    }

    #[test]
    fn prune_rejects_what_brings_nothing_and_replaces_the_needless() {
        let points = [1.0, -2.0, 4.0];
        let edges = edges(&points);
        let offer = |p: f32| Edge { score: p * p, id: 9, protected: false };
        assert_eq!(prune(&edges, offer(1.1), |i| (points[i] - 1.1f32).powi(2)), Choice::Reject);
        assert_eq!(prune(&edges, offer(0.9), |i| (points[i] - 0.9f32).powi(2)), Choice::Replace(2));
        let mut all = edges.clone();
        all.iter_mut().for_each(|edge| edge.protected = true);
        assert_eq!(prune(&all, offer(0.9), |i| (points[i] - 0.9f32).powi(2)), Choice::Reject);
    }
}
