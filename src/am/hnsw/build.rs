//! `CREATE INDEX`: the leader reads the heap and encodes, threads build the graph in memory, the leader writes the
//! pages in order and logs them once. What does not fit into `maintenance_work_mem` is inserted row by row.

use leanstack_core::hnsw::{BuildOptions, Builder, Built, Link, NodeId, Pushed, page_order};
use leanstack_core::metric::Metric;
use leanstack_core::quantize::{Codec, Repr, Value};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::index::{IndexInfo, MEAN_BYTES_PER_PAGE};
use super::insert;
use super::options::{self, Options, Quantization};
use super::page::{self, AUX_SLOTS, AuxKind, AuxPtr, Kind, Layout, META_BYTES, Meta, NO_NODE};
use crate::am::heap::{self, Source};
use crate::am::{opclass, progress, vectors};
use crate::error::unwrap;
use crate::guc;
use crate::storage::page::content_mut;
use crate::storage::{Tid, cells, corrupt, fresh, space};
use crate::threads;
use crate::types::value::TypeKind;

/// Vectors up to this many bytes are kept as they are under `quantization = auto`: the rest of a node is longer.
const SHORT_BYTES: usize = 128;
/// Heap blocks read to find the mean.
const SAMPLE_BLOCKS: u32 = 100;
/// Rows in one cell of a chain.
const ROWS_PER_CELL: usize = 600;
/// Nodes put in order between two looks at whether the build was cancelled.
const INTERRUPT_EVERY: u32 = 4096;

/// Phases, as `pg_stat_progress_create_index` shows them.
#[derive(Clone, Copy)]
#[repr(i64)]
enum Phase {
    Initialize = 1,
    Load = 2,
    Build = 3,
    Write = 4,
    Insert = 5,
}

/// Names a phase.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(phase: i64) -> *mut std::ffi::c_char {
    let name = match phase {
        p if p == Phase::Initialize as i64 => c"initializing",
        p if p == Phase::Load as i64 => c"loading tuples",
        p if p == Phase::Build as i64 => c"building graph",
        p if p == Phase::Write as i64 => c"writing index",
        p if p == Phase::Insert as i64 => c"inserting tuples that did not fit into memory",
        _ => return std::ptr::null_mut(),
    };
    name.as_ptr().cast_mut()
}

fn enter(phase: Phase) {
    progress::phase(phase as i64);
}

/// What the index is to be, before its first page is written.
struct Plan {
    kind: TypeKind,
    metric: Metric,
    options: Options,
    repr: Repr,
    dims: usize,
}

/// A build under way.
struct BuildState {
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: IndexInfo,
    /// Holds the vectors, until the memory is used up.
    builder: Option<Builder>,
    /// First rows of the nodes, in the order of the nodes.
    first_rows: Vec<Tid>,
    /// Further rows of nodes.
    more_rows: Vec<(NodeId, Tid)>,
    memory_limit: usize,
    meta: Meta,
    mean: Vec<f32>,
    index_tuples: f64,
}

/// Builds an index.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    index_info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: the server passes open relations and the description of the index; nobody else sees the index yet.
    unsafe {
        enter(Phase::Initialize);
        let plan = Plan::new(index);
        let source = Source { heap, index, index_info, kind: plan.kind };
        let mean = plan.sample_mean(&source);
        let mut state = BuildState::new(heap, index, &plan, mean);
        enter(Phase::Load);
        let heap_tuples = source.scan(&mut |tid, value| state.add(tid, value));
        state.flush();
        fresh::log_whole(index, pg_sys::ForkNumber::MAIN_FORKNUM);
        let mut result = PgBox::<pg_sys::IndexBuildResult>::alloc0();
        result.heap_tuples = heap_tuples;
        result.index_tuples = state.index_tuples;
        result.into_pg()
    }
}

/// Writes the empty index that an unlogged table's index is reset to.
#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: the server passes the open index.
    unsafe {
        let meta = Plan::new(index).meta(&[]);
        let fork = pg_sys::ForkNumber::INIT_FORKNUM;
        write_meta(index, fork, &meta);
        fresh::log_whole(index, fork);
    }
}

