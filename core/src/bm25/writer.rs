//! Writes a segment: the documents, then the terms with their postings, then the inner pages of the dictionary.
//!
//! Two pages are open at a time while terms come: the one that takes blocks and the lists of blocks, and the leaf of the
//! dictionary. A list of blocks that does not fit on its page goes on on the page that is named in its first four bytes.

use super::block::{BLOCK, BLOCK_BYTES, encode};
use super::segment::{Bound, INLINE, SKIP_BYTES, dead_width};
use super::summary::Summary;
use super::termpage::{NO_PAGE, TermPageBuilder};
use super::{Fault, Params, Posting, RowAddress, Scorer, Sink, documents_per_page, varint};

/// The longest term that a dictionary on pages of this size can hold, in bytes.
pub fn longest_term(payload_bytes: usize) -> usize {
    payload_bytes / 3 - 64
}

/// A segment that is being written.
pub struct SegmentWriter<'s, S: Sink> {
    sink: &'s mut S,
    payload_bytes: usize,
    next_page: u32,
    lengths: Vec<u32>,
    document_page: Vec<u8>,
    /// Set when all documents are there.
    scorer: Option<Scorer>,
    data: OpenPage,
    leaf_number: u32,
    leaf: TermPageBuilder,
    last_term: Vec<u8>,
    /// The least term that leads to each leaf, and the leaf.
    leaves: Vec<(Vec<u8>, u32)>,
    list: List,
    scratch: Vec<u8>,
    summary: Summary,
}

/// A page that takes blocks.
#[derive(Default)]
struct OpenPage {
    number: u32,
    bytes: Vec<u8>,
}

/// Postings of the term that is being written.
#[derive(Default)]
struct List {
    docs: Vec<u32>,
    tfs: Vec<u32>,
    lengths: Vec<u32>,
    /// The least document that may come in the block that is being filled.
    base: u32,
    count: u32,
    greatest: Bound,
    skips: Vec<u8>,
}

impl List {
    fn clear_block(&mut self) {
        self.docs.clear();
        self.tfs.clear();
        self.lengths.clear();
    }
}

impl<'s, S: Sink> SegmentWriter<'s, S> {
    /// Begins a segment on pages of `payload_bytes`.
    ///
    /// # Panics
    /// If a page cannot hold a block.
    pub fn new(sink: &'s mut S, payload_bytes: usize, params: Params) -> Self {
        assert!((BLOCK_BYTES + 4..=1 << 16).contains(&payload_bytes), "a page holds a block");
        let summary = Summary {
            documents: 0,
            pages: 0,
            document_pages: 0,
            terms: 0,
            postings: 0,
            length: 0,
            first_leaf: 0,
            root: 0,
            levels: 0,
            average_length: 1.0,
            params,
        };
        SegmentWriter {
            sink,
            payload_bytes,
            next_page: 0,
            lengths: Vec::new(),
            document_page: Vec::with_capacity(payload_bytes),
            scorer: None,
            data: OpenPage::default(),
            leaf_number: 0,
            leaf: TermPageBuilder::default(),
            last_term: Vec::new(),
            leaves: Vec::new(),
            list: List::default(),
            scratch: Vec::new(),
            summary,
        }
    }

    /// Adds a document, whose number is how many came before.
    ///
    /// # Panics
    /// If a term came before.
    pub fn push_document(&mut self, row: RowAddress, length: u32) -> Result<(), Fault> {
        assert!(self.scorer.is_none(), "documents come before terms");
        self.lengths.push(length);
        self.summary.length += u64::from(length);
        self.document_page.extend(row);
        self.document_page.extend(length.to_le_bytes());
        if self.lengths.len().is_multiple_of(documents_per_page(self.payload_bytes)) {
            self.write_documents()?;
        }
        Ok(())
    }

