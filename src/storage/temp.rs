//! Temporary files of the server's, for what a build puts aside.

use std::ffi::c_void;
use std::io::{Read, Write};

use pgrx::pg_sys;
use pgrx::prelude::*;

/// A temporary file. It goes with the transaction, whatever happens.
pub struct TempFile {
    file: *mut pg_sys::BufFile,
    written: u64,
    /// Where the file stands; writing goes on at the end.
    at: u64,
}

impl Default for TempFile {
    fn default() -> TempFile {
        // SAFETY: in a transaction; the file is closed here or by the end of the transaction.
        TempFile { file: unsafe { pg_sys::BufFileCreateTemp(false) }, written: 0, at: 0 }
    }
}

impl TempFile {
    fn seek(&mut self, at: u64) {
        if self.at == at {
            return;
        }
        // SAFETY: the file is open. 0 is SEEK_SET; the offset may lie beyond the first segment.
        if unsafe { pg_sys::BufFileSeek(self.file, 0, at as pg_sys::off_t, 0) } != 0 {
            damaged(at);
        }
        self.at = at;
    }

    /// Bytes that were written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes to the end.
    pub fn append(&mut self, bytes: &[u8]) {
        self.seek(self.written);
        // SAFETY: the file is open; the server reads from the bytes only.
        unsafe {
            let bytes_of: *mut c_void = bytes.as_ptr().cast_mut().cast();
            pg_sys::BufFileWrite(self.file, bytes_of, bytes.len());
        }
        self.written += bytes.len() as u64;
        self.at = self.written;
    }

    /// Reads what was written at `at`.
    pub fn read_at(&mut self, at: u64, out: &mut [u8]) {
        self.seek(at);
        // SAFETY: the file is open, and `out` is as long as it says.
        let read = unsafe { pg_sys::BufFileRead(self.file, out.as_mut_ptr().cast(), out.len()) };
        if read != out.len() {
            damaged(at);
        }
        self.at += read as u64;
    }

    /// To read from the start.
    pub fn into_reader(self) -> impl Read {
        Reader { file: self, at: 0 }
    }
}

/// Appends. Errors are the server's own.
impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Reader {
    file: TempFile,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.file.written - self.at).unwrap_or(usize::MAX);
        let len = out.len().min(left);
        self.file.read_at(self.at, &mut out[..len]);
        self.at += len as u64;
        Ok(len)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: opened in `default`, and owned by this.
        unsafe { pg_sys::BufFileClose(self.file) }
    }
}

#[cold]
fn damaged(at: u64) -> ! {
    ereport!(
        ERROR,
        PgSqlErrorCode::ERRCODE_IO_ERROR,
        format!("a temporary file of an index build cannot be read at byte {at}")
    );
}
