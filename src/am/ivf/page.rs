//! The pages of an `ivf` index, byte by byte. `README.md` beside this file draws them.

use half::f16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::storage::Tid;
use crate::storage::page::{
    CONTENT_BYTES, Page, Trailer, content, content_mut, init, set_content_bytes, trailer,
};

/// The format that this version writes. Older ones stay readable for ever.
pub const FORMAT: u8 = 1;
/// "lean-ivf" in ASCII.
pub const MAGIC: u64 = 0x6C65_616E_2D69_7666;
/// The block of the metapage.
pub const META_BLOCK: u32 = 0;
/// No page, no list.
pub const NONE: u32 = u32::MAX;
/// Rows in an item of blocks.
pub const BLOCK_ROWS: usize = 32;

/// What is on a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Block 0.
    Meta = 1,
    /// Centroids of groups of lists.
    Groups = 2,
    /// Centroids of the lists of one group.
    Centroids = 3,
    /// Entries of lists.
    Entries = 4,
    /// Packed rows, 32 at a time.
    Blocks = 5,
    /// What packed rows have beyond their first bits.
    Ex = 6,
    /// Rows one after the other.
    Rows = 7,
    /// The mean or the codebook.
    Model = 8,
}

/// Whether a page is one of ours and of `kind`.
#[inline]
pub fn is_kind(page: &Page, kind: Kind) -> bool {
    trailer(page).is_some_and(|t| t.kind == kind as u8 && t.format <= FORMAT)
}

/// Makes a page of `kind` with `content_bytes` of zeros in use.
pub fn init_page(page: &mut Page, kind: Kind, content_bytes: usize) {
    let trailer = Trailer { reuse_after: 0, kind: kind as u8, format: FORMAT };
    init(page, trailer, content_bytes);
}

/// The fixed part of the metapage.
#[derive(Clone, Copy, PartialEq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Meta {
    /// [`MAGIC`].
    pub magic: u64,
    /// Drawn at random when the index was built; what a backend remembers goes by it.
    pub build_id: u64,
    /// Dimensions of the vectors.
    pub dims: u32,
    /// First page of the model, or [`NONE`].
    pub model_block: u32,
    /// Bytes of the model.
    pub model_bytes: u32,
    /// Rows when the index was built, at most `u32::MAX`.
    pub rows: u32,
    /// Seed of the rotation.
    pub seed: u64,
    /// How rows are stored: a [`super::index::Repr`].
    pub repr: u8,
    /// Bits for each dimension.
    pub bits: u8,
    /// `leanstack_core::metric::Metric`.
    pub metric: u8,
    /// The SQL type, see [`crate::am::opclass`].
    pub type_kind: u8,
    /// Bytes of filter attributes in each row. None so far.
    pub attribute_bytes: u8,
    /// What `calibration` counts: a [`leanstack_core::ivf::calibrate::Stop`]; zero in indexes of before.
    pub stop: u8,
    /// Zero.
    pub unused: [u8; 2],
    /// Groups of lists.
    pub groups: u32,
    /// First page of groups.
    pub group_head: u32,
    /// Entries in use.
    pub lists: u32,
    /// Rows that a list should have.
    pub target_rows: u32,
    /// First page of the free list, or [`NONE`].
    pub free_head: u32,
    /// Pages on the free list.
    pub free_pages: u32,
    /// How far queries must look, see `core/src/ivf/calibrate.rs`; zeros: not known.
    pub calibration: [f32; 8],
    /// Pages of entries, whose blocks follow.
    pub entry_pages: u32,
    /// Lists that there were when it learned that.
    pub calibrated_lists: u32,
}

const META_BYTES: usize = size_of::<Meta>();
const _: () = assert!(META_BYTES == 112);

/// Pages of entries that the metapage can name.
pub const MAX_ENTRY_PAGES: usize = (CONTENT_BYTES - META_BYTES) / 4;

impl Meta {
    /// Reads a metapage.
    pub fn read(page: &Page) -> Option<Meta> {
        let (meta, _) = Meta::read_from_prefix(content(page)).ok()?;
        (is_kind(page, Kind::Meta) && meta.magic == MAGIC).then_some(meta)
    }

