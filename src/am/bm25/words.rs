//! From a document or a query to its words, through PostgreSQL's own text search: a document of type `text` goes through the
//! parser and the dictionaries of the index's configuration as in `to_tsvector`, but without a limit on how often a word
//! is counted.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::meta::{ConfigName, MAX_WEIGHTS, Meta};

/// The type of the column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Source {
    /// `text`.
    Text = 1,
    /// `tsvector`.
    Tsvector = 2,
    /// `text[]`.
    Array = 3,
}

impl Source {
    /// All of them.
    const ALL: [Source; 3] = [Source::Text, Source::Tsvector, Source::Array];

    /// Of a type that an operator class takes.
    pub fn of_type(oid: pg_sys::Oid) -> Option<Source> {
        Source::ALL.into_iter().find(|source| source.type_oid() == oid)
    }

    /// Of the number on a metapage.
    pub fn of_number(number: u8) -> Option<Source> {
        Source::ALL.into_iter().find(|&source| source as u8 == number)
    }

    /// The type.
    pub fn type_oid(self) -> pg_sys::Oid {
        match self {
            Source::Text => pg_sys::TEXTOID,
            Source::Tsvector => pg_sys::TSVECTOROID,
            Source::Array => pg_sys::TEXTARRAYOID,
        }
    }

    /// The type as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Source::Text => "text",
            Source::Tsvector => "tsvector",
            Source::Array => "text[]",
        }
    }
}

/// The words of a document, each once.
#[derive(Default)]
pub struct Bag {
    bytes: Vec<u8>,
    /// Where a word lies, how long it is, and how often it occurs.
    words: Vec<(u32, u32, u32)>,
    /// How many words the document has.
    pub length: u32,
}

impl Bag {
    fn clear(&mut self) {
        self.bytes.clear();
        self.words.clear();
        self.length = 0;
    }

    fn push(&mut self, word: &[u8], times: u32) {
        self.words.push((self.bytes.len() as u32, word.len() as u32, times));
        self.bytes.extend_from_slice(word);
    }

    /// Counts each word once, in the order of their bytes.
    fn finish(&mut self) {
        let bytes = &self.bytes;
        let word = |&(at, len, _): &(u32, u32, u32)| &bytes[at as usize..(at + len) as usize];
        self.words.sort_unstable_by(|a, b| word(a).cmp(word(b)));
        self.words.dedup_by(|later, kept| {
            let is_same = word(later) == word(kept);
            if is_same {
                kept.2 = kept.2.saturating_add(later.2);
            }
            is_same
        });
        let length: u64 = self.words.iter().map(|word| u64::from(word.2)).sum();
        self.length = u32::try_from(length).unwrap_or(u32::MAX);
    }

    /// The words with how often they occur, in the order of their bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], u32)> {
        self.words
            .iter()
            .map(|&(at, len, times)| (&self.bytes[at as usize..(at + len) as usize], times))
    }
}

/// Reads documents and queries for an index.
pub struct Reader {
    source: Source,
    config: pg_sys::Oid,
    weights: [u8; MAX_WEIGHTS],
    /// For what the parser and the dictionaries leave behind. Goes with the memory context that the reader was made in.
    scratch: pg_sys::MemoryContext,
}

impl Reader {
    /// Of the documents of an index with this metapage. It is of use as long as the current memory context.
    pub fn new(meta: &Meta) -> Option<Reader> {
        Some(Reader::of(Source::of_number(meta.source)?, meta))
    }

    /// Of documents of a type, as an index with this metapage reads them; otherwise as [`Reader::new`].
    pub fn of(source: Source, meta: &Meta) -> Reader {
        // SAFETY: makes a memory context under the current one.
        let scratch = unsafe {
            pg_sys::AllocSetContextCreateExtended(
                pg_sys::CurrentMemoryContext,
                c"leanstack bm25 words".as_ptr(),
                pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
            )
        };
        Reader { source, config: config_oid(&meta.config), weights: meta.weights, scratch }
    }

    /// Frees what the reader needed.
    pub fn free(self) {
        // SAFETY: made in `new`, under a memory context that is still there.
        unsafe { pg_sys::MemoryContextDelete(self.scratch) }
    }

    /// Puts the words of a document into `bag`.
    ///
    /// # Safety
    /// `document` is of the type of the column, and not NULL.
    pub unsafe fn read(&mut self, document: pg_sys::Datum, bag: &mut Bag) {
        bag.clear();
        let (config, weights) = (self.config, &self.weights);
        // SAFETY: as the caller promises; what is allocated meanwhile is freed.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.scratch);
            match self.source {
                Source::Text => parse_text(config, document, weight(weights, 0), bag),
                Source::Tsvector => read_tsvector(document, weights, bag),
                Source::Array => {
                    for (at, element) in array_elements(document).into_iter().enumerate() {
                        if let Some(element) = element {
                            parse_text(config, element, weight(weights, at), bag);
                        }
                    }
                }
            }
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset(self.scratch);
        }
        bag.finish();
    }

    /// Puts the words of a query into `bag`.
    ///
    /// # Safety
    /// `query` is of type `text`, and not NULL.
    pub unsafe fn read_query(&mut self, query: pg_sys::Datum, bag: &mut Bag) {
        bag.clear();
        // SAFETY: as the caller promises; what is allocated meanwhile is freed.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.scratch);
            parse_text(self.config, query, 1, bag);
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset(self.scratch);
        }
        bag.finish();
    }
}

