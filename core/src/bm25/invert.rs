//! Turns documents into terms with postings, in memory; for builds larger than memory, in runs that are put aside.
//!
//! Terms are kept once, one after the other. The postings of a term are bytes in slices of an arena that double in size as
//! there are more of them, each ending with the place of the next; the last posting is kept beside the term, so that the
//! many terms that come once need no slice at all.

use std::hash::BuildHasher;
use std::io::Write;

use super::varint::{self, Reader};
use super::{Fault, SegmentWriter, Sink, Summary};
use crate::asof::Seeded;

/// Sizes of the slices of a term, one after the other; the last again and again.
const SLICES: [usize; 7] = [8, 16, 32, 64, 128, 256, 512];

/// Bytes of a slice that say where the next is.
const LINK: usize = 4;

/// Where an inverter must be emptied, for places have 32 bits.
const FULL_BYTES: usize = 3 << 30;

#[derive(Clone, Copy)]
struct Term {
    start: u32,
    length: u32,
    postings: u32,
    /// The last document that has it, and how often.
    doc: u32,
    tf: u32,
    /// One more than the document before that.
    least: u32,
    /// The first slice.
    head: u32,
    /// Where the next byte goes.
    at: u32,
    /// The end of what may be written of the current slice.
    end: u32,
    /// Which slice that is; 0 for none, then 1 for the first of [`SLICES`].
    level: u32,
}

/// Postings in the order of documents, while they are turned around.
pub struct Inverter {
    documents: u32,
    seeded: Seeded,
    /// The upper half of a term's hash, and one more than its number; 0 where there is none.
    slots: Vec<[u32; 2]>,
    terms: Vec<Term>,
    bytes: Vec<u8>,
    arena: Vec<u8>,
}

impl Default for Inverter {
    fn default() -> Inverter {
        Inverter::new()
    }
}

impl Inverter {
    /// With no document.
    pub fn new() -> Inverter {
        Inverter {
            documents: 0,
            seeded: Seeded::default(),
            slots: vec![[0, 0]; 1024],
            terms: Vec::new(),
            bytes: Vec::new(),
            arena: Vec::new(),
        }
    }

    /// Adds a document, whose number is how many came before, by its terms with how often it has each. A term may come
    /// again. Returns the document's length.
    pub fn push<T: AsRef<[u8]>>(&mut self, terms: impl IntoIterator<Item = (T, u32)>) -> u32 {
        let doc = self.documents;
        self.documents += 1;
        let mut length = 0u32;
        for (term, tf) in terms {
            if tf > 0 {
                length = length.saturating_add(tf);
                let number = self.number(term.as_ref());
                self.add(number, doc, tf);
            }
        }
        length
    }

    /// How many documents were added, with those that were spilled.
    pub fn documents(&self) -> u32 {
        self.documents
    }

    /// How many different terms they have, those that were spilled left out.
    pub fn terms(&self) -> usize {
        self.terms.len()
    }

