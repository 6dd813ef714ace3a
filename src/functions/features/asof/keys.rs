//! Keys of entities as numbers. Values that equality of their type calls equal have one number, whatever their bytes.
//!
//! Where bytes decide, which the type's btree operator class says, they are compared here; other values go through the
//! type's own hash and equality functions. A key of several columns is numbered column by column.

use std::collections::HashMap;
use std::hash::Hash;

use leanstack_core::asof::Ids;
use pgrx::pg_sys;
use pgrx::varlena::{varatt_is_1b_e, varatt_is_4b_c, vardata_any, varsize_any, varsize_any_exhdr};

/// The support function by which a btree operator class says that equal values have equal bytes: BTEQUALIMAGE_PROC.
const EQUAL_IMAGE: i16 = 4;

/// No further value of this hash.
const END: u32 = u32::MAX;

/// What the server knows of a type. Entries of its cache stay for the life of the process.
struct Type(*mut pg_sys::TypeCacheEntry);

impl Type {
    fn of(type_id: pg_sys::Oid) -> Type {
        let wanted = pg_sys::TYPECACHE_EQ_OPR_FINFO
            | pg_sys::TYPECACHE_HASH_PROC_FINFO
            | pg_sys::TYPECACHE_BTREE_OPFAMILY;
        // SAFETY: a look-up in the server's cache, or an error of the server.
        Type(unsafe { pg_sys::lookup_type_cache(type_id, wanted as i32) })
    }

    fn entry(&self) -> &pg_sys::TypeCacheEntry {
        // SAFETY: the cache gave a valid entry, which it keeps.
        unsafe { &*self.0 }
    }

    /// Do equal values of this type and collation have equal bytes?
    fn equal_image(&self, collation: pg_sys::Oid) -> bool {
        let entry = self.entry();
        // Blanks at the end of a bpchar do not count.
        if entry.btree_opf == pg_sys::InvalidOid || entry.btree_opintype == pg_sys::BPCHAROID {
            return false;
        }
        let input = entry.btree_opintype;
        // SAFETY: look-ups in the server's caches, and a support function called as its operator class asks for.
        unsafe {
            let decides = pg_sys::get_opfamily_proc(entry.btree_opf, input, input, EQUAL_IMAGE);
            decides != pg_sys::InvalidOid
                && pg_sys::OidFunctionCall1Coll(decides, collation, input.into()).value() & 0xff
                    != 0
        }
    }

    fn has_hash(&self) -> bool {
        let entry = self.entry();
        entry.eq_opr != pg_sys::InvalidOid && entry.hash_proc != pg_sys::InvalidOid
    }

    fn is_integer(&self) -> bool {
        [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID].contains(&self.entry().btree_opintype)
    }
}

/// Can keys of these two types be numbered together, with the equality that an index on one of them uses?
pub fn alike(left: pg_sys::Oid, right: pg_sys::Oid) -> bool {
    let (left, right) = (Type::of(left), Type::of(right));
    let (a, b) = (left.entry(), right.entry());
    let one_class = a.btree_opf == b.btree_opf && a.btree_opintype == b.btree_opintype;
    a.btree_opf != pg_sys::InvalidOid
        && ((left.is_integer() && right.is_integer())
            || (one_class && (left.has_hash() || left.equal_image(pg_sys::InvalidOid))))
}

/// A copy of a value in the current memory context, plain if it was compressed or elsewhere, and its size.
///
/// # Safety
/// `value` is of a type that is passed so and has this length.
unsafe fn kept(by_value: bool, length: i16, value: pg_sys::Datum) -> (pg_sys::Datum, usize) {
    // SAFETY: passed on to the caller; palloc gives as many bytes as asked for, or raises.
    unsafe {
        if by_value {
            (value, 0)
        } else if length >= 0 {
            let copy: *mut u8 = pg_sys::palloc(length as usize).cast();
            std::ptr::copy_nonoverlapping(value.cast_mut_ptr(), copy, length as usize);
            (copy.into(), length as usize)
        } else if length == -1 {
            let copy = pg_sys::pg_detoast_datum_copy(value.cast_mut_ptr());
            (copy.into(), varsize_any(copy))
        } else {
            let copy = pg_sys::pstrdup(value.cast_mut_ptr());
            (copy.into(), std::ffi::CStr::from_ptr(copy).count_bytes())
        }
    }
}

