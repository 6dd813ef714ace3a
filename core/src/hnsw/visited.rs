//! The set of nodes that a search has met: open addressing, made to be cleared and used again.

/// A set of `u32` below `u32::MAX`.
#[derive(Debug)]
pub struct Visited {
    table: Vec<u32>,
    shift: u32,
    len: usize,
}

const FREE: u32 = u32::MAX;
const INITIAL_BITS: u32 = 11;

impl Default for Visited {
    fn default() -> Self {
        Visited { table: vec![FREE; 1 << INITIAL_BITS], shift: 32 - INITIAL_BITS, len: 0 }
    }
}

impl Visited {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        if self.len > 0 {
            self.table.fill(FREE);
            self.len = 0;
        }
    }

    /// Adds `id`; false when it was there already.
    pub fn insert(&mut self, id: u32) -> bool {
        if self.len * 2 >= self.table.len() {
            self.grow();
        }
        let fresh = Self::place(&mut self.table, self.shift, id);
        self.len += usize::from(fresh);
        fresh
    }

    /// Whether `id` is there.
    pub fn contains(&self, id: u32) -> bool {
        let mask = self.table.len() - 1;
        let mut at = (id.wrapping_mul(0x9E37_79B1) >> self.shift) as usize;
        loop {
            match self.table[at & mask] {
                held if held == id => return true,
                FREE => return false,
                _ => at += 1,
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.table.len() * size_of::<u32>()
    }

    fn place(table: &mut [u32], shift: u32, id: u32) -> bool {
        let mask = table.len() - 1;
        let mut at = (id.wrapping_mul(0x9E37_79B1) >> shift) as usize;
        loop {
            let held = table[at & mask];
            if held == id {
                return false;
            }
            if held == FREE {
                table[at & mask] = id;
                return true;
            }
            at += 1;
        }
    }

    fn grow(&mut self) {
        let mut table = vec![FREE; self.table.len() * 2];
        self.shift -= 1;
        for &id in self.table.iter().filter(|&&id| id != FREE) {
            Self::place(&mut table, self.shift, id);
        }
        self.table = table;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_hash_set() {
        let mut visited = Visited::default();
        let mut oracle = std::collections::HashSet::new();
        let mut x = 12345u32;
        for round in 0..3 {
            for _ in 0..20_000 {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let id = x >> 17;
                assert_eq!(visited.contains(id), oracle.contains(&id), "round {round} id {id}");
                assert_eq!(visited.insert(id), oracle.insert(id), "round {round} id {id}");
            }
            assert_eq!(visited.len(), oracle.len());
            visited.clear();
            oracle.clear();
        }
    }
}
