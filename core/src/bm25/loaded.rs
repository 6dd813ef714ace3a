//! A block of one list in memory, and those after it that were copied with it.

use std::ops::Range;

use super::block::{BLOCK, Shape};
use super::segment::{Segment, Skip};
use super::{Fault, Pages};

/// As long as blocks are read one after the other, so many are copied at a time: a page costs more to come by than to copy.
const AHEAD: usize = 8;

/// A block of a list.
pub struct Loaded {
    /// Some bytes of a page.
    copy: Vec<u8>,
    /// Which blocks they are, and where the first of them begins on the page.
    copied: Range<usize>,
    offset: u16,
    /// Where the block begins in the copy.
    start: usize,
    shape: Shape,
    /// Its documents, as many as it has.
    pub docs: [u32; BLOCK],
}

impl Default for Loaded {
    fn default() -> Loaded {
        Loaded {
            copy: Vec::new(),
            copied: 0..0,
            offset: 0,
            start: 0,
            shape: Shape::default(),
            docs: [0; BLOCK],
        }
    }
}

impl Loaded {
    /// Its bytes and what they mean.
    #[inline]
    pub fn block(&self) -> (&Shape, &[u8]) {
        (&self.shape, &self.copy[self.start..])
    }

    /// How many postings it has.
    #[inline]
    pub fn count(&self) -> usize {
        self.shape.count()
    }

    /// Loads block number `block` of a list of `postings`, which is the same list for all calls.
    #[inline]
    pub fn load<P: Pages>(
        &mut self,
        segment: &Segment<P>,
        skips: &[Skip],
        block: usize,
        postings: u32,
    ) -> Result<(), Fault> {
        let Skip { page, offset, last, .. } = skips[block];
        let count = (postings as usize - block * BLOCK).min(BLOCK);
        if !self.copied.contains(&block) {
            self.copy(segment, skips, block, count)?;
        }
        let damaged = || Fault::Damaged { page, what: "block of postings" };
        let start = offset.checked_sub(self.offset).map(usize::from);
        let bytes = start.and_then(|start| self.copy.get(start..)).ok_or_else(damaged)?;
        let shape = Shape::of(bytes, count).ok_or_else(damaged)?;
        let base = if block == 0 { 0 } else { skips[block - 1].last + 1 };
        let ascending = shape.docs(bytes, base, last + 1, &mut self.docs);
        if !ascending || (skips.len() > 1 && self.docs[count - 1] != last) {
            return Err(damaged());
        }
        (self.start, self.shape) = (offset.into(), shape);
        self.start -= usize::from(self.offset);
        Ok(())
    }

    /// Copies a block of `count` postings, and some after it if those before it were the last to be copied.
    fn copy<P: Pages>(
        &mut self,
        segment: &Segment<P>,
        skips: &[Skip],
        block: usize,
        count: usize,
    ) -> Result<(), Fault> {
        let Skip { page, offset, .. } = skips[block];
        let ahead = if block <= self.copied.end + 1 { AHEAD } else { 1 };
        // Where a block ends is known from the next one on the page.
        let after = skips[block + 1..].iter().take(ahead);
        let whole = after.take_while(|skip| skip.page == page && skip.offset > offset).count();
        self.copied = 0..0;
        self.copy.clear();
        segment.read(page, "block of postings", |bytes| {
            let begin = usize::from(offset);
            let end = match whole {
                0 => begin + Shape::of(bytes.get(begin..)?, count)?.size(),
                _ => skips[block + whole].offset.into(),
            };
            self.copy.extend_from_slice(bytes.get(begin..end)?);
            Some(())
        })?;
        (self.copied, self.offset) = (block..block + whole.max(1), offset);
        Ok(())
    }
}
