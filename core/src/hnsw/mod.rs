//! The HNSW graph (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
//! navigable small world graphs", 2018): search, neighbour selection, parallel build in memory, page order.
//!
//! One search serves the graph in memory and the graph on pages: both are a [`Graph`]. One rule is added to the
//! paper: the first link to a node is *protected* and is never pruned, so the protected links form a tree and every
//! node stays reachable from its root, however much the other links change.

mod build;
mod graph;
mod node_set;
mod order;
mod search;
mod select;
mod visited;

pub use build::{BuildOptions, Builder, Built, Pushed};
pub use graph::{Graph, Item, Link, NodeId, Scored};
pub use node_set::NodeSet;
pub use order::page_order;
pub use search::Search;
pub use select::{Change, Edge, offer, select};
pub use visited::Visited;

/// The most levels a node can have above level 0.
pub const MAX_LEVEL: u8 = 15;

/// Links that a node keeps at `level`: `2m` on the ground, `m` above (section 4.1 of the paper).
pub fn max_links(m: usize, level: u8) -> usize {
    if level == 0 { 2 * m } else { m }
}

/// How many protected links a node holds before it hands a new one on to another node.
pub fn max_protected(m: usize) -> usize {
    m
}

/// The level of a new node: `floor(-ln(uniform) / ln(m))`, for `uniform` in (0, 1].
pub fn level_of(uniform: f64, m: usize) -> u8 {
    let level = -uniform.max(f64::MIN_POSITIVE).ln() / (m as f64).ln();
    level.min(f64::from(MAX_LEVEL)) as u8
}