impl Plan {
    /// Decides, or raises why the column cannot be indexed.
    unsafe fn new(index: pg_sys::Relation) -> Plan {
        // SAFETY: the caller holds the index open.
        let (options, (kind, metric), (type_oid, typmod)) =
            unsafe { (options::of(index), opclass::of(index), heap::first_column(index)) };
        if type_oid == pg_sys::VARBITOID {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "type not supported for hnsw index"
            );
        }
        if typmod < 0 {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "column does not have dimensions"
            );
        }
        if options.ef_construction < 2 * options.m {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "ef_construction must be greater than or equal to 2 * m"
            );
        }
        let dims = typmod as usize;
        let repr = choose_repr(kind, metric, options, dims);
        Plan { kind, metric, options, repr, dims }
    }

    fn codec(&self, mean: Vec<f32>) -> Codec {
        unwrap(Codec::new(self.repr, self.metric, self.dims, mean))
    }

    fn meta(&self, mean: &[f32]) -> Meta {
        let code_bytes = self.codec(mean.to_vec()).code_len().unwrap_or(0);
        let mean_pages = (mean.len() * 4).div_ceil(MEAN_BYTES_PER_PAGE) as u32;
        Meta {
            build_id: rand::random(),
            dims: self.dims as u32,
            code_bytes: code_bytes as u32,
            m: self.options.m as u16,
            ef_construction: self.options.ef_construction as u16,
            repr: self.repr as u8,
            metric: self.metric as u8,
            type_kind: opclass::kind_number(self.kind),
            attribute_bytes: 0,
            mean_block: 1,
            mean_pages,
            entry: NO_NODE,
            entry_level: 0,
            root: NO_NODE,
            aux_head: cells::NO_BLOCK,
        }
    }

    /// The mean of some rows of blocks spread over the heap; empty where codes are not relative to one.
    unsafe fn sample_mean(&self, source: &Source) -> Vec<f32> {
        if !matches!(self.repr, Repr::Sq8 | Repr::Sq4 | Repr::Sq2) {
            return Vec::new();
        }
        let (mut sums, mut rows) = (vec![0.0; self.dims], 0);
        let mut add = |_, value: Value<'_>| {
            if let Some(components) = vectors::components(value, self.metric == Metric::Cosine) {
                sums.iter_mut().zip(components).for_each(|(sum, x)| *sum += x);
                rows += 1;
            }
        };
        // SAFETY: as for `ambuild`.
        unsafe { source.sample(SAMPLE_BLOCKS, &mut add) };
        if rows == 0 {
            return Vec::new();
        }
        sums.iter().map(|sum| (sum / f64::from(rows)) as f32).collect()
    }
}

/// What nodes hold in place of vectors.
fn choose_repr(kind: TypeKind, _metric: Metric, options: Options, dims: usize) -> Repr {
    let room = Layout::max_code_bytes(options.m, kind == TypeKind::Sparsevec);
    let (plain, plain_bytes) = match kind {
        TypeKind::Vector => (Repr::F32, dims * 4),
        TypeKind::Halfvec => (Repr::F16, dims * 2),
        TypeKind::Sparsevec => (Repr::Sparse, 0),
        TypeKind::Bit => (Repr::Bits, dims.div_ceil(8)),
    };
    let scalar = [(Repr::Sq8, dims), (Repr::Sq4, dims.div_ceil(2)), (Repr::Sq2, dims.div_ceil(4))]
        .into_iter()
        .find(|(_, bytes)| *bytes <= room);
    let quantizable = matches!(kind, TypeKind::Vector | TypeKind::Halfvec);
    let unsupported = |name: &str| {
        crate::error::fail(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("quantization \"{name}\" is not supported for this column type"),
            "Use quantization = auto or none.",
        );
    };
    let chosen = match options.quantization {
        Quantization::Auto if quantizable && plain_bytes > SHORT_BYTES => scalar,
        Quantization::Auto | Quantization::None => Some((plain, plain_bytes)),
        Quantization::Sq8 => {
            if !quantizable {
                unsupported("sq8");
            }
            scalar
        }
        Quantization::Half => {
            if !quantizable {
                unsupported("half");
            }
            Some((Repr::F16, dims * 2))
        }
    };
    match chosen {
        Some((repr, bytes)) if bytes <= room => repr,
        _ => {
            let most = match plain {
                _ if matches!(options.quantization, Quantization::Half) => room / 2,
                Repr::F32 => room / 4,
                Repr::F16 => room / 2,
                _ => room * 8,
            };
            crate::error::fail(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("column cannot have more than {most} dimensions for hnsw index"),
                "A smaller m leaves more room; quantization = auto stores longer vectors.",
            );
        }
    }
}