    /// Writes the fixed part of a metapage.
    pub fn write(&self, page: &mut Page) {
        content_mut(page)[..META_BYTES].copy_from_slice(self.as_bytes());
        set_content_bytes(page, META_BYTES + self.entry_pages as usize * 4);
    }

    /// The blocks of the pages of entries. Not more than fit, whatever the page says.
    pub fn entry_blocks(&self, page: &Page) -> Vec<u32> {
        let count = (self.entry_pages as usize).min(MAX_ENTRY_PAGES);
        let bytes = &content(page)[META_BYTES..META_BYTES + count * 4];
        bytes.chunks_exact(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    /// Names the next page of entries; the caller writes the metapage afterwards. False if there is no room.
    #[must_use]
    pub fn push_entry_block(&mut self, page: &mut Page, block: u32) -> bool {
        let at = self.entry_pages as usize;
        if at >= MAX_ENTRY_PAGES {
            return false;
        }
        let bytes = &mut content_mut(page)[META_BYTES + at * 4..META_BYTES + at * 4 + 4];
        bytes.copy_from_slice(&block.to_ne_bytes());
        self.entry_pages += 1;
        true
    }
}

/// The page is on the free list.
pub const FREE: u16 = 1;
/// The page continues an item of the page before.
pub const CONTINUES: u16 = 2;
/// No more rows are put on the page: an insert that finds it last asks the entry for leave to make a next one.
pub const CLOSED: u16 = 4;
/// The pages of rows to be given back end here, whatever comes next.
pub const ENDS: u16 = 8;

/// The beginning of every page of a tape.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TapeHead {
    /// Next page of the tape, or [`NONE`].
    pub next: u32,
    /// The stamp that the next page has.
    pub next_stamp: u32,
    /// The list, or the group, that the page belongs to.
    pub owner: u32,
    /// Tells pages of one owner that hold different rows apart.
    pub stamp: u32,
    /// Next page of the free list.
    pub free_next: u32,
    /// Items on the page.
    pub items: u16,
    /// [`FREE`], [`CONTINUES`], [`CLOSED`], [`ENDS`].
    pub flags: u16,
}

/// Bytes of the head.
pub const TAPE_HEAD_BYTES: usize = size_of::<TapeHead>();
/// Bytes for items on a page of a tape.
pub const TAPE_BYTES: usize = CONTENT_BYTES - TAPE_HEAD_BYTES;
const _: () = assert!(TAPE_HEAD_BYTES == 24 && TAPE_BYTES == 8136);

impl TapeHead {
    /// The head of a page that is the last of its tape.
    pub fn new(owner: u32, stamp: u32) -> TapeHead {
        TapeHead { next: NONE, next_stamp: 0, owner, stamp, free_next: NONE, items: 0, flags: 0 }
    }

    /// Reads the head of a page of `kind`.
    #[inline]
    pub fn read(page: &Page, kind: Kind) -> Option<TapeHead> {
        if !is_kind(page, kind) {
            return None;
        }
        TapeHead::read_from_prefix(content(page)).ok().map(|(head, _)| head)
    }

    /// Reads the head of a page of any tape.
    pub fn read_any(page: &Page) -> Option<TapeHead> {
        let kind = trailer(page).filter(|t| t.format <= FORMAT)?.kind;
        let tapes =
            [Kind::Groups, Kind::Centroids, Kind::Blocks, Kind::Ex, Kind::Rows, Kind::Model];
        tapes.iter().find(|&&tape| tape as u8 == kind).and_then(|&tape| TapeHead::read(page, tape))
    }

    /// Writes the head.
    pub fn write(&self, page: &mut Page) {
        content_mut(page)[..TAPE_HEAD_BYTES].copy_from_slice(self.as_bytes());
    }
}

/// How items of one length lie on the pages of a tape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tape {
    /// Bytes of an item.
    pub item_bytes: usize,
    /// Bytes between the head of the page and its items.
    pub prefix_bytes: usize,
}

impl Tape {
    /// A tape of items of `item_bytes`, at multiples of four.
    pub fn new(item_bytes: usize) -> Tape {
        Tape { item_bytes: item_bytes.next_multiple_of(4).max(4), prefix_bytes: 0 }
    }

    /// Items of a page; one where it takes more pages than one.
    pub fn per_page(&self) -> usize {
        ((TAPE_BYTES - self.prefix_bytes) / self.item_bytes).max(1)
    }

