//! The permissions of a container's tmpfs mounts, set by a hook of runc (`createContainer`) before the container's root is
//! entered: a runc before 1.1.9 ignores `mode=` where the image has the directory.

use std::fs::{File, Permissions};
use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use crate::image::Root;

/// Sets the modes that `pairs` names, each an octal number and a path within `root`.
pub fn set_modes(root: &str, pairs: &[&str]) -> Result<()> {
    let root = Root::open(root)?;
    for pair in pairs.chunks_exact(2) {
        let mode = u32::from_str_radix(pair[0], 8).map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
        let directory = File::from(root.resolve(pair[1], libc::O_RDONLY | libc::O_DIRECTORY)?);
        // A later mount may lie on it, which has permissions of its own.
        if is_tmpfs(&directory)? {
            directory.set_permissions(Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

fn is_tmpfs(directory: &File) -> Result<bool> {
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: valid pointers; it is written before it is read.
    unsafe {
        if libc::fstatfs(directory.as_raw_fd(), found.as_mut_ptr()) != 0 {
            return Err(Error::last_os_error());
        }
        Ok(found.assume_init().f_type as i64 == libc::TMPFS_MAGIC as i64)
    }
}
