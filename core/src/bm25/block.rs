//! A block of postings: numbers of documents as gaps, and for each how often it has the term and how long it is.
//!
//! ```text
//! width of the gaps u8 | of tf - 1 u8 | of lengths above the least u8 | least length varint | gaps | tf - 1 | lengths
//! ```
//! Each of the three is packed at its own width, so that a search that looks for one document unpacks the gaps only. How
//! many postings a block has, and where its numbers begin, follows from its place in the list.

use super::pack::{get, pack, packed_bytes, unpack, width};
use super::varint::{self, Reader};

/// Postings of a full block; only the last of a list has fewer.
pub const BLOCK: usize = 128;

/// The most bytes that a block takes.
pub const BLOCK_BYTES: usize = 3 + 5 + 3 * 4 * BLOCK;

/// Appends a block. Documents ascend from `base` on; lists are of one length, from 1 to [`BLOCK`].
pub fn encode(base: u32, docs: &[u32], tfs: &[u32], lengths: &[u32], out: &mut Vec<u8>) {
    let mut values = [0; BLOCK];
    let mut next = base;
    for (gap, &doc) in values.iter_mut().zip(docs) {
        *gap = doc - next;
        next = doc + 1;
    }
    let least = lengths.iter().copied().min().unwrap_or(0);
    let greatest = |values: &[u32]| values.iter().copied().max().unwrap_or(0);
    let widths = [
        width(greatest(&values[..docs.len()])),
        width(greatest(tfs) - 1),
        width(greatest(lengths) - least),
    ];
    out.extend(widths.map(|width| width as u8));
    varint::put(least.into(), out);
    pack(&values[..docs.len()], widths[0], out);
    values.iter_mut().zip(tfs).for_each(|(value, tf)| *value = tf - 1);
    pack(&values[..docs.len()], widths[1], out);
    values.iter_mut().zip(lengths).for_each(|(value, length)| *value = length - least);
    pack(&values[..docs.len()], widths[2], out);
}

/// Where things are in a block's bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Shape {
    count: usize,
    widths: [usize; 3],
    least_length: u32,
    /// Where each of the three parts begins, and the end.
    starts: [usize; 4],
}

impl Shape {
    /// Of a block of `count` postings with which `bytes` begin, if it can be one.
    #[inline]
    pub fn of(bytes: &[u8], count: usize) -> Option<Shape> {
        let mut reader = Reader::new(bytes, 0);
        let widths = [reader.u8()?, reader.u8()?, reader.u8()?].map(usize::from);
        let least_length = reader.varint32()?;
        let mut starts = [reader.at(); 4];
        for part in 0..3 {
            starts[part + 1] = starts[part] + packed_bytes(count, widths[part]);
        }
        let sound = (1..=BLOCK).contains(&count)
            && widths.iter().all(|&width| width <= 32)
            && starts[3] <= bytes.len();
        sound.then_some(Shape { count, widths, least_length, starts })
    }

    /// How many postings there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes of the block.
    #[inline]
    pub fn size(&self) -> usize {
        self.starts[3]
    }

    fn part<'a>(&self, bytes: &'a [u8], part: usize) -> &'a [u8] {
        &bytes[self.starts[part]..self.starts[part + 1]]
    }

    /// Unpacks the documents. False if they do not ascend to below `documents`.
    #[inline]
    pub fn docs(&self, bytes: &[u8], base: u32, documents: u32, out: &mut [u32; BLOCK]) -> bool {
        unpack(self.part(bytes, 0), self.widths[0], self.count, out);
        let mut next = base;
        for doc in &mut out[..self.count] {
            *doc = doc.wrapping_add(next);
            next = doc.wrapping_add(1);
        }
        // Gaps of up to 24 bits cannot bring a block of them to overflow from the lower half of the numbers.
        let small = self.widths[0] <= 24 && base <= u32::MAX / 2;
        out[self.count - 1] < documents
            && out[0] >= base
            && (small || out[..self.count].is_sorted_by(|a, b| a < b))
    }

    /// Unpacks how often each document has the term.
    #[inline]
    pub fn tfs(&self, bytes: &[u8], out: &mut [u32; BLOCK]) {
        unpack(self.part(bytes, 1), self.widths[1], self.count, out);
        out[..self.count].iter_mut().for_each(|tf| *tf = tf.saturating_add(1));
    }

    /// Unpacks the lengths of the documents.
    #[inline]
    pub fn lengths(&self, bytes: &[u8], out: &mut [u32; BLOCK]) {
        unpack(self.part(bytes, 2), self.widths[2], self.count, out);
        out[..self.count]
            .iter_mut()
            .for_each(|length| *length = length.saturating_add(self.least_length));
    }

    /// How often one document has the term.
    #[inline]
    pub fn tf(&self, bytes: &[u8], index: usize) -> u32 {
        get(self.part(bytes, 1), self.widths[1], self.count, index).saturating_add(1)
    }

    /// The length of one document.
    #[inline]
    pub fn length(&self, bytes: &[u8], index: usize) -> u32 {
        let above = get(self.part(bytes, 2), self.widths[2], self.count, index);
        above.saturating_add(self.least_length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn postings_come_back(
            base in 0u32..1000,
            postings in prop::collection::vec((0u32..5000, 1u32..9, 0u32..300), 1..=BLOCK),
            after in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut docs: Vec<u32> = postings.iter().map(|posting| posting.0).collect();
            let mut next = base;
            for doc in &mut docs {
                *doc += next;
                next = *doc + 1;
            }
            let tfs: Vec<u32> = postings.iter().map(|posting| posting.1).collect();
            let lengths: Vec<u32> = postings.iter().map(|posting| posting.2).collect();
            let mut bytes = Vec::new();
            encode(base, &docs, &tfs, &lengths, &mut bytes);
            let size = bytes.len();
            prop_assert!(size <= BLOCK_BYTES);
            bytes.extend(after);
            let shape = Shape::of(&bytes, docs.len()).unwrap();
            prop_assert_eq!(shape.size(), size);
            let mut out = [0; BLOCK];
            prop_assert!(shape.docs(&bytes, base, next, &mut out));
            prop_assert_eq!(&out[..docs.len()], &docs[..]);
            prop_assert!(!shape.docs(&bytes, base, next - 1, &mut out));
            shape.tfs(&bytes, &mut out);
            prop_assert_eq!(&out[..docs.len()], &tfs[..]);
            shape.lengths(&bytes, &mut out);
            prop_assert_eq!(&out[..docs.len()], &lengths[..]);
            for i in 0..docs.len() {
                prop_assert_eq!((shape.tf(&bytes, i), shape.length(&bytes, i)), (tfs[i], lengths[i]));
            }
            prop_assert!(Shape::of(&bytes[..size - 1], docs.len()).is_none() || size == 4);
        }

        #[test]
        fn any_bytes_are_a_block_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0..=BLOCK) {
            if let Some(shape) = Shape::of(&bytes, count) {
                let mut out = [0; BLOCK];
                if shape.docs(&bytes, 7, u32::MAX, &mut out) {
                    prop_assert!(out[..count].is_sorted_by(|a, b| a < b));
                }
                shape.tfs(&bytes, &mut out);
                shape.lengths(&bytes, &mut out);
                (0..count).for_each(|i| _ = (shape.tf(&bytes, i), shape.length(&bytes, i)));
            }
        }
    }
}