    /// Memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * 8
            + self.terms.capacity() * size_of::<Term>()
            + self.bytes.capacity()
            + self.arena.capacity()
    }

    /// Must it be spilled or written before more is added?
    pub fn is_full(&self) -> bool {
        self.bytes.len().max(self.arena.len()) > FULL_BYTES
    }

    /// Writes the terms to a segment whose documents are these, in this order, and finishes it.
    pub fn write<S: Sink>(self, mut writer: SegmentWriter<S>) -> Result<Summary, Fault> {
        let mut bytes = Vec::new();
        for number in self.sorted() {
            let term = self.terms[number as usize];
            self.gather(&term, &mut bytes);
            for_each_posting(&bytes, term.postings, |doc, tf| writer.push_posting(doc, tf))?;
            writer.end_term(self.term(&term))?;
        }
        writer.finish()
    }

    /// Writes the terms as a run, for [`super::merge_runs`], and forgets them. Documents are numbered on.
    pub fn spill(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        let (mut head, mut bytes) = (Vec::new(), Vec::new());
        for number in self.sorted() {
            let term = self.terms[number as usize];
            self.gather(&term, &mut bytes);
            head.clear();
            varint::put(term.length.into(), &mut head);
            head.extend_from_slice(self.term(&term));
            varint::put(term.postings.into(), &mut head);
            varint::put(bytes.len() as u64, &mut head);
            out.write_all(&head)?;
            out.write_all(&bytes)?;
        }
        // What a spill is for is the memory.
        self.slots = vec![[0, 0]; 1024];
        self.terms = Vec::new();
        self.bytes = Vec::new();
        self.arena = Vec::new();
        Ok(())
    }

    fn term(&self, term: &Term) -> &[u8] {
        &self.bytes[term.start as usize..][..term.length as usize]
    }

    /// Numbers of the terms, in byte order of the terms.
    fn sorted(&self) -> Vec<u32> {
        let key = |number: u32| {
            let term = self.term(&self.terms[number as usize]);
            let mut head = [0; 8];
            let length = term.len().min(8);
            head[..length].copy_from_slice(&term[..length]);
            (u64::from_be_bytes(head), number)
        };
        let mut sorted: Vec<(u64, u32)> = (0..self.terms.len() as u32).map(key).collect();
        sorted.sort_unstable_by(|a, b| {
            let [left, right] = [a, b].map(|key| self.term(&self.terms[key.1 as usize]));
            a.0.cmp(&b.0).then_with(|| left.cmp(right))
        });
        sorted.into_iter().map(|key| key.1).collect()
    }

    /// The number of a term, which is the next one if the term is new.
    #[inline]
    fn number(&mut self, term: &[u8]) -> u32 {
        let hash = self.seeded.hash_one(term);
        let last = self.slots.len() - 1;
        let mut at = hash as usize & last;
        loop {
            let [upper, next] = self.slots[at];
            let Some(number) = next.checked_sub(1) else { break };
            if upper == (hash >> 32) as u32 && self.term(&self.terms[number as usize]) == term {
                return number;
            }
            at = (at + 1) & last;
        }
        let number = self.terms.len() as u32;
        self.slots[at] = [(hash >> 32) as u32, number + 1];
        self.terms.push(Term {
            start: self.bytes.len() as u32,
            length: term.len() as u32,
            postings: 0,
            doc: 0,
            tf: 0,
            least: 0,
            head: 0,
            at: 0,
            end: 0,
            level: 0,
        });
        self.bytes.extend_from_slice(term);
        if self.terms.len() * 2 > self.slots.len() {
            self.grow();
        }
        number
    }

    #[cold]
    fn grow(&mut self) {
        let last = self.slots.len() * 2 - 1;
        let mut slots = vec![[0u32; 2]; last + 1];
        for (number, term) in (1..).zip(&self.terms) {
            let hash = self.seeded.hash_one(self.term(term));
            let mut at = hash as usize & last;
            while slots[at][1] != 0 {
                at = (at + 1) & last;
            }
            slots[at] = [(hash >> 32) as u32, number];
        }
        self.slots = slots;
    }

    /// Adds a posting. The one before goes to the slices.
    #[inline]
    fn add(&mut self, number: u32, doc: u32, tf: u32) {
        let term = &mut self.terms[number as usize];
        if term.postings > 0 {
            if term.doc == doc {
                term.tf = term.tf.saturating_add(tf);
                return;
            }
            let (gap, before) = (term.doc - term.least, term.tf);
            term.least = term.doc + 1;
            (term.doc, term.tf) = (doc, tf);
            term.postings += 1;
            append(term, &mut self.arena, gap, before);
            return;
        }
        (term.doc, term.tf, term.postings) = (doc, tf, 1);
    }

    /// Replaces `bytes` by the postings of a term.
    fn gather(&self, term: &Term, bytes: &mut Vec<u8>) {
        bytes.clear();
        let mut at = term.head as usize;
        for level in 1..=term.level {
            if level == term.level {
                bytes.extend_from_slice(&self.arena[at..term.at as usize]);
            } else {
                let (slice, rest) = self.arena[at..].split_at(slice_bytes(level) - LINK);
                bytes.extend_from_slice(slice);
                at = Reader::new(rest, 0).u32().unwrap_or(0) as usize;
            }
        }
        encode_posting(term.doc - term.least, term.tf, |byte| bytes.push(byte));
    }
}

/// Size of the slice at a level, counted from 1.
#[inline]
fn slice_bytes(level: u32) -> usize {
    SLICES[(level as usize - 1).min(SLICES.len() - 1)]
}

/// Appends a posting to a term's slices.
#[inline]
fn append(term: &mut Term, arena: &mut Vec<u8>, gap: u32, tf: u32) {
    encode_posting(gap, tf, |byte| {
        if term.at == term.end {
            let start = arena.len();
            let link = term.end as usize;
            term.level += 1;
            arena.resize(start + slice_bytes(term.level), 0);
            if term.level == 1 {
                term.head = start as u32;
            } else {
                arena[link..link + LINK].copy_from_slice(&(start as u32).to_le_bytes());
            }
            term.at = start as u32;
            term.end = (arena.len() - LINK) as u32;
        }
        arena[term.at as usize] = byte;
        term.at += 1;
    });
}

/// A posting as bytes: the gap with a bit that says whether more than one follows, then tf - 2 if so.
#[inline]
fn encode_posting(gap: u32, tf: u32, mut put: impl FnMut(u8)) {
    let mut number = |mut value: u64| {
        while value >= 0x80 {
            put(value as u8 | 0x80);
            value >>= 7;
        }
        put(value as u8);
    };
    number(u64::from(gap) << 1 | u64::from(tf > 1));
    if tf > 1 {
        number((tf - 2).into());
    }
}

/// Decodes `count` postings.
pub fn for_each_posting(
    bytes: &[u8],
    count: u32,
    mut f: impl FnMut(u32, u32) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes, 0);
    let mut least = 0u32;
    let mut next = || {
        let gap = reader.varint()?;
        let tf = if gap & 1 == 1 { reader.varint32()?.checked_add(2)? } else { 1 };
        let doc = least.checked_add((gap >> 1).try_into().ok()?)?;
        least = doc.checked_add(1)?;
        Some((doc, tf))
    };
    for _ in 0..count {
        let (doc, tf) = next().ok_or_else(|| Fault::Run(std::io::ErrorKind::InvalidData.into()))?;
        f(doc, tf)?;
    }
    Ok(())
}