    /// The lengths of the documents so far.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths
    }

    /// Memory in use, about.
    pub fn memory_bytes(&self) -> usize {
        let leaves: usize = self.leaves.iter().map(|leaf| leaf.0.capacity() + 32).sum();
        size_of_val(&*self.lengths) + leaves + 8 * self.payload_bytes
    }

    /// Adds a term, greater than all before, with its postings, whose documents ascend.
    ///
    /// # Panics
    /// As [`SegmentWriter::push_posting`] and [`SegmentWriter::end_term`].
    pub fn push_term(
        &mut self,
        term: &[u8],
        postings: impl IntoIterator<Item = Posting>,
    ) -> Result<(), Fault> {
        for posting in postings {
            self.push_posting(posting.doc, posting.tf)?;
        }
        self.end_term(term)
    }

    /// Adds a posting of the term that [`SegmentWriter::end_term`] will name.
    ///
    /// # Panics
    /// If the document is not there or not after the one before, or does not have the term.
    pub fn push_posting(&mut self, doc: u32, tf: u32) -> Result<(), Fault> {
        self.end_documents()?;
        if self.list.docs.len() == BLOCK {
            self.write_block()?;
        }
        let least = self.list.docs.last().map_or(self.list.base, |last| last + 1);
        assert!(doc >= least && tf > 0, "postings ascend and have the term");
        self.list.docs.push(doc);
        self.list.tfs.push(tf);
        self.list.lengths.push(self.lengths[doc as usize]);
        self.list.count += 1;
        Ok(())
    }

    /// Ends a term, greater than all before. Without postings it is left out.
    ///
    /// # Panics
    /// If it is not greater, or longer than [`longest_term`].
    pub fn end_term(&mut self, term: &[u8]) -> Result<(), Fault> {
        let count = self.list.count;
        if count == 0 {
            return Ok(());
        }
        assert!(term.len() <= longest_term(self.payload_bytes), "a term fits on a page");
        assert!(self.summary.terms == 0 || *term > *self.last_term, "terms ascend");
        let mut value = std::mem::take(&mut self.scratch);
        value.clear();
        varint::put(count.into(), &mut value);
        value.resize(value.len() + dead_width(count), 0);
        if count as usize <= INLINE {
            self.inline_postings(&mut value);
        } else {
            self.write_block()?;
            let (page, offset) = if count as usize <= BLOCK {
                let (_, rest) = self.list.skips.split_at(4 + Bound::BYTES);
                (rest[..4].try_into().unwrap_or([0; 4]), rest[4..6].try_into().unwrap_or([0; 2]))
            } else {
                self.write_skips()?
            };
            value.extend(page);
            value.extend(offset);
            value.extend(self.list.greatest.to_bytes());
        }
        self.push_entry(term, &value)?;
        self.scratch = value;
        let list = &mut self.list;
        list.clear_block();
        list.skips.clear();
        (list.base, list.count, list.greatest) = (0, 0, Bound::default());
        self.summary.terms += 1;
        self.summary.postings += u64::from(count);
        Ok(())
    }

    /// Writes what is left. The summary is what a reader needs.
    pub fn finish(mut self) -> Result<Summary, Fault> {
        self.end_documents()?;
        if self.data.bytes.len() > 4 {
            self.sink.write(self.data.number, &self.data.bytes)?;
        }
        if !self.leaf.is_empty() {
            self.write_leaf(NO_PAGE)?;
            self.write_inner()?;
        }
        self.summary.pages = self.next_page;
        Ok(self.summary)
    }

    fn take_page(&mut self) -> u32 {
        self.next_page += 1;
        self.next_page - 1
    }

    fn write_documents(&mut self) -> Result<(), Fault> {
        let page = self.take_page();
        self.sink.write(page, &self.document_page)?;
        self.document_page.clear();
        Ok(())
    }

    /// All documents are there: from here on, terms.
    fn end_documents(&mut self) -> Result<(), Fault> {
        if self.scorer.is_some() {
            return Ok(());
        }
        if !self.document_page.is_empty() {
            self.write_documents()?;
        }
        self.summary.documents = self.lengths.len() as u32;
        self.summary.document_pages = self.next_page;
        self.summary.average_length = self.summary.corpus().avgdl();
        self.scorer = Some(Scorer::new(self.summary.params, self.summary.average_length));
        Ok(())
    }

    /// Few postings stand in the dictionary itself.
    fn inline_postings(&mut self, value: &mut Vec<u8>) {
        let mut least = 0;
        let List { docs, tfs, lengths, .. } = &self.list;
        for ((&doc, &tf), &length) in docs.iter().zip(tfs).zip(lengths) {
            varint::put((doc - least).into(), value);
            varint::put(u64::from(length) << 1 | u64::from(tf > 1), value);
            if tf > 1 {
                varint::put((tf - 2).into(), value);
            }
            least = doc + 1;
        }
    }

    /// Writes the block that was filled and notes it in the list of blocks.
    fn write_block(&mut self) -> Result<(), Fault> {
        let Some(scorer) = self.scorer else { return Ok(()) };
        let mut bytes = std::mem::take(&mut self.document_page);
        bytes.clear();
        let List { docs, tfs, lengths, .. } = &self.list;
        encode(self.list.base, docs, tfs, lengths, &mut bytes);
        let bounds = tfs.iter().zip(lengths).map(|(&tf, &length)| Bound::of(tf, length));
        let greater = |a: Bound, b: Bound| if b.part(&scorer) > a.part(&scorer) { b } else { a };
        let bound = bounds.fold(Bound::default(), greater);
        if self.data.bytes.is_empty() || self.data.bytes.len() + bytes.len() > self.payload_bytes {
            self.next_data(false)?;
        }
        let list = &mut self.list;
        let last = list.docs.last().copied().unwrap_or(0);
        list.skips.extend(last.to_le_bytes());
        list.skips.extend(bound.to_bytes());
        list.skips.extend(self.data.number.to_le_bytes());
        list.skips.extend((self.data.bytes.len() as u16).to_le_bytes());
        list.greatest = greater(list.greatest, bound);
        list.base = last + 1;
        list.clear_block();
        self.data.bytes.extend_from_slice(&bytes);
        self.document_page = bytes;
        Ok(())
    }

    /// Writes the list of blocks; says where it begins.
    fn write_skips(&mut self) -> Result<([u8; 4], [u8; 2]), Fault> {
        if self.data.bytes.len() + SKIP_BYTES > self.payload_bytes {
            self.next_data(false)?;
        }
        let place = (self.data.number.to_le_bytes(), (self.data.bytes.len() as u16).to_le_bytes());
        let skips = std::mem::take(&mut self.list.skips);
        for skip in skips.chunks_exact(SKIP_BYTES) {
            if self.data.bytes.len() + SKIP_BYTES > self.payload_bytes {
                self.next_data(true)?;
            }
            self.data.bytes.extend_from_slice(skip);
        }
        self.list.skips = skips;
        Ok(place)
    }

    /// Goes on to a new page for blocks, which the old one names if something goes on there.
    fn next_data(&mut self, linked: bool) -> Result<(), Fault> {
        let number = self.take_page();
        if !self.data.bytes.is_empty() {
            if linked {
                self.data.bytes[..4].copy_from_slice(&number.to_le_bytes());
            }
            self.sink.write(self.data.number, &self.data.bytes)?;
        }
        self.data.number = number;
        self.data.bytes.clear();
        self.data.bytes.extend(NO_PAGE.to_le_bytes());
        Ok(())
    }

    /// Adds a term to the dictionary.
    fn push_entry(&mut self, term: &[u8], value: &[u8]) -> Result<(), Fault> {
        if self.summary.terms == 0 {
            self.leaf_number = self.take_page();
            self.summary.first_leaf = self.leaf_number;
            self.leaves.push((Vec::new(), self.leaf_number));
        } else if !self.leaf.fits(term, value, self.payload_bytes) {
            let next = self.take_page();
            self.write_leaf(next)?;
            self.leaf_number = next;
            // The shortest that is above the last term of the leaf before.
            let same = term.iter().zip(&self.last_term).take_while(|(a, b)| a == b).count();
            self.leaves.push((term[..same + 1].to_vec(), next));
        }
        self.leaf.push(term, value);
        self.last_term.clear();
        self.last_term.extend_from_slice(term);
        Ok(())
    }

    fn write_leaf(&mut self, next: u32) -> Result<(), Fault> {
        let mut bytes = std::mem::take(&mut self.document_page);
        self.leaf.finish(next, &mut bytes);
        self.sink.write(self.leaf_number, &bytes)?;
        self.document_page = bytes;
        Ok(())
    }

    /// Writes the levels above the leaves.
    fn write_inner(&mut self) -> Result<(), Fault> {
        let mut level = std::mem::take(&mut self.leaves);
        let mut bytes = Vec::new();
        self.summary.levels = 1;
        while level.len() > 1 {
            let mut above: Vec<(Vec<u8>, u32)> = Vec::new();
            let mut builder = TermPageBuilder::default();
            for (term, page) in level {
                let value = page.to_le_bytes();
                if builder.is_empty() || !builder.fits(&term, &value, self.payload_bytes) {
                    if let Some(&(_, number)) = above.last() {
                        builder.finish(NO_PAGE, &mut bytes);
                        self.sink.write(number, &bytes)?;
                    }
                    above.push((term.clone(), self.take_page()));
                }
                builder.push(&term, &value);
            }
            if let Some(&(_, number)) = above.last() {
                builder.finish(NO_PAGE, &mut bytes);
                self.sink.write(number, &bytes)?;
            }
            self.summary.levels += 1;
            level = above;
        }
        self.summary.root = level.first().map_or(0, |root| root.1);
        Ok(())
    }
}