/// The text search configuration of a name; an error is raised if it is gone.
fn config_oid(config: &ConfigName) -> pg_sys::Oid {
    // SAFETY: a look-up in the catalogs; the names are copied.
    unsafe {
        let name = |name: &CStr| pg_sys::makeString(pg_sys::pstrdup(name.as_ptr())).cast();
        let names = pg_sys::lappend(std::ptr::null_mut(), name(&config.schema));
        let names = pg_sys::lappend(names, name(&config.name));
        pg_sys::get_ts_config_oid(names, false)
    }
}

/// Columns of `pg_ts_config`, both never null: `cfgname` and `cfgnamespace`.
const NAME_COLUMN: pg_sys::AttrNumber = 2;
const SCHEMA_COLUMN: pg_sys::AttrNumber = 3;

/// The name of a text search configuration; nothing if there is none.
pub fn config_name(oid: pg_sys::Oid) -> Option<ConfigName> {
    // SAFETY: looks in the catalogs; the row stays valid until it is released.
    unsafe {
        let key = pg_sys::Datum::from(oid);
        let cache = pg_sys::SysCacheIdentifier::TSCONFIGOID as i32;
        let row = pg_sys::SearchSysCache1(cache, key);
        if row.is_null() {
            return None;
        }
        let mut is_null = false;
        let mut column = |number| pg_sys::SysCacheGetAttr(cache, row, number, &raw mut is_null);
        let name = CStr::from_ptr(column(NAME_COLUMN).cast_mut_ptr()).to_owned();
        let schema = pg_sys::Oid::from(column(SCHEMA_COLUMN).value() as u32);
        let schema = pg_sys::get_namespace_name(schema);
        pg_sys::ReleaseSysCache(row);
        let schema = (!schema.is_null()).then(|| CStr::from_ptr(schema).to_owned());
        schema.map(|schema| ConfigName { schema, name })
    }
}

fn weight(weights: &[u8; MAX_WEIGHTS], at: usize) -> u32 {
    // Beyond the last weight that was given, and where none was, a word is a word.
    weights.get(at).map_or(1, |&weight| u32::from(weight.max(1)))
}

/// Parses a text as `to_tsvector` does.
unsafe fn parse_text(config: pg_sys::Oid, text: pg_sys::Datum, times: u32, bag: &mut Bag) {
    // SAFETY: the caller passes a text, and has chosen the memory that is allocated from.
    unsafe {
        let text = pg_sys::pg_detoast_datum_packed(text.cast_mut_ptr());
        let len = pgrx::varlena::varsize_any_exhdr(text);
        let data = pgrx::varlena::vardata_any(text).cast_mut();
        // As many words as to_tsvector makes room for; there may be more.
        let room = (len / 6).clamp(2, 1 << 20);
        let mut parsed = pg_sys::ParsedText {
            words: pg_sys::palloc(room * size_of::<pg_sys::ParsedWord>()).cast(),
            lenwords: room as i32,
            curwords: 0,
            pos: 0,
        };
        pg_sys::parsetext(config, &raw mut parsed, data.cast(), len as i32);
        for at in 0..parsed.curwords as usize {
            let word = &*parsed.words.add(at);
            bag.push(std::slice::from_raw_parts(word.word.cast(), word.len.into()), times);
        }
    }
}

/// Reads a tsvector: the layout is that of `tsearch/ts_type.h`.
unsafe fn read_tsvector(vector: pg_sys::Datum, weights: &[u8; MAX_WEIGHTS], bag: &mut Bag) {
    const HEAD: usize = 8;
    const ENTRY: usize = 4;
    // SAFETY: the caller passes a tsvector; everything is looked up within its length.
    let bytes = unsafe {
        let vector: *mut pg_sys::varlena = pg_sys::pg_detoast_datum(vector.cast_mut_ptr());
        std::slice::from_raw_parts(vector.cast::<u8>(), pgrx::varlena::varsize_any(vector))
    };
    let u32_at =
        |at: usize| bytes.get(at..at + 4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
    let u16_at = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    let count = u32_at(4).unwrap_or(0) as usize;
    let lexemes = HEAD + count * ENTRY;
    let is_weighted = weights[0] != 0;
    for at in 0..count {
        let Some(entry) = u32_at(HEAD + at * ENTRY) else { return };
        let (has_positions, len, place) =
            (entry & 1 != 0, (entry >> 1 & 0x7FF) as usize, (entry >> 12) as usize);
        let start = lexemes + place;
        let Some(word) = bytes.get(start..start + len) else { return };
        let mut times = 1;
        if has_positions {
            // Positions begin at an even address.
            let positions = (place + len).next_multiple_of(2) + lexemes;
            let count = u16_at(positions).unwrap_or(1);
            times = u32::from(count);
            if is_weighted {
                // The label is in the two highest bits, D being 0.
                let label = |at: usize| u16_at(positions + 2 + 2 * at).map_or(0, |p| p >> 14);
                times = (0..count.into()).map(|at| weight(weights, label(at).into())).sum();
            }
        } else if is_weighted {
            times = weight(weights, 0);
        }
        bag.push(word, times.max(1));
    }
}

/// The elements of a text[], of any number of dimensions.
unsafe fn array_elements(array: pg_sys::Datum) -> Vec<Option<pg_sys::Datum>> {
    let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the caller passes a text[]; the facts about text are those of pg_type.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        pg_sys::deconstruct_array(
            array,
            pg_sys::TEXTOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
            &raw mut elements,
            &raw mut nulls,
            &raw mut count,
        );
        (0..count as usize).map(|at| (!*nulls.add(at)).then(|| *elements.add(at))).collect()
    }
}
