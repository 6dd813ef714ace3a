//! `lean.index_check`: compares an index with itself and with its table.

use std::collections::{HashMap, HashSet};

use leanstack_core::hnsw::NodeId;
use pgrx::pg_sys;

use super::graph::for_each_row;
use super::index;
use super::page::{self, AuxKind, Kind, NO_NODE, State};
use crate::am::check::{Finding, Problems, check_heap};
use crate::storage::{ReadGuard, Tid, cells};

/// What is known of a node once all pages were read.
struct Seen {
    state: State,
    has_rows: bool,
    links: Vec<(NodeId, bool)>,
}

/// Checks an index. The caller keeps writers and vacuum away.
///
/// # Safety
/// The relations are open and locked: the index is an `hnsw` index of the table.
pub unsafe fn check(heap: pg_sys::Relation, relation: pg_sys::Relation) -> Vec<Finding> {
    // SAFETY: as the caller promises, throughout.
    unsafe {
        let (info, meta) = index::open(relation);
        let layout = &info.layout;
        let m = layout.m();
        let blocks =
            pg_sys::RelationGetNumberOfBlocksInFork(relation, pg_sys::ForkNumber::MAIN_FORKNUM);
        let (mut pages, mut cells_wrong) = (Problems::default(), Problems::default());
        let mut nodes: HashMap<NodeId, Seen> = HashMap::new();
        let mut rows: HashMap<Tid, NodeId> = HashMap::new();
        let mut twice = Problems::default();
        let mut kinds = [0usize; 5];
        let mut upper_links = Vec::new();
        for block in 1..blocks {
            pgrx::check_for_interrupts!();
            let guard = ReadGuard::new(relation, block);
            let kind = [Kind::Mean, Kind::Node, Kind::Aux]
                .into_iter()
                .find(|&kind| page::is_kind(guard.page(), kind));
            let Some(kind) = kind else {
                // A page that a crash left behind between its allocation and its first use is all zero.
                if guard.page().iter().any(|&byte| byte != 0) {
                    pages.add(|| format!("block {block} is of no known kind"));
                }
                continue;
            };
            kinds[kind as usize] += 1;
            if kind != Kind::Node {
                continue;
            }
            for slot in 0..layout.slots() {
                let Some(node) = layout.node(guard.page(), slot) else { continue };
                let id = layout.id(block, slot);
                let mut mine = Vec::new();
                if node.state() == State::Live {
                    if node.tid().is_some() {
                        mine.push(node.tid());
                    }
                    let owner = (id, node.version());
                    for_each_row(relation, layout, owner, node.aux(), |tid| mine.push(tid));
                    if node.level() > 0 && !node.aux().is_some() {
                        // The cells of a node without rows go one by one, and vacuum may have been cut short.
                        if node.has_rows() {
                            cells_wrong.add(|| format!("node {id} lacks its upper links"));
                        }
                    } else if node.level() > 0 {
                        let cell_page = ReadGuard::new(relation, node.aux().block);
                        let cell = cells::cell(cell_page.page(), node.aux().slot)
                            .filter(|cell| page::aux::owner(cell) == (id, node.version()))
                            .filter(|cell| page::aux::kind(cell) == Some(AuxKind::Upper));
                        match cell {
                            _ if !node.has_rows() => {}
                            None => cells_wrong.add(|| format!("node {id} lacks its upper links")),
                            Some(cell) => {
                                upper_links.extend((1..=node.level()).flat_map(|level| {
                                    page::aux::links(cell, m, level).map(|link| link.id())
                                }))
                            }
                        }
                    }
                    if !mine.is_empty() && !node.tid().is_some() {
                        cells_wrong.add(|| format!("node {id} has rows but not the first"));
                    }
                }
                for tid in &mine {
                    if rows.insert(*tid, id).is_some() {
                        twice.add(|| format!("row ({},{})", tid.block, tid.offset));
                    }
                }
                nodes.insert(
                    id,
                    Seen {
                        state: node.state(),
                        has_rows: node.tid().is_some(),
                        links: node.links(m).map(|l| (l.id(), l.is_protected())).collect(),
                    },
                );
            }
        }
        let mut findings = vec![pages.finding(
            "pages",
            format!(
                "{} of nodes, {} of cells, {} of the mean",
                kinds[Kind::Node as usize],
                kinds[Kind::Aux as usize],
                kinds[Kind::Mean as usize]
            ),
        )];
        findings.push(cells_wrong.finding("cells", format!("{} rows", rows.len())));
        findings.push(twice.finding("rows once", format!("{} rows", rows.len())));
        findings.extend(check_links(&nodes, &upper_links, meta.root, meta.entry));
        let mut code = Vec::new();
        findings.push(check_heap(
            heap,
            relation,
            info.kind,
            |value| info.codec.encode(value, &mut code).is_some(),
            |tid| rows.contains_key(&tid),
        ));
        findings
    }
}

fn check_links(
    nodes: &HashMap<NodeId, Seen>,
    upper_links: &[NodeId],
    root: NodeId,
    entry: NodeId,
) -> Vec<Finding> {
    let (mut links, mut protected, mut start) =
        (Problems::default(), Problems::default(), Problems::default());
    let is_live = |id: &NodeId| nodes.get(id).is_some_and(|node| node.state == State::Live);
    let mut held: HashMap<NodeId, usize> = HashMap::new();
    let mut count = 0;
    for (id, node) in nodes.iter().filter(|(_, node)| node.state == State::Live) {
        let mut seen = HashSet::new();
        for (to, is_protected) in &node.links {
            count += 1;
            // A vacuum cut short leaves nodes without rows that link to nodes it had come to the end with. Nothing
            // leads to such a node.
            if node.has_rows && !is_live(to) {
                links.add(|| format!("node {id} links to {to}, which is no node"));
            }
            if to == id || !seen.insert(*to) {
                links.add(|| format!("node {id} links to {to} twice or to itself"));
            }
            *held.entry(*to).or_default() += usize::from(*is_protected);
        }
    }
    for to in upper_links.iter().filter(|to| !is_live(to)) {
        links.add(|| format!("an upper link leads to {to}, which is no node"));
    }
    let with_rows = nodes.iter().filter(|(_, node)| node.state == State::Live && node.has_rows);
    for (id, _) in with_rows.clone() {
        if *id != root && held.get(id).is_none_or(|&held| held == 0) {
            protected.add(|| format!("nothing holds node {id}"));
        }
    }
    let any = nodes.values().any(|node| node.state == State::Live && node.has_rows);
    for (name, id) in [("root", root), ("entry point", entry)] {
        if if id == NO_NODE { any } else { !is_live(&id) } {
            start.add(|| format!("the {name} is {id}, which is no node"));
        }
    }
    let mut reached = HashSet::from([root]);
    let mut ahead = vec![root];
    while let Some(id) = ahead.pop() {
        for (to, _) in nodes.get(&id).map_or(&[][..], |node| &node.links) {
            if reached.insert(*to) {
                ahead.push(*to);
            }
        }
    }
    let mut lost = Problems::default();
    let mut total = 0;
    for (id, _) in with_rows {
        total += 1;
        if !reached.contains(id) {
            lost.add(|| format!("node {id}"));
        }
    }
    vec![
        start.finding("start", format!("root {root}, entry point {entry}")),
        links.finding("links", format!("{count} links")),
        protected.finding("protected links", format!("{total} nodes")),
        lost.finding("reachable", format!("{total} nodes")),
    ]
}
