//! What a reader must know of a segment before it reads a page: kept by the caller, in a catalog of segments.

use super::varint::Reader;
use super::{Corpus, Params};

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Documents when it was written.
    pub documents: u32,
    /// Pages of all kinds.
    pub pages: u32,
    /// The first of them: the documents.
    pub document_pages: u32,
    /// Terms in the dictionary.
    pub terms: u32,
    /// Postings of all terms.
    pub postings: u64,
    /// The sum of the lengths of all documents when it was written.
    pub length: u64,
    /// The first leaf page of the dictionary; has a meaning if there are terms.
    pub first_leaf: u32,
    /// Root page of the dictionary.
    pub root: u32,
    /// Levels of the dictionary: 0 if there are no terms, 1 if the root is the one leaf.
    pub levels: u32,
    /// The average length by which the bounds were computed.
    pub average_length: f64,
    /// The numbers by which the bounds were computed.
    pub params: Params,
}

impl Summary {
    /// Size of the stored form.
    pub const BYTES: usize = 7 * 4 + 2 * 8 + 3 * 8;

    /// The stored form.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let words = [
            self.documents,
            self.pages,
            self.document_pages,
            self.terms,
            self.first_leaf,
            self.root,
            self.levels,
        ];
        let mut bytes = Vec::with_capacity(Self::BYTES);
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        [self.postings, self.length].iter().for_each(|count| bytes.extend(count.to_le_bytes()));
        [self.average_length, self.params.k1, self.params.b]
            .iter()
            .for_each(|number| bytes.extend(number.to_bits().to_le_bytes()));
        bytes.try_into().unwrap_or([0; Self::BYTES])
    }

    /// Reads the stored form with which `bytes` begin. `None` if they are too few or contradict themselves.
    pub fn from_bytes(bytes: &[u8]) -> Option<Summary> {
        let mut reader = Reader::new(bytes, 0);
        let [documents, pages, document_pages, terms] =
            [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
        let [first_leaf, root, levels] = [reader.u32()?, reader.u32()?, reader.u32()?];
        let [postings, length] = [reader.u64()?, reader.u64()?];
        let [average_length, k1, b] =
            [reader.u64()?, reader.u64()?, reader.u64()?].map(f64::from_bits);
        let params = Params { k1, b };
        let sound = document_pages <= pages
            && (terms == 0) == (levels == 0)
            && (terms == 0 || (first_leaf < pages && root < pages && levels < pages))
            && average_length > 0.0
            && k1 >= 0.0
            && (0.0..=1.0).contains(&b);
        sound.then_some(Summary {
            documents,
            pages,
            document_pages,
            terms,
            postings,
            length,
            first_leaf,
            root,
            levels,
            average_length,
            params,
        })
    }

    /// What its documents add to a corpus, as long as none is dead.
    pub fn corpus(&self) -> Corpus {
        Corpus { docs: self.documents.into(), length: self.length }
    }
}
