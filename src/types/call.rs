//! Rust functions as SQL functions, in PostgreSQL's version-1 calling convention.
//!
//! Distances run once per row, so nothing stands between the server and the function but one guard
//! against panics: arguments are read in place and results returned by value.

use std::ops::{Deref, DerefMut};

use leanstack_core::Error;
use pgrx::{PgMemoryContexts, pg_sys};

use crate::error::raise;

/// An argument of a SQL function.
pub trait Arg: Sized {
    /// Reads argument `n`.
    ///
    /// # Safety
    /// `call` is valid, and its argument `n` is not NULL and of the SQL type that `Self` stands for.
    /// SQL declares the functions STRICT and with the right types. `Self` does not outlive the call.
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error>;
}

/// A result of a SQL function.
pub trait Ret {
    /// The datum, or None for NULL.
    fn give(self) -> Option<pg_sys::Datum>;
}

/// The datum of argument `n`.
///
/// # Safety
/// `call` is valid and has more than `n` arguments.
#[inline]
pub unsafe fn datum(call: pg_sys::FunctionCallInfo, n: usize) -> pg_sys::Datum {
    // SAFETY: the arguments lie one after the other, and the caller counts them.
    unsafe { (*(*call).args.as_ptr().add(n)).value }
}

impl Arg for i32 {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: passed on to the caller.
        Ok(unsafe { datum(call, n) }.value() as i32)
    }
}

impl Arg for f32 {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: passed on to the caller.
        Ok(f32::from_bits(unsafe { datum(call, n) }.value() as u32))
    }
}

impl Arg for bool {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: passed on to the caller.
        Ok(unsafe { datum(call, n) }.value() & 0xff != 0)
    }
}

impl Arg for pg_sys::Oid {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, n: usize) -> Result<Self, Error> {
        // SAFETY: passed on to the caller.
        Ok(pg_sys::Oid::from(unsafe { datum(call, n) }.value() as u32))
    }
}

impl Ret for f64 {
    #[inline]
    fn give(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.to_bits()))
    }
}

impl Ret for f32 {
    fn give(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self.to_bits()))
    }
}

impl Ret for i32 {
    #[inline]
    fn give(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self))
    }
}

impl Ret for bool {
    #[inline]
    fn give(self) -> Option<pg_sys::Datum> {
        Some(pg_sys::Datum::from(self))
    }
}

impl<T: Ret> Ret for Option<T> {
    fn give(self) -> Option<pg_sys::Datum> {
        self.and_then(T::give)
    }
}

/// What a function keeps from one call to the next of the same expression; nothing at first. It takes the place of
/// an argument, after the last one that SQL declares, and one function keeps one type.
pub struct Kept<T: 'static>(&'static mut Option<T>);

impl<T> Arg for Kept<T> {
    unsafe fn fetch(call: pg_sys::FunctionCallInfo, _n: usize) -> Result<Self, Error> {
        // SAFETY: the server keeps the record of the function, and what lives in its memory context, for as long as
        // the expression; the slot belongs to the function, which is not called again before it returns.
        unsafe {
            let function = &mut *(*call).flinfo;
            if function.fn_extra.is_null() {
                let mut context = PgMemoryContexts::For(function.fn_mcxt);
                function.fn_extra = context.leak_and_drop_on_delete(None::<T>).cast();
            }
            Ok(Kept(&mut *function.fn_extra.cast()))
        }
    }
}

impl<T> Deref for Kept<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        self.0
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut Option<T> {
        self.0
    }
}

/// A function that SQL can call: its arguments are `Arg`s, its result is a `Ret`.
pub trait SqlFunction<Args> {
    /// Reads the arguments and calls.
    ///
    /// # Safety
    /// The contract of [`Arg::fetch`] holds for each argument.
    unsafe fn call(self, call: pg_sys::FunctionCallInfo) -> Result<Option<pg_sys::Datum>, Error>;
}

macro_rules! sql_function {
    ($($arg:ident $n:literal),+) => {
        impl<F, R: Ret, $($arg: Arg),+> SqlFunction<($($arg,)+)> for F
        where
            F: FnOnce($($arg),+) -> Result<R, Error>,
        {
            #[inline]
            unsafe fn call(
                self,
                call: pg_sys::FunctionCallInfo,
            ) -> Result<Option<pg_sys::Datum>, Error> {
                // SAFETY: passed on to the caller.
                unsafe { self($($arg::fetch(call, $n)?),+) }.map(R::give)
            }
        }
    };
}

sql_function!(A 0);
sql_function!(A 0, B 1);
sql_function!(A 0, B 1, C 2);
sql_function!(A 0, B 1, C 2, D 3);

/// What an exported function does: reads its arguments, calls, and raises errors as PostgreSQL's.
///
/// # Safety
/// PostgreSQL calls, with the arguments that SQL declares for this function.
#[inline]
pub unsafe fn enter<Args, F: SqlFunction<Args>>(
    call: pg_sys::FunctionCallInfo,
    function: F,
) -> pg_sys::Datum {
    // SAFETY: the caller vouches for the arguments.
    match unsafe { function.call(call) } {
        Ok(Some(datum)) => datum,
        Ok(None) => {
            // SAFETY: as above; the record of the call is ours until it returns.
            unsafe { (*call).isnull = true };
            pg_sys::Datum::from(0usize)
        }
        Err(error) => raise(error),
    }
}

/// Exports what takes the record of a call and gives a datum, under the names `prefix` + `suffix`, with the records by
/// which PostgreSQL finds out how to call it. Panics become PostgreSQL's errors.
macro_rules! export_calls {
    ($($prefix:literal $suffix:literal = $function:expr;)*) => {$(
        const _: () = {
            #[unsafe(export_name = concat!("pg_finfo_", $prefix, $suffix))]
            extern "C" fn finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
                &pgrx::pg_sys::Pg_finfo_record { api_version: 1 }
            }
            #[unsafe(export_name = concat!($prefix, $suffix))]
            unsafe extern "C-unwind" fn entry(
                call: pgrx::pg_sys::FunctionCallInfo,
            ) -> pgrx::pg_sys::Datum {
                // SAFETY: the outermost Rust frame; PostgreSQL calls, as the install script declares it.
                unsafe { pgrx::pg_sys::panic::pgrx_extern_c_guard(|| ($function)(call)) }
            }
        };
    )*};
}
pub(crate) use export_calls;

/// Exports functions whose arguments are [`Arg`]s and whose result is a [`Ret`], as [`export_calls`] does.
macro_rules! export {
    ($($prefix:literal $suffix:literal = $function:expr;)*) => {
        $crate::types::call::export_calls! {$(
            $prefix $suffix = |call| $crate::types::call::enter(call, $function);
        )*}
    };
}
pub(crate) use export;
