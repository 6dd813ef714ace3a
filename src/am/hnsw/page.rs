//! The pages of an `hnsw` index, byte by byte. `README.md` beside this file draws them.

pub mod aux;

use leanstack_core::hnsw::{Link, NodeId, max_links};
use leanstack_core::quantize::Factors;

use crate::storage::page::{
    CONTENT_BYTES, Page, Trailer, content, content_mut, init, read_u16, read_u32, read_u64, trailer,
};
use crate::storage::{Tid, cells};

/// The format that this version writes. Older ones stay readable for ever.
pub const FORMAT: u8 = 1;
/// "lean" in ASCII, "hnsw" after it.
pub const MAGIC: u64 = 0x6C65_616E_686E_7377;
/// The block of the metapage.
pub const META_BLOCK: u32 = 0;
/// Slots of a page of [`Kind::Aux`].
pub const AUX_SLOTS: u16 = 128;
/// Slots of a page of nodes of differing length.
const VARYING_SLOTS: u16 = 32;
/// No node.
pub const NO_NODE: NodeId = u32::MAX;

/// What is on a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Block 0.
    Meta = 1,
    /// The mean that codes are relative to.
    Mean = 2,
    /// Nodes.
    Node = 3,
    /// Links above the ground, and row addresses beyond a node's first.
    Aux = 4,
}

/// Makes a page of `kind`.
pub fn init_page(page: &mut Page, kind: Kind, content_bytes: usize) {
    let trailer = Trailer { reuse_after: 0, kind: kind as u8, format: FORMAT };
    init(page, trailer, content_bytes);
}

/// Whether a page is one of ours and of `kind`.
pub fn is_kind(page: &Page, kind: Kind) -> bool {
    trailer(page).is_some_and(|t| t.kind == kind as u8 && t.format <= FORMAT)
}

/// The place of a cell on an aux page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuxPtr {
    /// Block of the index; [`cells::NO_BLOCK`] is no cell.
    pub block: u32,
    /// Slot on the page.
    pub slot: u16,
}

impl AuxPtr {
    /// No cell.
    pub const NONE: AuxPtr = AuxPtr { block: cells::NO_BLOCK, slot: 0 };

    /// Whether it leads anywhere.
    pub fn is_some(self) -> bool {
        self.block != cells::NO_BLOCK
    }

    fn read(bytes: &[u8], at: usize) -> AuxPtr {
        let tid = Tid::read(bytes, at);
        AuxPtr { block: tid.block, slot: tid.offset }
    }

    fn write(self, bytes: &mut [u8], at: usize) {
        Tid { block: self.block, offset: self.slot }.write(bytes, at);
    }
}

/// The metapage's content.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Meta {
    /// Drawn at random when the index was built; tells a backend that what it remembers is of another index.
    pub build_id: u64,
    /// Dimensions of the vectors; 0 when they vary (sparse, bit without a length).
    pub dims: u32,
    /// Bytes of a code; 0 when they vary.
    pub code_bytes: u32,
    /// Links at each level above the ground.
    pub m: u16,
    /// Candidates of an insertion.
    pub ef_construction: u16,
    /// `leanstack_core::quantize::Repr`.
    pub repr: u8,
    /// `leanstack_core::metric::Metric`.
    pub metric: u8,
    /// The SQL type, see `TypeKind`.
    pub type_kind: u8,
    /// Bytes of filter attributes in each node. None so far.
    pub attribute_bytes: u8,
    /// The first page of the mean, and how many there are.
    pub mean_block: u32,
    /// Pages of the mean.
    pub mean_pages: u32,
    /// Where searches start.
    pub entry: NodeId,
    /// The entry's level.
    pub entry_level: u8,
    /// The root of the tree of protected links.
    pub root: NodeId,
    /// The first of the aux pages with room.
    pub aux_head: u32,
}

/// Bytes of the metapage's content.
pub const META_BYTES: usize = 72;

impl Meta {
    /// Reads a metapage.
    pub fn read(page: &Page) -> Option<Meta> {
        let b = content(page);
        if !is_kind(page, Kind::Meta) || read_u64(b, 0) != MAGIC {
            return None;
        }
        Some(Meta {
            build_id: read_u64(b, 8),
            dims: read_u32(b, 16),
            code_bytes: read_u32(b, 20),
            m: read_u16(b, 24),
            ef_construction: read_u16(b, 26),
            repr: b[28],
            metric: b[29],
            type_kind: b[30],
            attribute_bytes: b[31],
            mean_block: read_u32(b, 32),
            mean_pages: read_u32(b, 36),
            entry: read_u32(b, 40),
            entry_level: b[44],
            root: read_u32(b, 48),
            aux_head: read_u32(b, 52),
        })
    }

