//! A set of nodes as a bitmap: an eighth of a byte for each number up to the highest.

use super::NodeId;

const WORD: u32 = u64::BITS;

/// A set of nodes.
#[derive(Default)]
pub struct NodeSet {
    words: Vec<u64>,
    len: usize,
}

impl NodeSet {
    /// Adds a node; false if it was there.
    pub fn insert(&mut self, id: NodeId) -> bool {
        let (at, bit) = place(id);
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        let fresh = self.words[at] & bit == 0;
        self.words[at] |= bit;
        self.len += usize::from(fresh);
        fresh
    }

    /// Whether a node is there.
    pub fn contains(&self, id: NodeId) -> bool {
        let (at, bit) = place(id);
        self.words.get(at).is_some_and(|word| word & bit != 0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The nodes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at as u32 * WORD + bit)
            })
        })
    }
}

fn place(id: NodeId) -> (usize, u64) {
    ((id / WORD) as usize, 1 << (id % WORD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn is_a_set(ids in prop::collection::vec(0u32..1000, 0..200)) {
            let (mut set, mut expected) = (NodeSet::default(), BTreeSet::new());
            for &id in &ids {
                prop_assert_eq!(set.insert(id), expected.insert(id));
            }
            prop_assert_eq!((set.len(), set.is_empty()), (expected.len(), expected.is_empty()));
            prop_assert!((0..1100).all(|id| set.contains(id) == expected.contains(&id)));
            prop_assert!(!set.contains(u32::MAX));
            prop_assert!(set.iter().eq(expected));
        }
    }
}
