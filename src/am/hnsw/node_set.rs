//! A set of nodes as a bitmap: an eighth of a byte for each node that the index has room for.

use leanstack_core::hnsw::NodeId;

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