    /// Writes the content of a metapage.
    pub fn write(&self, page: &mut Page) {
        let b = content_mut(page);
        b[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        b[8..16].copy_from_slice(&self.build_id.to_ne_bytes());
        b[16..20].copy_from_slice(&self.dims.to_ne_bytes());
        b[20..24].copy_from_slice(&self.code_bytes.to_ne_bytes());
        b[24..26].copy_from_slice(&self.m.to_ne_bytes());
        b[26..28].copy_from_slice(&self.ef_construction.to_ne_bytes());
        b[28..32].copy_from_slice(&[self.repr, self.metric, self.type_kind, self.attribute_bytes]);
        b[32..36].copy_from_slice(&self.mean_block.to_ne_bytes());
        b[36..40].copy_from_slice(&self.mean_pages.to_ne_bytes());
        b[40..44].copy_from_slice(&self.entry.to_ne_bytes());
        b[44..48].copy_from_slice(&[self.entry_level, 0, 0, 0]);
        b[48..52].copy_from_slice(&self.root.to_ne_bytes());
        b[52..56].copy_from_slice(&self.aux_head.to_ne_bytes());
    }
}

/// Bytes of a node before its links.
pub const NODE_HEADER_BYTES: usize = 28;
const TID_AT: usize = 0;
const LEVEL_AT: usize = 6;
const STATE_AT: usize = 7;
const VERSION_AT: usize = 8;
const AUX_AT: usize = 10;
const FACTORS_AT: usize = 16;

/// What a slot holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// Nothing yet.
    Free = 0,
    /// A node.
    Live = 1,
    /// A node that nothing links to any more. Its links stay until the slot is used again, for scans under way.
    Dead = 2,
}

/// Where things are in a node and on a page of nodes.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    m: usize,
    code_at: usize,
    /// Bytes of each code and of each node, if all are of one length.
    code_bytes: Option<usize>,
    stride: Option<usize>,
    /// Slots of a page.
    slots: u16,
}

impl Layout {
    /// The layout for nodes with `m` and codes of `code_bytes` (nothing: they vary). Nothing if a node does not fit.
    pub fn new(m: usize, attribute_bytes: usize, code_bytes: Option<usize>) -> Option<Layout> {
        let code_at = NODE_HEADER_BYTES
            + max_links(m, 0) * size_of::<Link>()
            + attribute_bytes.next_multiple_of(4);
        let stride = code_bytes.map(|bytes| (code_at + bytes).next_multiple_of(4));
        let slots = match stride {
            Some(stride) => (CONTENT_BYTES / stride) as u16,
            None => VARYING_SLOTS,
        };
        (slots > 0).then_some(Layout { m, code_at, code_bytes, stride, slots })
    }

    /// Nodes of a page, at most.
    pub fn slots(&self) -> u16 {
        self.slots
    }

    /// Links at each level above the ground.
    pub fn m(&self) -> usize {
        self.m
    }

    /// The longest code that fits.
    pub fn max_code_bytes(m: usize, varying: bool) -> usize {
        let page = if varying { cells::max_cell_bytes(VARYING_SLOTS) } else { CONTENT_BYTES };
        (page / 4 * 4).saturating_sub(NODE_HEADER_BYTES + max_links(m, 0) * size_of::<Link>())
    }

    /// Bytes of a node with a code of `code_bytes`.
    pub fn node_bytes(&self, code_bytes: usize) -> usize {
        self.stride.unwrap_or((self.code_at + code_bytes).next_multiple_of(4))
    }

    /// The node number of a slot.
    pub fn id(&self, block: u32, slot: u16) -> NodeId {
        block * u32::from(self.slots) + u32::from(slot)
    }

    /// Whether all slots of a page have numbers that fit a link.
    pub fn has_numbers(&self, block: u32) -> bool {
        (u64::from(block) + 1) * u64::from(self.slots) <= u64::from(Link::MAX_NODES)
    }

    /// The page and slot of a node.
    #[inline(always)]
    pub fn place(&self, id: NodeId) -> (u32, u16) {
        (id / u32::from(self.slots), (id % u32::from(self.slots)) as u16)
    }

    /// Makes an empty page of nodes.
    pub fn init(&self, page: &mut Page) {
        match self.stride {
            Some(stride) => init_page(page, Kind::Node, usize::from(self.slots) * stride),
            None => {
                init_page(page, Kind::Node, cells::empty_bytes(self.slots));
                cells::init(page, self.slots);
            }
        }
    }

