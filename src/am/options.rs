//! Storage parameters of indexes (`WITH (…)`), as each access method declares and parses its own.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Makes an integer parameter known.
///
/// # Safety
/// Called from `_PG_init`.
pub unsafe fn add_int(
    kind: pg_sys::relopt_kind::Type,
    name: &'static CStr,
    text: &'static CStr,
    default: i32,
    range: std::ops::RangeInclusive<i32>,
) {
    let lock = pg_sys::AccessExclusiveLock as i32;
    // SAFETY: as the caller promises; the texts live for ever.
    unsafe {
        pg_sys::add_int_reloption(
            kind,
            name.as_ptr(),
            text.as_ptr(),
            default,
            *range.start(),
            *range.end(),
            lock,
        );
    }
}

/// Makes a parameter with a fraction known.
///
/// # Safety
/// Called from `_PG_init`.
pub unsafe fn add_real(
    kind: pg_sys::relopt_kind::Type,
    name: &'static CStr,
    text: &'static CStr,
    default: f64,
    range: std::ops::RangeInclusive<f64>,
) {
    let lock = pg_sys::AccessExclusiveLock as i32;
    // SAFETY: as the caller promises; the texts live for ever.
    unsafe {
        pg_sys::add_real_reloption(
            kind,
            name.as_ptr(),
            text.as_ptr(),
            default,
            *range.start(),
            *range.end(),
            lock,
        );
    }
}

/// Makes a parameter with a text known, which is unset by default. `validate` raises an error for a text that will not do.
///
/// # Safety
/// Called from `_PG_init`.
pub unsafe fn add_text(
    kind: pg_sys::relopt_kind::Type,
    name: &'static CStr,
    text: &'static CStr,
    validate: pg_sys::validate_string_relopt,
) {
    let lock = pg_sys::AccessExclusiveLock as i32;
    // SAFETY: as the caller promises; the texts live for ever.
    unsafe {
        let unset = std::ptr::null();
        pg_sys::add_string_reloption(kind, name.as_ptr(), text.as_ptr(), unset, validate, lock);
    }
}

/// Makes a parameter with named values known. `detail` tells the user what they are.
///
/// # Safety
/// Called from `_PG_init`.
pub unsafe fn add_enum(
    kind: pg_sys::relopt_kind::Type,
    name: &'static CStr,
    text: &'static CStr,
    members: &[(&'static CStr, i32)],
    default: i32,
    detail: &'static CStr,
) {
    let end = pg_sys::relopt_enum_elt_def { string_val: std::ptr::null(), symbol_val: 0 };
    let members = members.iter().map(|(name, value)| pg_sys::relopt_enum_elt_def {
        string_val: name.as_ptr(),
        symbol_val: *value,
    });
    let members: Vec<_> = members.chain([end]).collect();
    let lock = pg_sys::AccessExclusiveLock as i32;
    // SAFETY: as the caller promises; the texts and the leaked members live for ever.
    unsafe {
        pg_sys::add_enum_reloption(
            kind,
            name.as_ptr(),
            text.as_ptr(),
            members.leak().as_mut_ptr(),
            default,
            detail.as_ptr(),
            lock,
        );
    }
}

/// Where [`parse`] puts an integer parameter.
pub fn int(name: &'static CStr, offset: usize) -> pg_sys::relopt_parse_elt {
    entry(name, pg_sys::relopt_type::RELOPT_TYPE_INT, offset)
}

/// Where [`parse`] puts a parameter with named values.
pub fn choice(name: &'static CStr, offset: usize) -> pg_sys::relopt_parse_elt {
    entry(name, pg_sys::relopt_type::RELOPT_TYPE_ENUM, offset)
}

/// Where [`parse`] puts a parameter with a fraction.
pub fn real(name: &'static CStr, offset: usize) -> pg_sys::relopt_parse_elt {
    entry(name, pg_sys::relopt_type::RELOPT_TYPE_REAL, offset)
}

/// Where [`parse`] puts where a text lies, for [`text_at`].
pub fn text(name: &'static CStr, offset: usize) -> pg_sys::relopt_parse_elt {
    entry(name, pg_sys::relopt_type::RELOPT_TYPE_STRING, offset)
}

fn entry(
    name: &'static CStr,
    kind: pg_sys::relopt_type::Type,
    offset: usize,
) -> pg_sys::relopt_parse_elt {
    // The struct has one more field on 18.
    #[allow(clippy::needless_update)]
    pg_sys::relopt_parse_elt {
        optname: name.as_ptr(),
        opttype: kind,
        offset: offset as i32,
        ..Default::default()
    }
}

/// Parses parameters into a `T`, which begins with the length word of a varlena.
///
/// # Safety
/// Called from `amoptions` with its arguments; `kind` was registered, and the offsets of `entries` are of `i32` fields
/// of `T`, or `f64` ones for fractions, and `T` is `repr(C)`.
pub unsafe fn parse<T>(
    reloptions: pg_sys::Datum,
    validate: bool,
    kind: pg_sys::relopt_kind::Type,
    entries: &[pg_sys::relopt_parse_elt],
) -> *mut pg_sys::bytea {
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::build_reloptions(
            reloptions,
            validate,
            kind,
            size_of::<T>(),
            entries.as_ptr(),
            entries.len() as i32,
        )
        .cast()
    }
}

/// The parsed parameters of an index, if it has any.
///
/// # Safety
/// `relation` is an open index whose `amoptions` makes a `T`; the result is not used once it is closed.
pub unsafe fn parsed<'r, T>(relation: pg_sys::Relation) -> Option<&'r T> {
    // SAFETY: as the caller promises.
    unsafe { (*relation).rd_options.cast::<T>().as_ref() }
}

/// The text of a parameter that [`parse`] put at `place`; nothing if it is unset.
///
/// # Safety
/// `options` is what [`parse`] made, and `place` the value of a field for a text.
pub unsafe fn text_at<T>(options: &T, place: i32) -> Option<&CStr> {
    // SAFETY: as the caller promises: the server put the text at so many bytes behind the start of the struct.
    (place != 0).then(|| unsafe {
        CStr::from_ptr(std::ptr::from_ref(options).cast::<i8>().add(place as usize).cast())
    })
}
