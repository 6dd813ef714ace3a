//! The encoded rows of a build, sorted by list: in memory, and beyond a limit in a temporary file, as runs that are each
//! sorted and are merged when the lists are read.

use super::pack::Rows;
use super::page::NONE;
use crate::storage::{TempFile, Tid};

/// Encoded rows of any lists.
#[derive(Default)]
pub struct Batch {
    /// The list of each row; [`NONE`]: the row is not indexed.
    pub lists: Vec<u32>,
    /// The rows.
    pub rows: Rows,
}

impl Batch {
    fn memory_bytes(&self, row_bytes: usize) -> usize {
        self.lists.len() * (row_bytes + size_of::<Tid>() + size_of::<u32>() + size_of::<Place>())
    }
}

/// Where a row is among the batches.
#[derive(Clone, Copy)]
struct Place {
    batch: u32,
    row: u32,
}

/// Collects rows, and gives them back list by list.
pub struct Spill {
    row_bytes: usize,
    limit_bytes: usize,
    batches: Vec<Batch>,
    held_bytes: usize,
    /// Rows of each list.
    counts: Vec<u64>,
    file: Option<TempFile>,
    runs: Vec<FileRun>,
}

/// What is left to read of a run in the file: pieces, each a list, the number of its rows, and the rows.
struct FileRun {
    at: u64,
    end: u64,
    /// The list of the piece that is next, and its rows not read yet.
    list: u32,
    left: usize,
}

/// Bytes before a piece.
const PIECE_HEAD_BYTES: usize = 8;

impl Spill {
    /// For codes of `row_bytes` in so many lists. About `limit_bytes` are kept in memory.
    pub fn new(lists: usize, row_bytes: usize, limit_bytes: usize) -> Spill {
        Spill {
            row_bytes,
            limit_bytes,
            batches: Vec::new(),
            held_bytes: 0,
            counts: vec![0; lists],
            file: None,
            runs: Vec::new(),
        }
    }

    /// Adds rows, and writes what is held to the file if that is too much.
    pub fn push(&mut self, batch: Batch) {
        for &list in batch.lists.iter().filter(|&&list| list != NONE) {
            self.counts[list as usize] += 1;
        }
        self.held_bytes += batch.memory_bytes(self.row_bytes);
        self.batches.push(batch);
        if self.held_bytes > self.limit_bytes {
            self.flush();
        }
    }

    /// How many rows a list has so far.
    pub fn rows(&self, list: u32) -> u64 {
        self.counts[list as usize]
    }

    /// How many rows all lists have so far.
    pub fn all_rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Ends collecting.
    pub fn sorted(self) -> Sorted {
        let held = Held::new(&self.batches, self.counts.len());
        Sorted { spill: self, held, given: 0 }
    }

    /// Writes what is held to the file, as a run.
    fn flush(&mut self) {
        let held = Held::new(&self.batches, self.counts.len());
        let file = self.file.get_or_insert_with(TempFile::default);
        let start = file.written();
        for list in 0..self.counts.len() as u32 {
            let places = held.of(list);
            if places.is_empty() {
                continue;
            }
            pgrx::check_for_interrupts!();
            file.append(&list.to_ne_bytes());
            file.append(&(places.len() as u32).to_ne_bytes());
            for place in places {
                let rows = &self.batches[place.batch as usize].rows;
                let mut tid = [0; Tid::BYTES];
                rows.tids[place.row as usize].write(&mut tid, 0);
                file.append(&tid);
                file.append(code(rows, place.row, self.row_bytes));
            }
        }
        let mut run = FileRun { at: start, end: file.written(), list: NONE, left: 0 };
        self.batches.clear();
        self.held_bytes = 0;
        run.next_piece(file);
        self.runs.push(run);
    }
}

fn code(rows: &Rows, row: u32, row_bytes: usize) -> &[u8] {
    &rows.codes[row as usize * row_bytes..(row as usize + 1) * row_bytes]
}

impl FileRun {
    fn next_piece(&mut self, file: &mut TempFile) {
        (self.list, self.left) = (NONE, 0);
        if self.at < self.end {
            let mut head = [0; PIECE_HEAD_BYTES];
            file.read_at(self.at, &mut head);
            let [a, b, c, d, e, f, g, h] = head;
            self.at += PIECE_HEAD_BYTES as u64;
            self.list = u32::from_ne_bytes([a, b, c, d]);
            self.left = u32::from_ne_bytes([e, f, g, h]) as usize;
        }
    }
}

/// The rows in memory, sorted by list; those of a list in the order they came in.
struct Held {
    places: Vec<Place>,
    starts: Vec<usize>,
}

impl Held {
    fn new(batches: &[Batch], lists: usize) -> Held {
        let indexed = || {
            let all = batches.iter().enumerate().flat_map(|(batch, rows)| {
                rows.lists.iter().enumerate().map(move |(row, &list)| {
                    (list as usize, Place { batch: batch as u32, row: row as u32 })
                })
            });
            all.filter(|(list, _)| *list != NONE as usize)
        };
        let mut starts = vec![0; lists + 1];
        indexed().for_each(|(list, _)| starts[list + 1] += 1);
        for list in 0..lists {
            starts[list + 1] += starts[list];
        }
        let mut next = starts.clone();
        let mut places = vec![Place { batch: 0, row: 0 }; starts[lists]];
        for (list, place) in indexed() {
            places[next[list]] = place;
            next[list] += 1;
        }
        Held { places, starts }
    }

    fn of(&self, list: u32) -> &[Place] {
        &self.places[self.starts[list as usize]..self.starts[list as usize + 1]]
    }
}

/// Collected rows, to be read list by list.
pub struct Sorted {
    spill: Spill,
    held: Held,
    /// Rows in memory that were given of the list being read.
    given: usize,
}

impl Sorted {
    /// How many rows a list has.
    pub fn rows(&self, list: u32) -> u64 {
        self.spill.rows(list)
    }

    /// Goes on to the next list.
    pub fn next_list(&mut self) {
        self.given = 0;
    }

    /// Replaces `out` by up to `most` of the rows of `list` that were not given yet, which is fewer only where there are
    /// no more. Lists are read in ascending order, each to its end, [`Sorted::next_list`] between them.
    pub fn read(&mut self, list: u32, most: usize, out: &mut Rows) {
        out.clear();
        let row_bytes = self.spill.row_bytes;
        if let Some(file) = &mut self.spill.file {
            for run in self.spill.runs.iter_mut().filter(|run| run.list == list) {
                let count = run.left.min(most - out.len());
                let mut bytes = vec![0; count * (Tid::BYTES + row_bytes)];
                file.read_at(run.at, &mut bytes);
                for row in bytes.chunks_exact(Tid::BYTES + row_bytes) {
                    out.push(Tid::read(row, 0), &row[Tid::BYTES..]);
                }
                run.at += bytes.len() as u64;
                run.left -= count;
                if run.left == 0 {
                    run.next_piece(file);
                }
                if out.len() == most {
                    return;
                }
            }
        }
        let places = &self.held.of(list)[self.given..];
        for place in places.iter().take(most - out.len()) {
            let rows = &self.spill.batches[place.batch as usize].rows;
            out.push(rows.tids[place.row as usize], code(rows, place.row, row_bytes));
            self.given += 1;
        }
    }
}