/// Values whose type has functions for their hash and equality.
struct Others {
    of: Type,
    collation: pg_sys::Oid,
    /// The last value of each hash.
    last: HashMap<u32, u32>,
    /// The value before it of the same hash, or [`END`].
    before: Vec<u32>,
    values: Vec<pg_sys::Datum>,
    bytes: usize,
}

impl Others {
    /// # Safety
    /// `value` is of the type. Values that are added are copied to `context`, which lives as long as `self`.
    unsafe fn look<const ADD: bool>(
        &mut self,
        value: pg_sys::Datum,
        context: pg_sys::MemoryContext,
    ) -> Option<u32> {
        let entry = self.of.0;
        // SAFETY: the functions are those of the value's type.
        unsafe {
            let hash = &raw mut (*entry).hash_proc_finfo;
            let hash = pg_sys::FunctionCall1Coll(hash, self.collation, value).value() as u32;
            let first = self.last.get(&hash).copied().unwrap_or(END);
            let mut found = first;
            while found != END {
                let equal = &raw mut (*entry).eq_opr_finfo;
                let known = self.values[found as usize];
                if pg_sys::FunctionCall2Coll(equal, self.collation, known, value).value() & 0xff
                    != 0
                {
                    return Some(found);
                }
                found = self.before[found as usize];
            }
            if !ADD {
                return None;
            }
            let outside = pg_sys::MemoryContextSwitchTo(context);
            let (kept, bytes) = kept((*entry).typbyval, (*entry).typlen, value);
            pg_sys::MemoryContextSwitchTo(outside);
            let id = self.values.len() as u32;
            self.bytes += 48 + bytes;
            self.values.push(kept);
            self.before.push(first);
            self.last.insert(hash, id);
            Some(id)
        }
    }
}

/// How the values of a column become words: words are equal where values are.
enum Kind {
    /// An integer of any width is its value; entities and history may differ in width.
    Integer,
    /// The bytes of a value that is passed by value.
    Word,
    /// Numbers for values of up to 16 bytes.
    Short(Ids<u128>),
    /// Numbers for bytes.
    Bytes(Ids<Vec<u8>>),
    /// Numbers given with functions of the type.
    Others(Others),
}

/// One column of keys.
struct Column {
    kind: Kind,
    /// Length of a value as the server's catalog says it, of entities and of history.
    length: [i16; 2],
}

/// The bytes of a value that is not passed by value, in place or detoasted into the current memory context.
///
/// # Safety
/// `value` points to a value of a type of this length, which outlives the result.
unsafe fn image<'a>(value: pg_sys::Datum, length: i16) -> &'a [u8] {
    // SAFETY: the caller vouches for the value and its length.
    unsafe {
        if length >= 0 {
            return std::slice::from_raw_parts(value.cast_mut_ptr::<u8>(), length as usize);
        }
        let mut value: *mut pg_sys::varlena = value.cast_mut_ptr();
        if varatt_is_1b_e(value) || varatt_is_4b_c(value) {
            value = pg_sys::pg_detoast_datum(value);
        }
        std::slice::from_raw_parts(vardata_any(value).cast(), varsize_any_exhdr(value))
    }
}

fn look<const ADD: bool, K, Q>(ids: &mut Ids<K>, value: &Q) -> Option<u32>
where
    K: Hash + Eq + std::borrow::Borrow<Q>,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    if ADD { Some(ids.number(value)) } else { ids.find(value) }
}

impl Column {
    fn new(entity: pg_sys::Oid, history: pg_sys::Oid, collation: pg_sys::Oid) -> Column {
        let (of, other) = (Type::of(entity), Type::of(history));
        let length = [of.entry().typlen, other.entry().typlen];
        let kind = if of.is_integer() && other.is_integer() {
            Kind::Integer
        } else if length[0] == -2 || !of.equal_image(collation) {
            Kind::Others(Others {
                of,
                collation,
                last: HashMap::new(),
                before: Vec::new(),
                values: Vec::new(),
                bytes: 0,
            })
        } else if of.entry().typbyval {
            Kind::Word
        } else if (0..=16).contains(&length[0]) {
            Kind::Short(Ids::default())
        } else {
            Kind::Bytes(Ids::default())
        };
        Column { kind, length }
    }