impl BuildState {
    unsafe fn new(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        plan: &Plan,
        mean: Vec<f32>,
    ) -> BuildState {
        let meta = plan.meta(&mean);
        let Some(info) = IndexInfo::new(&meta, mean.clone()) else {
            corrupt(index, 0, "a new index contradicts itself");
        };
        let options =
            BuildOptions { m: plan.options.m, ef_construction: plan.options.ef_construction };
        BuildState {
            heap,
            index,
            builder: Some(Builder::new(info.codec.clone(), options)),
            info,
            first_rows: Vec::new(),
            more_rows: Vec::new(),
            memory_limit: guc::build_memory_bytes(),
            meta,
            mean,
            index_tuples: 0.0,
        }
    }

    unsafe fn add(&mut self, tid: Tid, value: Value<'_>) {
        let Some(builder) = &mut self.builder else {
            // SAFETY: the relations are open and the index is not seen by anybody else.
            let indexed = unsafe {
                insert::insert(self.index, self.heap, &self.info, value, tid, insert::Mode::Build)
            };
            self.index_tuples += f64::from(u8::from(indexed));
            self.report_progress();
            return;
        };
        insert::check_code_fits(&self.info, &value);
        let uniform = 1.0 - rand::random::<f64>();
        match builder.push(value, uniform) {
            Pushed::Node(_) => self.first_rows.push(tid),
            Pushed::Duplicate(node) => self.more_rows.push((node, tid)),
            Pushed::Skipped => return,
        }
        self.index_tuples += 1.0;
        let rows_bytes = size_of::<Tid>() * self.first_rows.len()
            + size_of::<(NodeId, Tid)>() * self.more_rows.len();
        if builder.memory_bytes() + rows_bytes > self.memory_limit {
            let tuples = self.index_tuples;
            let message = format!(
                "hnsw graph no longer fits into maintenance_work_mem after {tuples} tuples"
            );
            ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "ambuild")
                .set_detail("Building will take significantly more time.")
                .set_hint("Increase maintenance_work_mem to speed up builds.")
                .report(PgLogLevel::NOTICE);
            // SAFETY: as above.
            unsafe { self.flush() };
            enter(Phase::Insert);
        }
    }

    fn report_progress(&self) {
        progress::tuples_done(self.index_tuples as i64);
    }

    /// Builds the graph of what was collected and writes it. Does nothing the second time.
    unsafe fn flush(&mut self) {
        let Some(builder) = self.builder.take() else { return };
        enter(Phase::Build);
        progress::tuples_total(builder.len() as i64);
        let threads = threads::build_threads();
        let pool = threads::build_pool(threads);
        let built = builder.build(&pool, threads, |done| {
            pgrx::check_for_interrupts!();
            progress::tuples_done(done as i64);
            Ok::<(), std::convert::Infallible>(())
        });
        let Ok(built) = built;
        drop(pool);
        enter(Phase::Write);
        // SAFETY: the index is open and empty, and nobody else sees it.
        unsafe { self.write(&built) };
    }

    /// Writes all pages: the metapage, the mean, the nodes in page order, the aux pages.
    unsafe fn write(&mut self, built: &Built) {
        let fork = pg_sys::ForkNumber::MAIN_FORKNUM;
        let rows = self.rows_by_node(built);
        let placed = Placed::new(built, &self.info, &self.meta, rows);
        if let (Some((entry, level)), Some(root)) = (built.entry(), built.root()) {
            self.meta.entry = placed.ids[entry as usize];
            self.meta.entry_level = level;
            self.meta.root = placed.ids[root as usize];
        }
        self.meta.aux_head = match placed.aux_pages.len() {
            0 => cells::NO_BLOCK,
            pages => placed.first_aux_block + pages as u32 - 1,
        };
        // SAFETY: as the caller promises.
        unsafe {
            write_meta(self.index, fork, &self.meta);
            for part in self.mean.chunks(MEAN_BYTES_PER_PAGE / 4) {
                fresh::add_page(self.index, fork, |page| {
                    page::init_page(page, Kind::Mean, part.len() * 4);
                    for (at, x) in part.iter().enumerate() {
                        content_mut(page)[at * 4..at * 4 + 4]
                            .copy_from_slice(&x.to_bits().to_ne_bytes());
                    }
                });
            }
            let last = placed.node_pages.len().saturating_sub(1);
            for (at, nodes) in placed.node_pages.iter().enumerate() {
                pgrx::check_for_interrupts!();
                let block = fresh::add_page(self.index, fork, |page| {
                    self.write_nodes(page, built, &placed, nodes);
                });
                if at == last {
                    space::set_last_used(self.index, block);
                }
            }
            for (at, cells) in placed.aux_pages.iter().enumerate() {
                let is_head = at + 1 == placed.aux_pages.len();
                fresh::add_page(self.index, fork, |page| {
                    self.write_aux(page, built, &placed, cells, is_head)
                });
            }
        }
    }

    fn rows_by_node(&mut self, built: &Built) -> Rows {
        self.more_rows.sort_unstable();
        let mut rows = Rows {
            first: std::mem::take(&mut self.first_rows),
            more: std::mem::take(&mut self.more_rows),
            start: Vec::with_capacity(built.len() + 1),
        };
        let mut at = 0;
        for node in 0..built.len() as NodeId {
            rows.start.push(at as u32);
            while at < rows.more.len() && rows.more[at].0 == node {
                at += 1;
            }
        }
        rows.start.push(at as u32);
        rows
    }

    fn write_nodes(
        &self,
        page: &mut crate::storage::page::Page,
        built: &Built,
        placed: &Placed,
        nodes: &[NodeId],
    ) {
        let layout = &self.info.layout;
        let mut links = Vec::new();
        layout.init(page);
        for &node in nodes {
            let (code, factors) = built.code(node);
            let slot = layout.take_slot(page, code.len(), false);
            let Some(mut at) = slot.and_then(|slot| layout.node_mut(page, slot)) else {
                corrupt(self.index, 0, "a node does not fit where it was placed");
            };
            let aux = placed.aux_of[node as usize];
            at.set(built.level(node), placed.rows.first[node as usize], aux, &factors, code);
            placed.links(built, node, 0, &mut links);
            at.set_links(layout.m(), &links);
        }
    }

    fn write_aux(
        &self,
        page: &mut crate::storage::page::Page,
        built: &Built,
        placed: &Placed,
        aux_cells: &[AuxCell],
        is_head: bool,
    ) {
        let m = self.info.layout.m();
        let mut links = Vec::new();
        page::init_page(page, Kind::Aux, cells::empty_bytes(AUX_SLOTS));
        cells::init(page, AUX_SLOTS);
        cells::set_listed(page, is_head);
        for cell in aux_cells {
            let slot = cells::add(page, cell.bytes(built, m));
            let Some(bytes) = slot.and_then(|slot| cells::cell_mut(page, slot)) else {
                corrupt(self.index, 0, "a cell does not fit where it was placed");
            };
            let owner = placed.ids[cell.node as usize];
            // A node that was just written has version 1.
            page::aux::init(bytes, owner, 1, cell.kind(), cell.next);
            match &cell.rows {
                None => {
                    for level in 1..=built.level(cell.node) {
                        placed.links(built, cell.node, level, &mut links);
                        page::aux::set_links(bytes, m, level, &links);
                    }
                }
                Some(range) => {
                    let rows: Vec<Tid> =
                        placed.rows.more[range.clone()].iter().map(|(_, tid)| *tid).collect();
                    page::aux::set_rows(bytes, &rows);
                }
            }
        }
    }
}

