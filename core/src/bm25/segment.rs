//! Reads a segment: its documents, its dictionary, its postings. Every byte is checked before it is believed.
//!
//! A term's value in the dictionary:
//!
//! ```text
//! postings varint | dead u8, u16 or u32, as the postings need | up to 4 postings: gap varint, length and more varint, tf - 2 varint if more
//!                                                             | up to 128: page u32, offset u16, bound of the block
//!                                                             | else the same of the list of blocks
//! ```
//! A list of blocks has for each: last document u32, bound, page u32, offset u16. A bound is tf u8, length u16 of the posting
//! that adds most to a score.

use super::block::BLOCK;
use super::loaded::Loaded;
use super::summary::Summary;
use super::termpage::{NO_PAGE, TermPage};
use super::varint::Reader;
use super::{Fault, Pages, Posting, RowAddress, Scorer, is_dead};

/// The most postings that stand in the dictionary itself.
pub const INLINE: usize = 4;

/// Bytes that say of a block where it is.
pub const SKIP_BYTES: usize = 10 + Bound::BYTES;

/// Bytes of a document.
const DOCUMENT_BYTES: usize = 10;

/// How many documents are on a page of `payload_bytes`.
pub fn documents_per_page(payload_bytes: usize) -> usize {
    payload_bytes / DOCUMENT_BYTES
}

/// Where a document is: its page, and the offset of its bytes.
pub fn document_place(doc: u32, payload_bytes: usize) -> (u32, usize) {
    let per_page = documents_per_page(payload_bytes);
    ((doc as usize / per_page) as u32, doc as usize % per_page * DOCUMENT_BYTES)
}

/// The row and the length of the document at an offset of its page.
#[inline]
pub fn read_document(page: &[u8], offset: usize) -> Option<(RowAddress, u32)> {
    let mut reader = Reader::new(page, offset);
    let row = reader.take(6)?.try_into().ok()?;
    Some((row, reader.u32()?))
}

/// Marks the document at an offset of its page as dead. False if it is not on the page.
pub fn clear_document(page: &mut [u8], offset: usize) -> bool {
    let place = page.get_mut(offset + 4..offset + 6);
    let found = place.is_some();
    place.into_iter().for_each(|bytes| bytes.fill(0));
    found
}

/// Bytes that hold how many of so many postings are dead.
pub fn dead_width(postings: u32) -> usize {
    match postings {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        _ => 4,
    }
}

/// What the dictionary says of a term.
#[derive(Clone, Debug)]
pub struct TermEntry {
    /// Documents that have it, with the dead ones.
    pub postings: u32,
    /// How many of them are dead, as vacuum counted them last.
    pub dead: u32,
    pub(super) list: List,
    /// Page and offset of the number of dead ones.
    pub(super) dead_place: (u32, usize),
}

/// Where the postings of a term are.
#[derive(Clone, Debug)]
pub enum List {
    /// In the dictionary: here they are, as many as the term has.
    Inline([Posting; INLINE]),
    /// In one block.
    Block(Skip),
    /// In the blocks that a list at this page and offset names, none with a greater bound than this.
    Blocks(u32, usize, Bound),
}

/// The most that a posting of a block adds to a score at the average length of its segment: what one of them has, with
/// a count that is too great for a byte made endless, and a length that is too great made shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bound {
    tf: u8,
    length: u16,
}

impl Bound {
    /// Bytes of the stored form.
    pub const BYTES: usize = 3;

    /// Of one posting.
    #[inline]
    pub fn of(tf: u32, length: u32) -> Bound {
        let length = length.min(u16::MAX.into()) as u16;
        Bound { tf: tf.min(u8::MAX.into()) as u8, length }
    }

    /// The stored form.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let [low, high] = self.length.to_le_bytes();
        [self.tf, low, high]
    }

    fn read(reader: &mut Reader) -> Option<Bound> {
        Some(Bound { tf: reader.u8()?, length: reader.u16()? })
    }

    /// The part that no posting exceeds, by the scorer of the segment.
    #[inline]
    pub fn part(self, scorer: &Scorer) -> f64 {
        if self.tf == u8::MAX { 1.0 } else { scorer.part(self.tf.into(), self.length.into()) }
    }
}

/// A block, as the list of blocks has it.
#[derive(Clone, Copy, Debug)]
pub struct Skip {
    /// Its last document.
    pub last: u32,
    /// The most that its postings add to a score.
    pub bound: Bound,
    /// Its page.
    pub page: u32,
    /// Where on the page it begins.
    pub offset: u16,
}

impl Skip {
    fn read(reader: &mut Reader) -> Option<Skip> {
        let (last, bound) = (reader.u32()?, Bound::read(reader)?);
        Some(Skip { last, bound, page: reader.u32()?, offset: reader.u16()? })
    }
}

impl TermEntry {
    /// Documents that have the term and are not dead, as far as vacuum knows.
    pub fn live_df(&self) -> u32 {
        self.postings - self.dead
    }