    /// Pages of an item, one if several share a page.
    pub fn pages_per_item(&self) -> usize {
        let rest = self.item_bytes.saturating_sub(TAPE_BYTES - self.prefix_bytes);
        1 + rest.div_ceil(TAPE_BYTES)
    }

    /// Where item `at` of a page lies in the content; the first page's part of an item of several pages.
    #[inline]
    pub fn range(&self, at: usize) -> std::ops::Range<usize> {
        let start = TAPE_HEAD_BYTES + self.prefix_bytes + at * self.item_bytes;
        start..(start + self.item_bytes).min(CONTENT_BYTES)
    }

    /// The bytes of item `at` on its (first) page.
    #[inline]
    pub fn item<'p>(&self, page: &'p Page, at: usize) -> &'p [u8] {
        content(page).get(self.range(at)).unwrap_or(&[])
    }

    /// As [`Tape::item`], to change.
    pub fn item_mut<'p>(&self, page: &'p mut Page, at: usize) -> &'p mut [u8] {
        content_mut(page).get_mut(self.range(at)).unwrap_or(&mut [])
    }

    /// Bytes of content in use with `items` on the page.
    pub fn used_bytes(&self, items: usize) -> usize {
        (TAPE_HEAD_BYTES + self.prefix_bytes + items * self.item_bytes).min(CONTENT_BYTES)
    }

    /// The part of an item on page `part` (from 0) of its pages, as a range of the item's bytes.
    pub fn part(&self, part: usize) -> std::ops::Range<usize> {
        let first = (TAPE_BYTES - self.prefix_bytes).min(self.item_bytes);
        if part == 0 {
            return 0..first;
        }
        let start = (first + (part - 1) * TAPE_BYTES).min(self.item_bytes);
        start..(start + TAPE_BYTES).min(self.item_bytes)
    }
}

/// The bytes that a page continues an item with, `len` of them.
pub fn continued(page: &Page, len: usize) -> &[u8] {
    &content(page)[TAPE_HEAD_BYTES..TAPE_HEAD_BYTES + len.min(TAPE_BYTES)]
}

/// The list was split: `first_child` and `packed_rows` say into which.
pub const SPLIT: u16 = 1;
/// `retired_rows` is the page taken last for what is to take the place of the list's pages, `free_next` on it leads to
/// the one before. To be given back, unless it takes effect.
pub const BUILDING: u16 = 2;
/// The list was found to be indivisible when it had as many rows as `first_child` says.
pub const WHOLE: u16 = 4;

/// What is known of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    /// First page of the packed run, or [`NONE`].
    pub block_head: u32,
    /// Stamp of all its pages, ex pages too.
    pub block_stamp: u32,
    /// First page of rows, or [`NONE`].
    pub row_head: u32,
    /// Its stamp.
    pub row_head_stamp: u32,
    /// The last page of rows, or one before it.
    pub row_tail: u32,
    /// Last stamp given out.
    pub counter: u32,
    /// List whose centroid the codes are relative to.
    pub encoder: u32,
    /// Page of the list's own centroid.
    pub centroid: u32,
    /// Its place there.
    pub centroid_place: u16,
    /// [`SPLIT`], [`BUILDING`], [`WHOLE`].
    pub flags: u16,
    /// Rows in the run, the dead included; of a split list, the number of children.
    pub packed_rows: u32,
    /// Rows deleted since the list was packed.
    pub dead: u32,
    /// Pages of rows, about.
    pub row_pages: u32,
    /// Head of a run that is being given back, or [`NONE`].
    pub retired_blocks: u32,
    /// Its stamp.
    pub retired_block_stamp: u32,
    /// Head of pages of rows that are being given back, or [`NONE`].
    pub retired_rows: u32,
    /// Its stamp.
    pub retired_row_stamp: u32,
    /// The list that this one was split from, or [`NONE`].
    pub parent: u32,
    /// The first list that this one was split into, or [`NONE`]; see [`WHOLE`].
    pub first_child: u32,
}

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = size_of::<Entry>();
/// Entries of a page.
pub const ENTRIES_PER_PAGE: usize = CONTENT_BYTES / ENTRY_BYTES;
const _: () = assert!(ENTRY_BYTES == 72 && ENTRIES_PER_PAGE == 113);