    /// Where a slot's node lies in the content. The page is a page of nodes.
    #[inline(always)]
    pub fn range(&self, page: &Page, slot: u16) -> Option<std::ops::Range<usize>> {
        match self.stride {
            Some(stride) => {
                let start = usize::from(slot) * stride;
                (slot < self.slots).then_some(start..start + stride)
            }
            None => cells::range(page, slot).filter(|range| range.len() >= self.code_at),
        }
    }

    /// The node in a slot, dead or alive.
    #[inline(always)]
    pub fn node<'p>(&self, page: &'p Page, slot: u16) -> Option<Node<'p>> {
        let bytes = &content(page)[self.range(page, slot)?];
        let code_end = self.code_bytes.map_or(bytes.len(), |code_bytes| self.code_at + code_bytes);
        let node = Node { bytes, code_at: self.code_at, code_end };
        (node.state() != State::Free).then_some(node)
    }

    /// The node in a slot, to change.
    pub fn node_mut<'p>(&self, page: &'p mut Page, slot: u16) -> Option<NodeMut<'p>> {
        let range = self.range(page, slot)?;
        Some(NodeMut { bytes: &mut content_mut(page)[range], code_at: self.code_at })
    }

    /// A slot for a new node with a code of `code_bytes`, if the page has one. Dead nodes give up theirs when
    /// `reusable`. The slot is made ready; its node is free.
    pub fn take_slot(&self, page: &mut Page, code_bytes: usize, reusable: bool) -> Option<u16> {
        if self.stride.is_some() {
            return (0..self.slots).find(|&slot| {
                self.node(page, slot).is_none_or(|n| n.state() == State::Dead && reusable)
            });
        }
        if reusable {
            for slot in 0..self.slots {
                if self.node(page, slot).is_some_and(|node| node.state() == State::Dead) {
                    cells::remove(page, slot);
                }
            }
        }
        let slot = cells::add(page, self.node_bytes(code_bytes))?;
        if trailer(page).is_some_and(|trailer| trailer.reuse_after != 0)
            && let Some(cell) = cells::cell_mut(page, slot)
        {
            // The version went with the cell of the node that was here; the new one is to differ from it.
            let version: u16 = rand::random();
            cell[VERSION_AT..VERSION_AT + 2].copy_from_slice(&version.to_ne_bytes());
        }
        Some(slot)
    }

    /// Whether [`Layout::take_slot`] would find one.
    pub fn has_slot(&self, page: &Page, code_bytes: usize, reusable: bool) -> bool {
        let mut dead_bytes = 0;
        let mut open = false;
        for slot in 0..self.slots {
            match self.node(page, slot) {
                Some(node) if node.state() == State::Dead && reusable => {
                    dead_bytes += node.bytes.len();
                    open = true;
                }
                Some(_) => {}
                None => open |= self.stride.is_some() || cells::range(page, slot).is_none(),
            }
        }
        let fits = self.stride.is_some()
            || self.node_bytes(code_bytes) <= cells::free_bytes(page) + dead_bytes;
        open && fits
    }

    /// Bytes that nodes could take on a page, dead ones counted as free.
    pub fn free_bytes(&self, page: &Page) -> usize {
        let dead = (0..self.slots).filter_map(|slot| match self.node(page, slot) {
            Some(node) if node.state() == State::Dead => Some(node.bytes.len()),
            None => self.stride,
            Some(_) => None,
        });
        let dead: usize = dead.sum();
        if self.stride.is_some() { dead } else { dead + cells::free_bytes(page) }
    }
}

/// A node on a page.
#[derive(Clone, Copy)]
pub struct Node<'p> {
    bytes: &'p [u8],
    code_at: usize,
    code_end: usize,
}

impl<'p> Node<'p> {
    /// Whether it is a node.
    #[inline(always)]
    pub fn state(&self) -> State {
        match self.bytes[STATE_AT] {
            1 => State::Live,
            2 => State::Dead,
            _ => State::Free,
        }
    }

    /// Its first row, or [`Tid::NONE`] when that is gone.
    #[inline(always)]
    pub fn tid(&self) -> Tid {
        Tid::read(self.bytes, TID_AT)
    }

    /// The highest level it is on.
    pub fn level(&self) -> u8 {
        self.bytes[LEVEL_AT]
    }