/// Rows of the nodes: the first of each, and the rest in the order of the nodes.
struct Rows {
    first: Vec<Tid>,
    more: Vec<(NodeId, Tid)>,
    /// Where in `more` each node's rows begin; one more at the end.
    start: Vec<u32>,
}

/// A cell to be written to an aux page.
struct AuxCell {
    node: NodeId,
    next: AuxPtr,
    /// Rows of a chain; nothing: links of the levels from 1.
    rows: Option<std::ops::Range<usize>>,
}

impl AuxCell {
    fn kind(&self) -> AuxKind {
        if self.rows.is_some() { AuxKind::Rows } else { AuxKind::Upper }
    }

    fn bytes(&self, built: &Built, m: usize) -> usize {
        match &self.rows {
            Some(rows) => page::aux::rows_bytes(rows.len()),
            None => page::aux::upper_bytes(m, built.level(self.node)),
        }
    }
}

/// Where every node and cell goes.
struct Placed {
    /// The node number on pages of each node in memory.
    ids: Vec<NodeId>,
    node_pages: Vec<Vec<NodeId>>,
    aux_of: Vec<AuxPtr>,
    aux_pages: Vec<Vec<AuxCell>>,
    first_aux_block: u32,
    rows: Rows,
}

impl Placed {
    fn new(built: &Built, info: &IndexInfo, meta: &Meta, rows: Rows) -> Placed {
        let layout = &info.layout;
        let mut links = Vec::new();
        let per_page = usize::from(layout.slots());
        let mut calls = 0u32;
        let order = page_order(built.len(), per_page, |node, out| {
            calls = calls.wrapping_add(1);
            if calls.is_multiple_of(INTERRUPT_EVERY) {
                pgrx::check_for_interrupts!();
            }
            built.links(node, 0, &mut links);
            out.clear();
            out.extend(links.iter().map(|link| link.id()));
        });
        let first_block = meta.mean_block + meta.mean_pages;
        let mut ids = vec![NO_NODE; built.len()];
        let mut node_pages: Vec<Vec<NodeId>> = Vec::new();
        let room = cells::max_cell_bytes(layout.slots());
        let mut used = 0;
        for node in order {
            let bytes = layout.node_bytes(built.code(node).0.len());
            let full = node_pages.last().is_none_or(|page| {
                page.len() == per_page || (info.codec.code_len().is_none() && used + bytes > room)
            });
            if full {
                node_pages.push(Vec::new());
                used = 0;
            }
            used += bytes;
            let block = first_block + node_pages.len() as u32 - 1;
            if let Some(page) = node_pages.last_mut() {
                ids[node as usize] = layout.id(block, page.len() as u16);
                page.push(node);
            }
        }
        let first_aux_block = first_block + node_pages.len() as u32;
        if !layout.has_numbers(first_aux_block) {
            ereport!(
                ERROR,
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("hnsw index cannot have {} nodes: node numbers are used up", built.len())
            );
        }
        let mut placed = Placed {
            ids,
            node_pages,
            aux_of: vec![AuxPtr::NONE; built.len()],
            aux_pages: Vec::new(),
            first_aux_block,
            rows,
        };
        placed.place_aux(built, layout.m());
        placed
    }

