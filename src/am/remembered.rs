//! What a backend remembers of the indexes that it used lately, so that it need not read it again for every scan.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Indexes remembered at a time.
const MOST: usize = 256;

/// What stays the same for the life of an index, by the number drawn when the index was built.
pub struct Remembered<T>(RefCell<HashMap<u64, Rc<T>>>);

impl<T> Default for Remembered<T> {
    fn default() -> Remembered<T> {
        Remembered(RefCell::default())
    }
}

impl<T> Remembered<T> {
    /// What is remembered of an index.
    pub fn get(&self, build_id: u64) -> Option<Rc<T>> {
        self.0.borrow().get(&build_id).cloned()
    }

    /// Calls `each` for what is remembered of every index.
    pub fn for_each(&self, each: impl Fn(&T)) {
        self.0.borrow().values().for_each(|known| each(known));
    }

    /// Remembers an index.
    pub fn put(&self, build_id: u64, info: &Rc<T>) {
        let mut known = self.0.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(build_id, Rc::clone(info));
    }
}
