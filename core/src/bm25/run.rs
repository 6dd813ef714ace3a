//! Runs: what an [`super::Inverter`] spilled. Merged, they are the terms of one segment.
//!
//! A run has for each term, in byte order: length varint, term, number of postings varint, bytes of postings varint, postings.

use std::io::{BufReader, ErrorKind, Read};

use super::invert::for_each_posting;
use super::{Fault, SegmentWriter, Sink, Summary};

struct Run<R: Read> {
    input: BufReader<R>,
    /// The term that was read last, with how many postings it has and their bytes; 0 postings after the last.
    term: Vec<u8>,
    postings: u32,
    bytes: u64,
}

impl<R: Read> Run<R> {
    /// A number; `None` if the run ends before it.
    fn varint(&mut self) -> Result<Option<u64>, Fault> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let mut byte = [0];
            if self.input.read(&mut byte)? == 0 {
                return if shift == 0 { Ok(None) } else { Err(damaged()) };
            }
            if shift > 56 {
                return Err(damaged());
            }
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(Some(value));
            }
            shift += 7;
        }
    }

    fn bytes(&mut self, count: u64, out: &mut Vec<u8>) -> Result<(), Fault> {
        out.clear();
        let read = (&mut self.input).take(count).read_to_end(out)?;
        if read as u64 == count { Ok(()) } else { Err(damaged()) }
    }

    fn advance(&mut self) -> Result<(), Fault> {
        self.postings = 0;
        let Some(length) = self.varint()? else { return Ok(()) };
        let mut term = std::mem::take(&mut self.term);
        self.bytes(length, &mut term)?;
        self.term = term;
        let postings = self.varint()?.and_then(|count| count.try_into().ok());
        self.postings = postings.filter(|&count| count > 0).ok_or_else(damaged)?;
        self.bytes = self.varint()?.ok_or_else(damaged)?;
        Ok(())
    }
}

fn damaged() -> Fault {
    Fault::Run(ErrorKind::InvalidData.into())
}

/// Writes the terms of runs, in the order in which one inverter spilled them, to a segment that has all their documents,
/// and finishes it.
pub fn merge_runs<R: Read, S: Sink>(
    runs: Vec<R>,
    mut writer: SegmentWriter<S>,
) -> Result<Summary, Fault> {
    let begin = |run| Run { input: BufReader::new(run), term: Vec::new(), postings: 0, bytes: 0 };
    let mut runs: Vec<Run<R>> = runs.into_iter().map(begin).collect();
    runs.iter_mut().try_for_each(Run::advance)?;
    let (mut term, mut bytes) = (Vec::new(), Vec::new());
    loop {
        let Some(least) = runs.iter().filter(|run| run.postings > 0).map(|run| &run.term).min()
        else {
            return writer.finish();
        };
        term.clone_from(least);
        for run in &mut runs {
            if run.postings > 0 && run.term == term {
                run.bytes(run.bytes, &mut bytes)?;
                for_each_posting(&bytes, run.postings, |doc, tf| writer.push_posting(doc, tf))?;
                run.advance()?;
            }
        }
        writer.end_term(&term)?;
    }
}
