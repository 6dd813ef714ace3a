//! Documents on their way into a segment: inverted in memory, and beyond a limit put aside in temporary files.

use leanstack_core::bm25::{Fault, Inverter, SegmentWriter, Summary, merge_runs};

use super::beside::Beside;
use super::page::tid_bytes;
use super::segments::SegmentSink;
use crate::storage::{TempFile, Tid};
use crate::threads;

/// Memory that documents may take at least.
const LEAST_BYTES: usize = 1 << 20;
/// The share of the memory that must be left for words, whatever the lengths of all documents take: or each document would
/// be put aside alone.
const WORDS_SHARE: usize = 4;
/// Memory that an inverter can use.
const MOST_BYTES: usize = 2 << 30;

/// Who inverts.
enum By {
    /// The caller.
    Caller(Inverter),
    /// Another thread.
    Thread(Beside),
}

/// Takes the documents of a segment.
pub struct Gather<'s> {
    writer: SegmentWriter<'s, SegmentSink>,
    by: By,
    documents: u32,
    runs: Vec<TempFile>,
    limit_bytes: usize,
}

impl<'s> Gather<'s> {
    /// For a segment that `writer` writes. `memory_bytes` is what may be used; with more than one of `threads`, documents are
    /// inverted beside the caller.
    pub fn new(
        writer: SegmentWriter<'s, SegmentSink>,
        memory_bytes: usize,
        threads: usize,
    ) -> Gather<'s> {
        let by = if threads > 1 {
            By::Thread(Beside::new(threads::build_pool(1)))
        } else {
            By::Caller(Inverter::new())
        };
        let limit_bytes = memory_bytes.max(LEAST_BYTES);
        Gather { writer, by, documents: 0, runs: Vec::new(), limit_bytes }
    }

    /// Adds a document by its words, each with how often it has it.
    ///
    /// # Errors
    /// Those of writing pages and temporary files.
    pub fn push<T: AsRef<[u8]>>(
        &mut self,
        row: Tid,
        length: u32,
        words: impl Iterator<Item = (T, u32)>,
    ) -> Result<(), Fault> {
        self.writer.push_document(tid_bytes(row), length)?;
        self.documents += 1;
        let left = self.limit_bytes.saturating_sub(self.writer.memory_bytes());
        let left = left.max(self.limit_bytes / WORDS_SHARE).min(MOST_BYTES);
        let used = match &mut self.by {
            By::Caller(inverter) => {
                inverter.push(words);
                inverter.memory_bytes()
            }
            By::Thread(beside) => {
                beside.push(words);
                beside.memory_bytes()
            }
        };
        if used > left { self.put_aside() } else { Ok(()) }
    }

    fn put_aside(&mut self) -> Result<(), Fault> {
        let mut run = TempFile::default();
        match &mut self.by {
            By::Caller(inverter) => inverter.spill(&mut run),
            By::Thread(beside) => beside.with_inverter(|inverter| inverter.spill(&mut run)),
        }?;
        self.runs.push(run);
        Ok(())
    }

    /// How many documents there are.
    pub fn documents(&self) -> u32 {
        self.documents
    }

    /// Writes the segment.
    ///
    /// # Errors
    /// As for [`Gather::push`].
    pub fn finish(self) -> Result<Summary, Fault> {
        let mut inverter = match self.by {
            By::Caller(inverter) => inverter,
            By::Thread(beside) => beside.into_inverter(),
        };
        let mut runs = self.runs;
        if runs.is_empty() {
            return inverter.write(self.writer);
        }
        if inverter.terms() > 0 {
            let mut run = TempFile::default();
            inverter.spill(&mut run)?;
            runs.push(run);
        }
        drop(inverter);
        merge_runs(runs.into_iter().map(TempFile::into_reader).collect(), self.writer)
    }
}
