//! A page of the dictionary: terms in byte order, each with a value of a few bytes. Leaves and inner pages are alike.
//!
//! ```text
//! next leaf u32 | count u16 | prefix length u16 | prefix | place u16 of each term | terms: length varint, rest, value
//! ```
//! What all terms of a page begin with is stored once. A term is found by binary search over the places.

use std::cmp::Ordering;

use super::varint::{self, Reader};

/// Instead of a next page where there is none.
pub const NO_PAGE: u32 = u32::MAX;

const HEADER: usize = 8;

/// A page that is being filled.
#[derive(Default)]
pub struct TermPageBuilder {
    /// Terms and values, one after the other.
    bytes: Vec<u8>,
    /// Where a term begins, its value begins and its value ends.
    entries: Vec<[u32; 3]>,
    prefix: usize,
    /// Bytes of terms with their lengths and of values, prefixes not taken away.
    size: usize,
}

impl TermPageBuilder {
    /// Is nothing on it?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is there room for one more on a page of `payload` bytes?
    pub fn fits(&self, term: &[u8], value: &[u8], payload: usize) -> bool {
        let count = self.entries.len() + 1;
        let prefix = self.prefix_with(term);
        let size = self.size + entry_size(term, value);
        // At least one prefix stays, that of the page.
        HEADER + prefix + 2 * count + size - count * prefix <= payload
    }

    /// Adds a term, greater than all before.
    pub fn push(&mut self, term: &[u8], value: &[u8]) {
        self.prefix = self.prefix_with(term);
        self.size += entry_size(term, value);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(term);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.entries.push([start, middle, self.bytes.len()].map(|place| place as u32));
    }

    /// Writes the page to `out`, which is cleared, and begins anew.
    pub fn finish(&mut self, next: u32, out: &mut Vec<u8>) {
        out.clear();
        out.extend(next.to_le_bytes());
        out.extend((self.entries.len() as u16).to_le_bytes());
        out.extend((self.prefix as u16).to_le_bytes());
        if let Some(&[start, ..]) = self.entries.first() {
            out.extend_from_slice(&self.bytes[start as usize..][..self.prefix]);
        }
        let places = out.len();
        out.resize(places + 2 * self.entries.len(), 0);
        for (i, entry) in self.entries.iter().enumerate() {
            let [start, middle, end] = entry.map(|place| place as usize);
            let place = out.len() as u16;
            out[places + 2 * i..][..2].copy_from_slice(&place.to_le_bytes());
            let rest = &self.bytes[start + self.prefix..middle];
            varint::put(rest.len() as u64, out);
            out.extend_from_slice(rest);
            out.extend_from_slice(&self.bytes[middle..end]);
        }
        *self = TermPageBuilder {
            bytes: std::mem::take(&mut self.bytes),
            entries: std::mem::take(&mut self.entries),
            ..TermPageBuilder::default()
        };
        self.bytes.clear();
        self.entries.clear();
    }

    /// The prefix that would be left with one more term.
    fn prefix_with(&self, term: &[u8]) -> usize {
        match self.entries.first() {
            None => term.len(),
            Some(&[start, ..]) => {
                let prefix = &self.bytes[start as usize..][..self.prefix];
                prefix.iter().zip(term).take_while(|(a, b)| a == b).count()
            }
        }
    }
}

fn entry_size(term: &[u8], value: &[u8]) -> usize {
    varint::size(term.len() as u64) + term.len() + value.len()
}

/// A page that is read.
#[derive(Clone, Copy)]
pub struct TermPage<'a> {
    bytes: &'a [u8],
    prefix: &'a [u8],
    places: &'a [[u8; 2]],
    next: u32,
}

impl<'a> TermPage<'a> {
    /// The page, if its head can be that of one.
    #[inline]
    pub fn of(bytes: &'a [u8]) -> Option<TermPage<'a>> {
        let mut reader = Reader::new(bytes, 0);
        let next = reader.u32()?;
        let (count, prefix) = (reader.u16()?, reader.u16()?);
        let prefix = reader.take(prefix.into())?;
        let places = reader.take(2 * usize::from(count))?.as_chunks().0;
        Some(TermPage { bytes, prefix, places, next })
    }

    /// How many terms there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The page after this one, of leaves.
    pub fn next(&self) -> u32 {
        self.next
    }

    /// What all terms begin with.
    pub fn prefix(&self) -> &'a [u8] {
        self.prefix
    }

    /// A term without the prefix, and a reader of its value.
    #[inline]
    pub fn entry(&self, index: usize) -> Option<(&'a [u8], Reader<'a>)> {
        let place = u16::from_le_bytes(*self.places.get(index)?);
        let mut reader = Reader::new(self.bytes, place.into());
        let length = reader.varint32()?;
        let rest = reader.take(length as usize)?;
        Some((rest, reader))
    }

    /// How many terms are not above a term, and whether the last of them is the term itself. `None` if the page is damaged.
    #[inline]
    pub fn position(&self, term: &[u8]) -> Option<(usize, bool)> {
        let head = &term[..term.len().min(self.prefix.len())];
        let rest = match head.cmp(self.prefix) {
            Ordering::Less => return Some((0, false)),
            Ordering::Greater => return Some((self.len(), false)),
            Ordering::Equal => &term[head.len()..],
        };
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.entry(middle)?.0.cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some((middle + 1, true)),
                Ordering::Greater => high = middle,
            }
        }
        Some((low, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn terms_are_found(
            terms in prop::collection::btree_map("(ab)?[ab]{0,5}", 0u8..9, 1..20), other in "(ab)?[ab]{0,5}",
        ) {
            let mut builder = TermPageBuilder::default();
            let mut page = Vec::new();
            for (term, &value) in &terms {
                prop_assert!(builder.fits(term.as_bytes(), &[value], 1000));
                builder.push(term.as_bytes(), &[value]);
            }
            builder.finish(7, &mut page);
            let read = TermPage::of(&page).unwrap();
            prop_assert_eq!((read.next(), read.len()), (7, terms.len()));
            for (i, (term, &value)) in terms.iter().enumerate() {
                let (rest, mut reader) = read.entry(i).unwrap();
                prop_assert_eq!([read.prefix(), rest].concat(), term.as_bytes());
                prop_assert_eq!(reader.u8(), Some(value));
            }
            let below = terms.range(..=other.clone()).count();
            prop_assert_eq!(read.position(other.as_bytes()), Some((below, terms.contains_key(&other))));
        }

        #[test]
        fn what_fits_fits(terms in prop::collection::btree_set("[ab]{0,9}", 1..40), payload in 60usize..200) {
            let mut builder = TermPageBuilder::default();
            let mut page = Vec::new();
            for term in &terms {
                if !builder.fits(term.as_bytes(), b"xy", payload) {
                    builder.finish(NO_PAGE, &mut page);
                    prop_assert!(page.len() <= payload && page.len() + 30 > payload);
                }
                builder.push(term.as_bytes(), b"xy");
            }
        }

        #[test]
        fn any_bytes_are_a_page_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), counts in any::<bool>()) {
            let mut bytes = bytes;
            if counts && bytes.len() > 8 {
                bytes[4..8].copy_from_slice(&[9, 0, 2, 0]);
            }
            if let Some(page) = TermPage::of(&bytes) {
                (0..page.len()).for_each(|i| _ = page.entry(i));
                let _ = page.position(b"ab");
            }
        }
    }
}
