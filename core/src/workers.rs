//! Work shared out to the threads of a pool while the calling thread waits: only that one may look after interrupts.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);

/// Calls `work` once for each of `items`, in no order, on `threads` threads of `pool`, each with a memory of its own that
/// `memory` makes. The calling thread waits and calls `tick(done)` many times a second; if that returns an error or
/// panics, the workers stop after the items they have begun.
pub fn run<M, E>(
    pool: &rayon::ThreadPool,
    threads: usize,
    items: Range<usize>,
    memory: impl Fn() -> M + Sync,
    work: impl Fn(&mut M, usize) + Sync,
    mut tick: impl FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    let progress = Progress { next: AtomicUsize::new(items.start), ..Progress::default() };
    pool.in_place_scope(|scope| {
        let _stop = StopFlag(&progress.stop);
        for _ in 0..threads {
            scope.spawn(|_| {
                let _finish = FinishOnDrop(&progress);
                let mut memory = memory();
                while !progress.stop.load(Relaxed) {
                    let item = progress.next.fetch_add(1, Relaxed);
                    if item >= items.end {
                        return;
                    }
                    work(&mut memory, item);
                    progress.done.fetch_add(1, Relaxed);
                }
            });
        }
        progress.wait(threads, &mut tick)
    })
}

/// Calls `work` on a thread of `pool` and gives what it returns. The calling thread waits and calls `tick` many times a
/// second; if that panics, the function that `work` is called with says that it is to stop.
pub fn call<T: Send>(
    pool: &rayon::ThreadPool,
    work: impl FnOnce(&(dyn Fn() -> bool + Sync)) -> T + Send,
    tick: impl FnMut(),
) -> T {
    let stop = AtomicBool::new(false);
    pool.in_place_scope(|scope| {
        let _stop = StopFlag(&stop);
        let stop = &stop;
        let (sender, receiver) = channel();
        scope.spawn(move |_| {
            let _ = sender.send(work(&|| stop.load(Relaxed)));
        });
        receive(&receiver, tick)
    })
}

/// Waits for what a worker sends, and calls `tick` many times a second.
///
/// # Panics
/// If the worker is gone without having sent anything.
pub fn receive<T>(receiver: &Receiver<T>, mut tick: impl FnMut()) -> T {
    loop {
        tick();
        match receiver.recv_timeout(TICK) {
            Ok(sent) => return sent,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("a worker panicked"),
        }
    }
}

/// Sets a flag when it is dropped, by whatever way its owner leaves.
pub struct StopFlag<'a>(pub &'a AtomicBool);

impl Drop for StopFlag<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What the workers and the waiting thread tell each other.
#[derive(Default)]
struct Progress {
    next: AtomicUsize,
    done: AtomicUsize,
    stop: AtomicBool,
    finished: Mutex<usize>,
    changed: Condvar,
}

impl Progress {
    fn wait<E>(
        &self,
        threads: usize,
        tick: &mut impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            tick(self.done.load(Relaxed))?;
            let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
            if *finished == threads {
                return Ok(());
            }
            drop(self.changed.wait_timeout(finished, TICK));
        }
    }
}

/// Tells the waiting thread that a worker is gone, by whatever way.
struct FinishOnDrop<'a>(&'a Progress);

impl Drop for FinishOnDrop<'_> {
    fn drop(&mut self) {
        *self.0.finished.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap()
    }

    #[test]
    fn every_item_is_worked_on_once() {
        let counts: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        let work = |seen: &mut usize, item: usize| {
            *seen += 1;
            counts[item].fetch_add(1, Relaxed);
        };
        let done = run(&pool(), 3, 10..1000, || 0, work, |_| Ok::<(), ()>(()));
        assert_eq!(done, Ok(()));
        for (item, count) in counts.iter().enumerate() {
            assert_eq!(count.load(Relaxed), usize::from(item >= 10));
        }
        assert_eq!(run(&pool(), 3, 5..5, || 0, work, |_| Ok::<(), ()>(())), Ok(()));
    }

    #[test]
    fn a_call_returns_what_the_worker_returned() {
        assert_eq!(call(&pool(), |stop| (stop(), 7), || {}), (false, 7));
    }

    #[test]
    fn a_call_stops_when_the_waiting_thread_panics() {
        let call = || {
            let forever = |stop: &(dyn Fn() -> bool + Sync)| while !stop() {};
            call(&pool(), forever, || panic!("cancelled"))
        };
        assert!(std::panic::catch_unwind(call).is_err());
    }

    #[test]
    fn an_error_of_the_waiting_thread_stops_the_workers() {
        let stopped = run(&pool(), 2, 0..usize::MAX, || (), |_, _| {}, |_| Err("cancelled"));
        assert_eq!(stopped, Err("cancelled"));
    }
}