impl Entry {
    /// A list without rows, its codes relative to the centroid of `encoder`, whose own centroid is in place
    /// `centroid`.
    pub fn new(encoder: u32, centroid: (u32, u16)) -> Entry {
        Entry {
            block_head: NONE,
            block_stamp: 0,
            row_head: NONE,
            row_head_stamp: 0,
            row_tail: NONE,
            counter: 0,
            encoder,
            centroid: centroid.0,
            centroid_place: centroid.1,
            flags: 0,
            packed_rows: 0,
            dead: 0,
            row_pages: 0,
            retired_blocks: NONE,
            retired_block_stamp: 0,
            retired_rows: NONE,
            retired_row_stamp: 0,
            parent: NONE,
            first_child: NONE,
        }
    }

    /// The page of entries, counted from 0, and the place of list `list`.
    pub fn place(list: u32) -> (usize, usize) {
        (list as usize / ENTRIES_PER_PAGE, list as usize % ENTRIES_PER_PAGE)
    }

    /// Reads the entry in `place` of a page.
    pub fn read(page: &Page, place: usize) -> Option<Entry> {
        if !is_kind(page, Kind::Entries) || place >= ENTRIES_PER_PAGE {
            return None;
        }
        Entry::read_from_bytes(&content(page)[place * ENTRY_BYTES..(place + 1) * ENTRY_BYTES]).ok()
    }

    /// Writes the entry to `place`.
    pub fn write(&self, page: &mut Page, place: usize) {
        content_mut(page)[place * ENTRY_BYTES..(place + 1) * ENTRY_BYTES]
            .copy_from_slice(self.as_bytes());
    }

    /// Makes an empty page of entries, all places in use.
    pub fn init_page(page: &mut Page) {
        init_page(page, Kind::Entries, ENTRIES_PER_PAGE * ENTRY_BYTES);
    }

    /// Whether the list was split.
    pub fn is_split(&self) -> bool {
        self.flags & SPLIT != 0
    }
}

/// What precedes the numbers of a centroid on pages of centroids.
#[derive(Clone, Copy, PartialEq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct CentroidHead {
    /// The list, with [`SPLIT_LIST`] when it was split.
    pub list: u32,
    /// Squared norm of the centroid as stored.
    pub norm_squared: f32,
}

/// In [`CentroidHead::list`]: no row is to be looked for there.
pub const SPLIT_LIST: u32 = 1 << 31;

/// What precedes the numbers of a centroid on pages of groups.
#[derive(Clone, Copy, PartialEq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GroupHead {
    /// First page of the centroids of its lists.
    pub centroids: u32,
    /// Lists in the group, about.
    pub lists: u32,
    /// Distance of the farthest of its lists' centroids when the index was built.
    pub radius: f32,
    /// Squared norm of the centroid as stored.
    pub norm_squared: f32,
}

/// A head and the numbers of a centroid, from the bytes of an item.
pub fn centroid<H: FromBytes + Immutable + KnownLayout>(item: &[u8]) -> Option<(H, &[f16])> {
    let (head, rest) = H::read_from_prefix(item).ok()?;
    // Items lie at multiples of four.
    <[f16]>::ref_from_bytes(rest).ok().map(|numbers| (head, numbers))
}

/// Bytes of a row's address on a page.
pub const ROW_TID_BYTES: usize = Tid::BYTES;
/// Bytes before the attributes and the code of an item of rows: the address and two bytes of flags.
pub const ROW_HEAD_BYTES: usize = 8;

/// Where things are on the pages of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Pages of groups.
    pub groups: Tape,
    /// Pages of centroids.
    pub centroids: Tape,
    /// Pages of rows.
    pub rows: Tape,
    /// Pages of blocks and of ex codes, where rows are packed.
    pub packed: Option<Packed>,
    /// Bytes of attributes of a row.
    pub attribute_bytes: usize,
}

/// The tapes of a packed run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packed {
    /// Pages of blocks.
    pub blocks: Tape,
    /// Pages of ex codes; nothing when codes have one bit.
    pub ex: Option<Tape>,
}