    /// Nodes of one page have their cells on the same or on neighbouring pages.
    fn place_aux(&mut self, built: &Built, m: usize) {
        let room = cells::max_cell_bytes(AUX_SLOTS);
        let mut used = room;
        for page in std::mem::take(&mut self.node_pages).iter() {
            for &node in page {
                let rows = self.rows.start[node as usize] as usize
                    ..self.rows.start[node as usize + 1] as usize;
                let mut parts: Vec<Option<std::ops::Range<usize>>> = Vec::new();
                let mut from = rows.start;
                while from < rows.end {
                    let to = (from + ROWS_PER_CELL).min(rows.end);
                    parts.push(Some(from..to));
                    from = to;
                }
                if built.level(node) > 0 {
                    parts.insert(0, None);
                }
                // From the last cell to the first, so that each knows the one after it.
                let mut next = AuxPtr::NONE;
                for rows in parts.into_iter().rev() {
                    let cell = AuxCell { node, next, rows };
                    let bytes = cell.bytes(built, m).next_multiple_of(4);
                    let full = self.aux_pages.last().is_none_or(|page| {
                        page.len() == usize::from(AUX_SLOTS) || used + bytes > room
                    });
                    if full {
                        self.aux_pages.push(Vec::new());
                        used = 0;
                    }
                    used += bytes;
                    let block = self.first_aux_block + self.aux_pages.len() as u32 - 1;
                    if let Some(page) = self.aux_pages.last_mut() {
                        next = AuxPtr { block, slot: page.len() as u16 };
                        page.push(cell);
                    }
                }
                self.aux_of[node as usize] = next;
            }
            self.node_pages.push(page.clone());
        }
    }

    /// A node's links as they are on pages, by node number, so that those on one page are together.
    fn links(&self, built: &Built, node: NodeId, level: u8, out: &mut Vec<Link>) {
        built.links(node, level, out);
        for link in out.iter_mut() {
            let id = self.ids[link.id() as usize];
            *link = Link::new(id, link.is_protected(), link.is_spare());
        }
        out.sort_unstable_by_key(|link| link.id());
    }
}

unsafe fn write_meta(index: pg_sys::Relation, fork: pg_sys::ForkNumber::Type, meta: &Meta) {
    // SAFETY: the caller holds the index open, and nobody else sees it.
    unsafe {
        fresh::add_page(index, fork, |page| {
            page::init_page(page, Kind::Meta, META_BYTES);
            meta.write(page);
        });
    }
}
