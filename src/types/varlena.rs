//! Variable-length values: read in place where they are plain, built in the memory of the caller.

use std::ptr::NonNull;

use pgrx::pg_sys;
use pgrx::varlena::{set_varsize_4b, varatt_is_4b_u, varsize_4b};

/// Bytes of the length word in front of every value.
pub const HEADER_BYTES: usize = 4;

/// A value with a plain four-byte header. Compressed, short and toasted ones are copied, plain ones
/// stay where they are.
pub struct Varlena {
    start: NonNull<u8>,
    bytes: usize,
    copied: bool,
}

impl Varlena {
    /// The value behind `datum`.
    ///
    /// # Safety
    /// `datum` points to a valid varlena, which outlives the result.
    #[inline]
    pub unsafe fn new(datum: pg_sys::Datum) -> Varlena {
        let given = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller passes a valid varlena; detoasting gives one with a four-byte header.
        unsafe {
            let plain = if varatt_is_4b_u(given) { given } else { pg_sys::pg_detoast_datum(given) };
            Varlena {
                start: NonNull::new_unchecked(plain.cast()),
                bytes: varsize_4b(plain),
                copied: plain != given,
            }
        }
    }

    /// The whole value, header included.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: PostgreSQL keeps as many bytes behind the pointer as the header says.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    /// The value for writing.
    ///
    /// # Safety
    /// Nobody else may see the change: the value is a copy, or the state of the running aggregate.
    pub unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the caller vouches that the value is ours to change.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }

    /// Hands the value back to PostgreSQL as it is.
    pub fn into_datum(self) -> pg_sys::Datum {
        let start = self.start.as_ptr();
        std::mem::forget(self);
        pg_sys::Datum::from(start)
    }
}

impl Drop for Varlena {
    #[inline]
    fn drop(&mut self) {
        // While unwinding, the memory context is about to be reset anyway. Touch nothing.
        if self.copied && !std::thread::panicking() {
            // SAFETY: `new` got this memory from detoasting, and nobody else knows of it.
            unsafe { pg_sys::pfree(self.start.as_ptr().cast()) }
        }
    }
}

/// A value under construction, zeroed, with its header set. Dropped, it stays in its memory context.
pub struct Built {
    start: NonNull<u8>,
    bytes: usize,
}

impl Built {
    /// Allocates `body_bytes` behind the header, in the current memory context.
    pub fn new(body_bytes: usize) -> Built {
        let bytes = HEADER_BYTES + body_bytes;
        // SAFETY: palloc0 gives as many bytes as asked for, aligned for any type, or raises.
        unsafe {
            let start = pg_sys::palloc0(bytes);
            set_varsize_4b(start.cast(), i32::try_from(bytes).expect("value under 1 GB"));
            Built { start: NonNull::new_unchecked(start.cast()), bytes }
        }
    }

    /// What comes after the header.
    pub fn body(&mut self) -> &mut [u8] {
        // SAFETY: `new` allocated and zeroed these bytes, and this is the only pointer to them.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.start.as_ptr().add(HEADER_BYTES),
                self.bytes - HEADER_BYTES,
            )
        }
    }

    /// Hands the value to PostgreSQL.
    pub fn into_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.start.as_ptr())
    }
}