    /// A value as a word; none if it is none of the values that were added.
    ///
    /// # Safety
    /// `value` is of the type of the column's entities, with ADD, or of its history, without. `context` outlives `self`.
    #[inline]
    unsafe fn word<const ADD: bool>(
        &mut self,
        value: pg_sys::Datum,
        context: pg_sys::MemoryContext,
    ) -> Option<u64> {
        let length = self.length[usize::from(!ADD)];
        let id = match &mut self.kind {
            Kind::Integer => {
                let value = value.value() as i64;
                return Some(match length {
                    2 => i64::from(value as i16),
                    4 => i64::from(value as i32),
                    _ => value,
                } as u64);
            }
            Kind::Word => {
                let unused = 64 - 8 * u32::from(length as u16);
                return Some((value.value() as u64) << unused);
            }
            Kind::Short(ids) => {
                let mut word = [0; 16];
                // SAFETY: passed on to the caller.
                let bytes = unsafe { image(value, length) };
                word[..bytes.len()].copy_from_slice(bytes);
                look::<ADD, _, _>(ids, &u128::from_ne_bytes(word))
            }
            // SAFETY: passed on to the caller.
            Kind::Bytes(ids) => look::<ADD, _, _>(ids, unsafe { image(value, length) }),
            // SAFETY: passed on to the caller.
            Kind::Others(others) => unsafe { others.look::<ADD>(value, context) },
        };
        id.map(u64::from)
    }

    fn bytes(&self) -> usize {
        match &self.kind {
            Kind::Integer | Kind::Word => 0,
            Kind::Short(ids) => ids.bytes(),
            Kind::Bytes(ids) => ids.bytes(),
            Kind::Others(others) => others.bytes,
        }
    }
}

/// One column of keys as it is declared.
#[derive(Clone, Copy)]
pub struct Declared {
    /// Type of entities.
    pub entity: pg_sys::Oid,
    /// Type of history.
    pub history: pg_sys::Oid,
    /// Collation of both.
    pub collation: pg_sys::Oid,
}

/// The keys of the entities.
pub struct Keys {
    columns: Vec<Column>,
    /// Numbers for the keys, and for what is in front of each column but the first: each is a word of a column, behind the
    /// number of what is in front of it.
    pairs: Vec<Ids<u128>>,
    /// Where copies of values are.
    context: pg_sys::MemoryContext,
}

impl Keys {
    /// No keys yet. What types' functions need is kept in `context`, which outlives the keys.
    pub fn new(declared: &[Declared], context: pg_sys::MemoryContext) -> Keys {
        let columns = declared.iter().map(|d| Column::new(d.entity, d.history, d.collation));
        Keys {
            columns: columns.collect(),
            pairs: declared.iter().map(|_| Ids::default()).collect(),
            context,
        }
    }

    /// Does comparing allocate in the current memory context?
    pub fn allocates(&self) -> bool {
        self.columns.iter().any(|column| !matches!(column.kind, Kind::Integer | Kind::Word))
    }

    /// Memory in use, about.
    pub fn bytes(&self) -> usize {
        self.pairs.iter().map(Ids::bytes).sum::<usize>()
            + self.columns.iter().map(Column::bytes).sum::<usize>()
    }

    /// The number of an entity's key.
    ///
    /// # Safety
    /// `value(n)` is of the type that column n has in entities.
    pub unsafe fn number(&mut self, value: impl Fn(usize) -> pg_sys::Datum) -> Option<u32> {
        // SAFETY: passed on to the caller.
        let pair = unsafe { self.pair::<true>(value) }?;
        self.pairs.last_mut().map(|ids| ids.number(&pair))
    }

    /// The numbers of keys as [`Keys::pair`] gives them.
    pub fn ids(&self) -> &Ids<u128> {
        &self.pairs[self.pairs.len() - 1]
    }

    /// What a key's number is looked up by: of an entity, with ADD, or of a row of history, without; none if no entity has
    /// a part of it.
    ///
    /// # Safety
    /// `value(n)` is of the declared type of column n.
    #[inline]
    pub unsafe fn pair<const ADD: bool>(
        &mut self,
        value: impl Fn(usize) -> pg_sys::Datum,
    ) -> Option<u128> {
        let mut pair = 0;
        for (n, column) in self.columns.iter_mut().enumerate() {
            // SAFETY: passed on to the caller.
            let word = unsafe { column.word::<ADD>(value(n), self.context) }?;
            let front = if n == 0 { 0 } else { look::<ADD, _, _>(&mut self.pairs[n - 1], &pair)? };
            pair = u128::from(front) << 64 | u128::from(word);
        }
        Some(pair)
    }
}