    /// Changes when the slot is used again.
    #[inline(always)]
    pub fn version(&self) -> u16 {
        read_u16(self.bytes, VERSION_AT)
    }

    /// The first of its cells on aux pages.
    #[inline(always)]
    pub fn aux(&self) -> AuxPtr {
        AuxPtr::read(self.bytes, AUX_AT)
    }

    /// Whether it has any row: the first is always here.
    pub fn has_rows(&self) -> bool {
        self.tid().is_some()
    }

    /// The numbers beside its code.
    #[inline(always)]
    pub fn factors(&self) -> Factors {
        let read = |at| f32::from_bits(read_u32(self.bytes, at));
        Factors { scale: read(FACTORS_AT), bias: read(FACTORS_AT + 4), error: read(FACTORS_AT + 8) }
    }

    /// Its code.
    #[inline(always)]
    pub fn code(&self) -> &'p [u8] {
        &self.bytes[self.code_at..self.code_end]
    }

    /// Its links at level 0, up to the first unused place.
    pub fn links(&self, m: usize) -> impl Iterator<Item = Link> + use<'p> {
        link_list(&self.bytes[NODE_HEADER_BYTES..], max_links(m, 0))
    }
}

fn link_list(bytes: &[u8], most: usize) -> impl Iterator<Item = Link> {
    (0..most.min(bytes.len() / 4))
        .map(|at| Link(read_u32(bytes, at * 4)))
        .take_while(|link| !link.is_empty())
}

/// A node on a page, to change.
pub struct NodeMut<'p> {
    bytes: &'p mut [u8],
    code_at: usize,
}

impl NodeMut<'_> {
    /// Writes everything of a new node; `code` must fit its slot.
    pub fn set(&mut self, level: u8, tid: Tid, aux: AuxPtr, factors: &Factors, code: &[u8]) {
        let version = read_u16(self.bytes, VERSION_AT).wrapping_add(1);
        self.bytes.fill(0);
        self.bytes[VERSION_AT..VERSION_AT + 2].copy_from_slice(&version.to_ne_bytes());
        self.bytes[STATE_AT] = State::Live as u8;
        self.bytes[LEVEL_AT] = level;
        self.set_tid(tid);
        self.set_aux(aux);
        self.set_factors(factors);
        self.bytes[NODE_HEADER_BYTES..self.code_at].fill(0xFF);
        self.bytes[self.code_at..self.code_at + code.len()].copy_from_slice(code);
    }

    /// Sets the first row.
    pub fn set_tid(&mut self, tid: Tid) {
        tid.write(self.bytes, TID_AT);
    }

    /// Sets the first cell on aux pages.
    pub fn set_aux(&mut self, aux: AuxPtr) {
        aux.write(self.bytes, AUX_AT);
    }

    /// Sets the numbers beside the code.
    pub fn set_factors(&mut self, factors: &Factors) {
        for (at, number) in [factors.scale, factors.bias, factors.error].into_iter().enumerate() {
            let at = FACTORS_AT + at * 4;
            self.bytes[at..at + 4].copy_from_slice(&number.to_bits().to_ne_bytes());
        }
    }

    /// Says that nothing links to the node any more.
    pub fn set_dead(&mut self) {
        self.bytes[STATE_AT] = State::Dead as u8;
        self.set_tid(Tid::NONE);
        self.set_aux(AuxPtr::NONE);
    }

    /// Sets one link of level 0.
    pub fn set_link(&mut self, at: usize, link: Link) {
        write_link(&mut self.bytes[NODE_HEADER_BYTES..self.code_at], at, link);
    }

    /// Replaces the links of level 0.
    pub fn set_links(&mut self, m: usize, links: &[Link]) {
        write_links(&mut self.bytes[NODE_HEADER_BYTES..self.code_at], max_links(m, 0), links);
    }
}

fn write_link(bytes: &mut [u8], at: usize, link: Link) {
    bytes[at * 4..at * 4 + 4].copy_from_slice(&link.0.to_ne_bytes());
}

fn write_links(bytes: &mut [u8], most: usize, links: &[Link]) {
    for at in 0..most {
        write_link(bytes, at, links.get(at).copied().unwrap_or(Link::EMPTY));
    }
}

/// What a cell of an aux page holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AuxKind {
    /// The links of a node's levels from 1.
    Upper = 1,
    /// Rows of a node.
    Rows = 2,
}

/// Bytes of an aux cell before its links or rows: owner u32, version u16, kind u8, unused u8, next 6 bytes, count u16.
pub const AUX_HEADER_BYTES: usize = 16;
