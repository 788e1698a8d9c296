//! A container's network namespace: kept by a bind mount, without a process in it, with loopback up.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Result};
use std::ptr;

fn check(result: libc::c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

pub fn create(path: &str) -> Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?;
    let target = CString::new(path)?;
    // SAFETY: plain system calls on valid strings. The thread ends right after.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNET))?;
        loopback_up()?;
        check(libc::mount(
            c"/proc/thread-self/ns/net".as_ptr(),
            target.as_ptr(),
            ptr::null(),
            libc::MS_BIND,
            ptr::null(),
        ))
    }
}

/// A path that is not mounted, or does not exist, is no error.
pub fn delete(path: &str) -> Result<()> {
    let target = CString::new(path)?;
    loop {
        // SAFETY: a valid string. Detached: a process that still uses it keeps its own reference.
        match check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) }) {
            Ok(()) => continue, // it may be mounted twice
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) || error.kind() == ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// SAFETY: no requirement for the caller; the request is built here.
unsafe fn loopback_up() -> Result<()> {
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(Error::last_os_error());
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        let result = check(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request));
        libc::close(socket);
        result
    }
}