    /// Reads a term's value on page `page`.
    #[inline]
    fn read(mut reader: Reader, page: u32, documents: u32) -> Option<TermEntry> {
        let postings = reader.varint32()?;
        let dead_place = (page, reader.at());
        let dead = match dead_width(postings) {
            1 => reader.u8()?.into(),
            2 => reader.u16()?.into(),
            _ => reader.u32()?,
        };
        if postings == 0 || postings > documents || dead > postings {
            return None;
        }
        let list = if postings as usize <= INLINE {
            let mut list = [Posting { doc: 0, tf: 0, length: 0 }; INLINE];
            let mut least = 0u32;
            for posting in &mut list[..postings as usize] {
                let doc = least.checked_add(reader.varint32()?).filter(|&doc| doc < documents)?;
                least = doc + 1;
                let length = reader.varint()?;
                let tf = if length & 1 == 1 { reader.varint32()?.checked_add(2)? } else { 1 };
                *posting = Posting { doc, tf, length: (length >> 1).try_into().ok()? };
            }
            List::Inline(list)
        } else {
            let (page, offset) = (reader.u32()?, reader.u16()?);
            let bound = Bound::read(&mut reader)?;
            if postings as usize <= BLOCK {
                List::Block(Skip { last: documents - 1, bound, page, offset })
            } else {
                List::Blocks(page, offset.into(), bound)
            }
        };
        Some(TermEntry { postings, dead, list, dead_place })
    }
}

/// A segment that is read.
pub struct Segment<P: Pages> {
    /// Gives its pages.
    pub pages: P,
    /// What it is.
    pub summary: Summary,
    /// Size of its pages.
    pub payload_bytes: usize,
}

impl<P: Pages> Segment<P> {
    /// A segment of pages of `payload_bytes` that its writer summed up so.
    pub fn new(pages: P, summary: Summary, payload_bytes: usize) -> Segment<P> {
        Segment { pages, summary, payload_bytes }
    }

    /// Reads a page; `None` from `with` means that it is damaged.
    #[inline]
    pub(super) fn read<R>(
        &self,
        page: u32,
        what: &'static str,
        with: impl FnOnce(&[u8]) -> Option<R>,
    ) -> Result<R, Fault> {
        let damaged = Fault::Damaged { page, what };
        if page >= self.summary.pages {
            return Err(damaged);
        }
        self.pages.read(page, with)?.ok_or(damaged)
    }

    /// What the dictionary says of a term, if it has the term.
    pub fn lookup(&self, term: &[u8]) -> Result<Option<TermEntry>, Fault> {
        let Some(inner) = self.summary.levels.checked_sub(1) else { return Ok(None) };
        let mut page = self.summary.root;
        for _ in 0..inner {
            page = self.read(page, "inner page of the dictionary", |bytes| {
                let inner = TermPage::of(bytes)?;
                let (not_above, _) = inner.position(term)?;
                inner.entry(not_above.checked_sub(1)?)?.1.u32()
            })?;
        }
        self.read(page, "leaf of the dictionary", |bytes| {
            let leaf = TermPage::of(bytes)?;
            let (not_above, found) = leaf.position(term)?;
            if !found {
                return Some(None);
            }
            let value = leaf.entry(not_above - 1)?.1;
            TermEntry::read(value, page, self.summary.documents).map(Some)
        })
    }

    /// The row and the length of a document.
    pub fn document(&self, doc: u32) -> Result<(RowAddress, u32), Fault> {
        let (page, offset) = document_place(doc, self.payload_bytes);
        if doc >= self.summary.documents || page >= self.summary.document_pages {
            return Err(Fault::Damaged { page, what: "document out of range" });
        }
        self.read(page, "documents", |bytes| read_document(bytes, offset))
    }

    /// Calls `f` with the number, the row and the length of each document; dead ones, too.
    pub fn for_each_document(
        &self,
        mut f: impl FnMut(u32, RowAddress, u32) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let per_page = documents_per_page(self.payload_bytes);
        let mut copy = Vec::new();
        for first in (0..self.summary.documents).step_by(per_page) {
            let (page, _) = document_place(first, self.payload_bytes);
            let count = per_page.min((self.summary.documents - first) as usize);
            self.read(page, "documents", |bytes| {
                copy.clear();
                copy.extend_from_slice(bytes.get(..count * DOCUMENT_BYTES)?);
                Some(())
            })?;
            for (doc, bytes) in (first..).zip(copy.chunks_exact(DOCUMENT_BYTES)) {
                if let Some((row, length)) = read_document(bytes, 0) {
                    f(doc, row, length)?;
                }
            }
        }
        Ok(())
    }

    /// How many documents are dead.
    pub fn count_dead(&self) -> Result<u32, Fault> {
        let mut dead = 0;
        self.for_each_document(|_, row, _| {
            dead += u32::from(is_dead(&row));
            Ok(())
        })?;
        Ok(dead)
    }

