//! A thread beside the leader that inverts documents while the leader reads and parses the next ones. The leader alone calls
//! PostgreSQL: when memory is used up it asks for the inverter back, to put its content aside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

use leanstack_core::bm25::Inverter;
use pgrx::PgSqlErrorCode;
use rayon::ThreadPool;

use crate::error::fail;

/// Bytes of words that are handed over together.
const BATCH_BYTES: usize = 128 << 10;
/// Batches that may wait.
const WAITING: usize = 4;

/// Documents on their way to the thread.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each word ends, and how often its document has it.
    words: Vec<(u32, u32)>,
    /// The words of each document, as where they end.
    documents: Vec<u32>,
}

impl Batch {
    fn push(&mut self, words: impl Iterator<Item = (impl AsRef<[u8]>, u32)>) {
        for (word, times) in words {
            self.bytes.extend_from_slice(word.as_ref());
            self.words.push((self.bytes.len() as u32, times));
        }
        self.documents.push(self.words.len() as u32);
    }

    fn add_to(&self, inverter: &mut Inverter) {
        let (mut word, mut byte) = (0, 0);
        for &end in &self.documents {
            let words = &self.words[word..end as usize];
            word = end as usize;
            inverter.push(words.iter().map(|&(end, times)| {
                let start = std::mem::replace(&mut byte, end as usize);
                (&self.bytes[start..end as usize], times)
            }));
        }
    }
}

enum Message {
    Documents(Batch),
    /// The inverter is to be given back.
    Return,
    /// It comes again.
    Inverter(Inverter),
}

/// The leader's side.
pub struct Beside {
    to: SyncSender<Message>,
    from: Receiver<Inverter>,
    memory: Arc<AtomicUsize>,
    batch: Batch,
    /// Last, so that the channels are closed when it waits for the thread.
    _pool: ThreadPool,
}

impl Beside {
    /// Starts to invert on a thread of `pool`.
    pub fn new(pool: ThreadPool) -> Beside {
        let (to, messages) = sync_channel(WAITING);
        let (back, from) = channel();
        let memory = Arc::new(AtomicUsize::new(0));
        let known = Arc::clone(&memory);
        pool.spawn(move || invert(&messages, &back, &known));
        Beside { to, from, memory, batch: Batch::default(), _pool: pool }
    }

    /// Hands over a document.
    pub fn push(&mut self, words: impl Iterator<Item = (impl AsRef<[u8]>, u32)>) {
        self.batch.push(words);
        if self.batch.bytes.len() >= BATCH_BYTES {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.send(Message::Documents(batch));
    }

    fn send(&self, message: Message) {
        if self.to.send(message).is_err() {
            gone();
        }
    }

    /// Memory that the inverter used a moment ago.
    pub fn memory_bytes(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Calls `with` with the inverter, which has all documents then.
    pub fn with_inverter<T>(&mut self, with: impl FnOnce(&mut Inverter) -> T) -> T {
        let mut inverter = self.take();
        let result = with(&mut inverter);
        self.memory.store(inverter.memory_bytes(), Ordering::Relaxed);
        self.send(Message::Inverter(inverter));
        result
    }

    /// Waits for the inverter with all documents.
    fn take(&mut self) -> Inverter {
        self.hand_over();
        self.send(Message::Return);
        match self.from.recv() {
            Ok(inverter) => inverter,
            Err(_) => gone(),
        }
    }

    /// The inverter with all documents, at the end.
    pub fn into_inverter(mut self) -> Inverter {
        self.take()
    }
}

/// What the thread does until the leader has gone, or has taken the inverter and not given it back.
fn invert(
    messages: &Receiver<Message>,
    back: &std::sync::mpsc::Sender<Inverter>,
    memory: &AtomicUsize,
) {
    let mut inverter = Some(Inverter::new());
    while let Ok(message) = messages.recv() {
        match message {
            Message::Documents(batch) => {
                if let Some(inverter) = &mut inverter {
                    batch.add_to(inverter);
                    memory.store(inverter.memory_bytes(), Ordering::Relaxed);
                }
            }
            Message::Return => {
                if inverter.take().is_none_or(|inverter| back.send(inverter).is_err()) {
                    return;
                }
            }
            Message::Inverter(again) => inverter = Some(again),
        }
    }
}

#[cold]
fn gone() -> ! {
    fail(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        "the thread that inverts documents has ended",
        "This is a bug: please report it with the server's log.",
    )
}
