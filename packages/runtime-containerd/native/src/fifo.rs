//! Named pipes, which Node can't create.

use std::ffi::CString;
use std::io::{Error, Result};

pub fn create(paths: &[&str]) -> Result<()> {
    for path in paths {
        let path = CString::new(*path)?;
        // SAFETY: a valid string.
        if unsafe { libc::mkfifo(path.as_ptr(), 0o600) } != 0 {
            return Err(Error::last_os_error());
        }
    }
    Ok(())
}