    /// Calls `f` with each term in byte order.
    pub fn for_each_term(
        &self,
        mut f: impl FnMut(&[u8], &TermEntry) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut terms = TermCursor::new(self);
        while let Some(entry) = terms.next(self)? {
            f(terms.term(), &entry)?;
        }
        Ok(())
    }

    /// Calls `f` with each posting of a term, in the order of documents.
    pub fn postings(
        &self,
        entry: &TermEntry,
        mut f: impl FnMut(Posting) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if let List::Inline(postings) = &entry.list {
            return postings[..entry.postings as usize].iter().try_for_each(|&posting| f(posting));
        }
        let mut skips = Vec::new();
        self.blocks(entry, &mut skips)?;
        let mut loaded = Loaded::default();
        let (mut tfs, mut lengths) = ([0; BLOCK], [0; BLOCK]);
        for block in 0..skips.len() {
            loaded.load(self, &skips, block, entry.postings)?;
            let (shape, bytes) = loaded.block();
            shape.tfs(bytes, &mut tfs);
            shape.lengths(bytes, &mut lengths);
            for i in 0..loaded.count() {
                f(Posting { doc: loaded.docs[i], tf: tfs[i], length: lengths[i] })?;
            }
        }
        Ok(())
    }

    /// Replaces `skips` by the blocks of a term; by none if its postings stand in the dictionary.
    pub(super) fn blocks(&self, entry: &TermEntry, skips: &mut Vec<Skip>) -> Result<(), Fault> {
        skips.clear();
        let (mut page, mut offset) = match entry.list {
            List::Inline(_) => return Ok(()),
            List::Block(skip) => {
                skips.push(skip);
                return Ok(());
            }
            List::Blocks(page, offset, _) => (page, offset),
        };
        let count = (entry.postings as usize).div_ceil(BLOCK);
        skips.reserve(count);
        let documents = self.summary.documents;
        while skips.len() < count {
            let what = "list of blocks";
            let next = self.read(page, what, |bytes| {
                let fitting = bytes.len().saturating_sub(offset) / SKIP_BYTES;
                let wanted = (count - skips.len()).min(fitting);
                // The chain has as many pages at the most as the list has blocks.
                let mut reader = Reader::new(bytes, offset);
                for _ in 0..wanted {
                    let skip = Skip::read(&mut reader)?;
                    if skip.last >= documents || skips.last().is_some_and(|s| s.last >= skip.last) {
                        return None;
                    }
                    skips.push(skip);
                }
                (wanted > 0).then_some(Reader::new(bytes, 0).u32()?)
            })?;
            (page, offset) = (next, 4);
        }
        Ok(())
    }
}

/// Goes through the terms of a segment in byte order.
#[derive(Default)]
pub struct TermCursor {
    leaf: Vec<u8>,
    page: u32,
    index: usize,
    /// Pages that may come yet: a chain of leaves that is longer goes in a circle.
    left: u32,
    term: Vec<u8>,
}

impl TermCursor {
    /// Before the first term.
    pub fn new<P: Pages>(segment: &Segment<P>) -> TermCursor {
        let left = if segment.summary.terms > 0 { segment.summary.pages } else { 0 };
        TermCursor { page: segment.summary.first_leaf, left, ..TermCursor::default() }
    }

    /// The term that was read last.
    pub fn term(&self) -> &[u8] {
        &self.term
    }

    /// Page of the term that was read last.
    pub fn page(&self) -> u32 {
        self.page
    }

    /// Reads the next term; `None` after the last.
    pub fn next<P: Pages>(&mut self, segment: &Segment<P>) -> Result<Option<TermEntry>, Fault> {
        let what = "leaf of the dictionary";
        loop {
            if self.leaf.is_empty() {
                if self.left == 0 || self.page == NO_PAGE {
                    return Ok(None);
                }
                let leaf = &mut self.leaf;
                segment.read(self.page, what, |bytes| {
                    leaf.extend_from_slice(bytes);
                    Some(())
                })?;
                (self.index, self.left) = (0, self.left - 1);
            }
            let damaged = || Fault::Damaged { page: self.page, what };
            let leaf = TermPage::of(&self.leaf).ok_or_else(damaged)?;
            if self.index == leaf.len() {
                self.page = leaf.next();
                self.leaf.clear();
                continue;
            }
            let (rest, value) = leaf.entry(self.index).ok_or_else(damaged)?;
            let parts = [leaf.prefix(), rest];
            let above = parts.iter().copied().flatten().gt(self.term.iter());
            if !above && (self.index > 0 || self.page != segment.summary.first_leaf) {
                return Err(Fault::Damaged { page: self.page, what: "terms do not ascend" });
            }
            let entry = TermEntry::read(value, self.page, segment.summary.documents);
            let entry = entry.ok_or_else(damaged)?;
            self.term.clear();
            parts.iter().for_each(|part| self.term.extend_from_slice(part));
            self.index += 1;
            return Ok(Some(entry));
        }
    }
}