impl Packed {
    fn new(block_bytes: usize, ex_bytes: usize) -> Packed {
        let mut blocks = Tape::new(block_bytes);
        let ex = (ex_bytes > 0).then(|| Tape::new(ex_bytes));
        if let Some(ex) = ex {
            // Fewer blocks on a page need fewer references; go down until both fit.
            for per_page in (1..=blocks.per_page()).rev() {
                blocks.prefix_bytes = 4 * refs(per_page * BLOCK_ROWS, ex);
                if blocks.per_page() >= per_page {
                    break;
                }
            }
        }
        Packed { blocks, ex }
    }

    /// Rows of a page of blocks.
    pub fn rows_per_page(&self) -> usize {
        self.blocks.per_page() * BLOCK_ROWS
    }

    /// Ex pages that a page of blocks names.
    pub fn ex_refs(&self) -> usize {
        self.blocks.prefix_bytes / 4
    }

    /// The ex page in place `at` of a page of blocks, [`NONE`] where there is none.
    #[inline]
    pub fn ex_ref(&self, page: &Page, at: usize) -> u32 {
        let start = Packed::ex_ref_at(at);
        match content(page).get(start..start + 4) {
            Some(b) if at < self.ex_refs() => u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
            _ => NONE,
        }
    }

    /// Where in the content it is named.
    pub fn ex_ref_at(at: usize) -> usize {
        TAPE_HEAD_BYTES + at * 4
    }

    /// Sets it.
    pub fn set_ex_ref(&self, page: &mut Page, at: usize, block: u32) {
        let start = Packed::ex_ref_at(at);
        content_mut(page)[start..start + 4].copy_from_slice(&block.to_ne_bytes());
    }

    /// Which of a page's ex pages row `row` of the page has its code on, and in which place.
    #[inline]
    pub fn ex_place(&self, row: usize) -> Option<(usize, usize)> {
        let ex = self.ex?;
        let pages = ex.pages_per_item();
        if pages > 1 {
            Some((row * pages, 0))
        } else {
            Some((row / ex.per_page(), row % ex.per_page()))
        }
    }
}

/// Ex pages for `rows` rows.
fn refs(rows: usize, ex: Tape) -> usize {
    if ex.pages_per_item() > 1 { rows * ex.pages_per_item() } else { rows.div_ceil(ex.per_page()) }
}

/// The bytes of what an index keeps of its rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeBytes {
    /// Numbers of a centroid.
    pub centroid_dims: usize,
    /// Factors and whole code of one row.
    pub row: usize,
    /// Factors and first bits of 32 rows, 0 where rows are not packed.
    pub block: usize,
    /// Remaining bits of one row.
    pub ex: usize,
}

impl Layout {
    /// The layout for codes of these lengths.
    pub fn new(bytes: CodeBytes, attribute_bytes: usize) -> Layout {
        let centroid = bytes.centroid_dims * size_of::<f16>();
        let block = BLOCK_ROWS * (ROW_TID_BYTES + attribute_bytes) + bytes.block;
        Layout {
            groups: Tape::new(size_of::<GroupHead>() + centroid),
            centroids: Tape::new(size_of::<CentroidHead>() + centroid),
            rows: Tape::new(ROW_HEAD_BYTES + attribute_bytes + bytes.row),
            packed: (bytes.block > 0).then(|| Packed::new(block, bytes.ex)),
            attribute_bytes,
        }
    }

    /// Of the pages of a packed list, the share that a scan of the list reads.
    pub fn scanned_share(&self) -> f64 {
        match &self.packed {
            Some(packed) => {
                let blocks = packed.blocks.pages_per_item() as f64;
                blocks / (blocks + packed.ex_refs() as f64)
            }
            None => 1.0,
        }
    }

    /// Where the code begins in an item of rows.
    pub fn row_code_at(&self) -> usize {
        ROW_HEAD_BYTES + self.attribute_bytes
    }

    /// Where the codes begin in an item of blocks.
    pub fn block_code_at(&self) -> usize {
        BLOCK_ROWS * (ROW_TID_BYTES + self.attribute_bytes)
    }
}

/// The address of row `row` of an item of blocks.
#[inline]
pub fn block_tid(item: &[u8], row: usize) -> Tid {
    Tid::read(item, row * ROW_TID_BYTES)
}

/// Makes a page of a tape, without items.
pub fn init_tape_page(page: &mut Page, kind: Kind, tape: &Tape, head: TapeHead) {
    init_page(page, kind, tape.used_bytes(0));
    head.write(page);
}
