//! Documents on their way into a segment: inverted in memory, and beyond a limit put aside in temporary files.

use leanstack_core::bm25::{Fault, Inverter, SegmentWriter, Summary, merge_runs};

use super::page::tid_bytes;
use super::segments::SegmentSink;
use crate::storage::{TempFile, Tid};

/// Memory that documents may take at least.
const LEAST_BYTES: usize = 1 << 20;

/// Takes the documents of a segment.
pub struct Gather<'s> {
    writer: SegmentWriter<'s, SegmentSink>,
    inverter: Inverter,
    runs: Vec<TempFile>,
    limit_bytes: usize,
}

impl<'s> Gather<'s> {
    /// For a segment that `writer` writes. `memory_bytes` is what may be used.
    pub fn new(writer: SegmentWriter<'s, SegmentSink>, memory_bytes: usize) -> Gather<'s> {
        let limit_bytes = memory_bytes.max(LEAST_BYTES);
        Gather { writer, inverter: Inverter::new(), runs: Vec::new(), limit_bytes }
    }

    /// Adds a document by its words, each with how often it has it.
    ///
    /// # Errors
    /// Those of writing pages and temporary files.
    pub fn push<T: AsRef<[u8]>>(
        &mut self,
        row: Tid,
        length: u32,
        words: impl IntoIterator<Item = (T, u32)>,
    ) -> Result<(), Fault> {
        self.writer.push_document(tid_bytes(row), length)?;
        self.inverter.push(words);
        // The lengths of all documents stay in memory; they must not leave so little that each document is put aside alone.
        let left = self.limit_bytes.saturating_sub(self.writer.memory_bytes());
        let left = left.max(self.limit_bytes / 4);
        if self.inverter.memory_bytes() > left || self.inverter.is_full() {
            self.put_aside()?;
        }
        Ok(())
    }

    fn put_aside(&mut self) -> Result<(), Fault> {
        let mut run = TempFile::default();
        self.inverter.spill(&mut run)?;
        self.runs.push(run);
        Ok(())
    }

    /// How many documents there are.
    pub fn documents(&self) -> u32 {
        self.inverter.documents()
    }

    /// Writes the segment.
    ///
    /// # Errors
    /// As for [`Gather::push`].
    pub fn finish(mut self) -> Result<Summary, Fault> {
        if self.runs.is_empty() {
            return self.inverter.write(self.writer);
        }
        if self.inverter.terms() > 0 {
            self.put_aside()?;
        }
        let runs = self.runs.into_iter().map(TempFile::into_reader).collect();
        merge_runs(runs, self.writer)
    }
}
