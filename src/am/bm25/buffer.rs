//! The write buffer: a chain of pages with documents as they came. A document that is longer than a page lies in several
//! entries; every entry names its row.
//!
//! ```text
//!   0  bytes   u16   of the entry
//!   2  words   u16   in the entry
//!   4  row     6 bytes
//!  10  flags   u16   bit 0: the document has other entries
//!  12  length  u32   of the whole document, in words
//!  16  words x { hash u32 }
//!   .  words x { times varint, bytes varint, the word }
//! ```

use std::collections::HashMap;

use leanstack_core::bm25::Corpus;
use pgrx::pg_sys;

use super::meta::Buffer;
use super::page::{BUFFER_BYTES, NONE, entries, is_buffer_page, next_in_buffer};
use super::words::Bag;
use crate::storage::page::{read_u16, read_u32};
use crate::storage::{ReadGuard, Tid};

const WORDS_AT: usize = 2;
const ROW_AT: usize = 4;
const FLAGS_AT: usize = 10;
const LENGTH_AT: usize = 12;
const HASHES_AT: usize = 16;
const HASH_BYTES: usize = 4;
/// The document has other entries.
const IS_PART: u16 = 1;

/// FNV-1a: words are short.
pub fn hash(word: &[u8]) -> u32 {
    word.iter().fold(0x811C_9DC5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn push_varint(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_varint(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        number |= u32::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The entries of a document. Each fits on a page of its own.
pub fn encode(row: Tid, bag: &Bag) -> Vec<Vec<u8>> {
    let mut parts: Vec<(Vec<u32>, Vec<u8>)> = vec![(Vec::new(), Vec::new())];
    let mut room = BUFFER_BYTES - HASHES_AT;
    for (word, times) in bag.iter() {
        let mut tail = Vec::with_capacity(word.len() + 4);
        push_varint(&mut tail, times);
        push_varint(&mut tail, word.len() as u32);
        tail.extend_from_slice(word);
        if HASH_BYTES + tail.len() > room {
            parts.push((Vec::new(), Vec::new()));
            room = BUFFER_BYTES - HASHES_AT;
        }
        room -= HASH_BYTES + tail.len();
        if let Some((hashes, tails)) = parts.last_mut() {
            hashes.push(hash(word));
            tails.append(&mut tail);
        }
    }
    let flags = if parts.len() > 1 { IS_PART } else { 0 };
    let entry = |(hashes, tails): (Vec<u32>, Vec<u8>)| {
        let bytes = HASHES_AT + hashes.len() * HASH_BYTES + tails.len();
        let mut entry = vec![0; HASHES_AT];
        entry[..WORDS_AT].copy_from_slice(&(bytes as u16).to_ne_bytes());
        entry[WORDS_AT..ROW_AT].copy_from_slice(&(hashes.len() as u16).to_ne_bytes());
        row.write(&mut entry, ROW_AT);
        entry[FLAGS_AT..LENGTH_AT].copy_from_slice(&flags.to_ne_bytes());
        entry[LENGTH_AT..HASHES_AT].copy_from_slice(&bag.length.to_ne_bytes());
        entry.extend(hashes.iter().flat_map(|hash| hash.to_ne_bytes()));
        entry.extend(tails);
        entry
    };
    parts.into_iter().map(entry).collect()
}

/// An entry on a page.
#[derive(Clone, Copy)]
pub struct Entry<'p> {
    bytes: &'p [u8],
    words: usize,
    /// The row.
    pub row: Tid,
    /// Whether the document has other entries.
    pub is_part: bool,
    /// The length of the document.
    pub length: u32,
}

impl<'p> Entry<'p> {
    /// The hashes of its words.
    fn hashes(&self) -> impl Iterator<Item = u32> + 'p {
        let hashes = &self.bytes[HASHES_AT..HASHES_AT + self.words * HASH_BYTES];
        hashes.chunks_exact(HASH_BYTES).map(|hash| read_u32(hash, 0))
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many words it should have.
    pub fn word_count(&self) -> usize {
        self.words
    }

    /// Its words with how often the document has them.
    pub fn words(&self) -> impl Iterator<Item = (&'p [u8], u32)> + 'p {
        let (bytes, mut at) = (self.bytes, HASHES_AT + self.words * HASH_BYTES);
        (0..self.words).map_while(move |_| {
            let times = read_varint(bytes, &mut at)?;
            let len = read_varint(bytes, &mut at)? as usize;
            let word = bytes.get(at..at + len)?;
            at += len;
            Some((word, times))
        })
    }

    /// How often the document has a word, as far as this entry knows.
    fn times(&self, word: &[u8], word_hash: u32) -> u32 {
        if !self.hashes().any(|hash| hash == word_hash) {
            return 0;
        }
        self.words().find(|(its, _)| *its == word).map_or(0, |(_, times)| times)
    }
}

/// The entries of a page. Ends early where the page is damaged.
pub fn entries_of(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.len() < HASHES_AT {
            return None;
        }
        let len = usize::from(read_u16(rest, 0));
        let words = usize::from(read_u16(rest, WORDS_AT));
        if len < HASHES_AT + words * HASH_BYTES || len > rest.len() {
            return None;
        }
        let (entry, after) = rest.split_at(len);
        rest = after;
        Some(Entry {
            bytes: entry,
            words,
            row: Tid::read(entry, ROW_AT),
            is_part: read_u16(entry, FLAGS_AT) & IS_PART != 0,
            length: read_u32(entry, LENGTH_AT),
        })
    })
}

/// The buffer was emptied and its pages were given back.
#[derive(Debug)]
pub struct Gone;

/// Calls `each` with the block and the entries of each page of a buffer. The page is locked meanwhile.
///
/// # Errors
/// [`Gone`].
///
/// # Safety
/// `relation` is an open and locked `bm25` index, and this backend has no lock on its pages.
pub unsafe fn for_each_page(
    relation: pg_sys::Relation,
    buffer: Buffer,
    mut each: impl FnMut(u32, &[u8]),
) -> Result<(), Gone> {
    let mut next = buffer.head;
    while next != NONE {
        pgrx::check_for_interrupts!();
        // SAFETY: as the caller promises; links are to pages that were there.
        let guard = unsafe { ReadGuard::new(relation, next) };
        if !is_buffer_page(guard.page(), buffer.stamp) {
            return Err(Gone);
        }
        each(next, entries(guard.page()));
        next = next_in_buffer(guard.page());
    }
    Ok(())
}

/// A document of a buffer that has words of a query.
pub struct Match {
    /// Its row.
    pub row: Tid,
    /// Its length.
    pub length: u32,
    /// How often it has each word of the query.
    pub times: Vec<u32>,
}

/// What a query finds in buffers.
#[derive(Default)]
pub struct Found {
    /// All documents, and the sum of their lengths.
    pub corpus: Corpus,
    /// Those that have words of the query.
    pub matches: Vec<Match>,
}

impl Found {
    /// Looks for the words of a query in a buffer.
    ///
    /// # Errors
    /// [`Gone`].
    ///
    /// # Safety
    /// As for [`for_each_page`].
    pub unsafe fn look(
        &mut self,
        relation: pg_sys::Relation,
        buffer: Buffer,
        words: &[(Vec<u8>, u32)],
    ) -> Result<(), Gone> {
        let hashed: Vec<(&[u8], u32)> =
            words.iter().map(|(word, _)| (word.as_slice(), hash(word))).collect();
        // Documents in several entries, by row.
        let mut parts: HashMap<Tid, Option<usize>> = HashMap::new();
        // SAFETY: as the caller promises.
        unsafe {
            for_each_page(relation, buffer, |_, page| {
                for entry in entries_of(page) {
                    self.entry(&entry, &hashed, &mut parts);
                }
            })
        }
    }

    fn entry(
        &mut self,
        entry: &Entry<'_>,
        words: &[(&[u8], u32)],
        parts: &mut HashMap<Tid, Option<usize>>,
    ) {
        let known = if entry.is_part { parts.get(&entry.row).copied() } else { None };
        if known.is_none() {
            self.corpus.docs += 1;
            self.corpus.length += u64::from(entry.length);
        }
        let mut at = known.flatten();
        if entry.hashes().any(|hash| words.iter().any(|(_, its)| *its == hash)) {
            for (place, (word, hash)) in words.iter().enumerate() {
                let times = entry.times(word, *hash);
                if times == 0 {
                    continue;
                }
                let at = *at.get_or_insert_with(|| {
                    let times = vec![0; words.len()];
                    self.matches.push(Match { row: entry.row, length: entry.length, times });
                    self.matches.len() - 1
                });
                self.matches[at].times[place] += times;
            }
        }
        if entry.is_part {
            parts.insert(entry.row, at);
        }
    }
}
