//! Network namespaces: entered on a thread of their own, and kept by a bind mount.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::socket::while_kernel_is_free;

/// Magic number of the file system that namespaces live in (`NSFS_MAGIC`).
const NSFS_MAGIC: i64 = 0x6e73_6673;

fn check(result: libc::c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

fn c_path(path: &str) -> Result<CString> {
    CString::new(path).map_err(|_| Error::from(ErrorKind::InvalidInput))
}

/// Runs `work` in the namespace at `path`, or in the caller's without a path.
///
/// A thread is in one namespace at a time, and those of a pool are shared. So a new thread enters the namespace and ends
/// with the work, and no thread ever has to return to its old namespace.
pub fn inside<T: Send>(path: Option<&str>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let Some(path) = path else { return work() };
    let namespace = File::open(path)?;
    on_own_thread(move || {
        // SAFETY: a plain system call on an open descriptor.
        check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })?;
        work()
    })
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("warren-netns".into())
            .spawn_scoped(scope, work)?
            .join()
            .map_err(|_| Error::other("the thread in the namespace panicked"))?
    })
}

/// Whether `path` is a namespace and not, say, the empty file that a bind mount left.
pub fn is_namespace(path: &str) -> Result<bool> {
    let c = c_path(path)?;
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    match check(unsafe { libc::statfs(c.as_ptr(), &mut stat) }) {
        Ok(()) => Ok(stat.f_type as i64 == NSFS_MAGIC),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates a namespace that lives as long as the mount at `path`. The folder must exist.
pub fn create(path: &str) -> Result<()> {
    if is_namespace(path)? {
        return Err(Error::from_raw_os_error(libc::EEXIST));
    }
    // An empty file of an attempt that was interrupted is reused.
    OpenOptions::new().create(true).append(true).open(path)?;
    let target = c_path(path)?;
    on_own_thread(move || {
        // SAFETY: plain system calls; the strings outlive them.
        unsafe {
            check(libc::unshare(libc::CLONE_NEWNET))?;
            check(libc::mount(
                c"/proc/thread-self/ns/net".as_ptr(),
                target.as_ptr(),
                std::ptr::null(),
                libc::MS_BIND,
                std::ptr::null(),
            ))
        }
    })
}

/// Unmounts and removes; a path that does not exist is no error.
pub fn delete(path: &str) -> Result<()> {
    let c = c_path(path)?;
    while is_namespace(path)? {
        // SAFETY: a plain system call.
        check(unsafe { libc::umount2(c.as_ptr(), libc::MNT_DETACH) })?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Paths of the namespaces in a folder; none if there is no folder.
pub fn list(folder: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        if let Some(path) = entry?.path().to_str()
            && is_namespace(path)?
        {
            paths.push(path.to_owned());
        }
    }
    paths.sort();
    Ok(paths)
}

fn sysctl_file(name: &str) -> Result<std::path::PathBuf> {
    // The parts of a name are separated by slashes, since an interface's name may have dots.
    if name.split('/').any(|part| part.is_empty() || part == "..") || !name.starts_with("net/") {
        return Err(Error::new(ErrorKind::InvalidInput, format!("not a sysctl of the network: {name}")));
    }
    Ok(Path::new("/proc/sys").join(name))
}

pub fn read_sysctl(netns: Option<&str>, name: &str) -> Result<String> {
    let file = sysctl_file(name)?;
    inside(netns, move || Ok(fs::read_to_string(file)?.trim_end().to_owned()))
}

/// Sysctls whose change needs RTNL (see `socket.rs`), whichever interface's they are.
fn needs_rtnl(name: &str) -> bool {
    matches!(name.rsplit('/').next(), Some("disable_ipv6" | "forwarding" | "ip_forward"))
}

/// Writes a value of this thread's namespace if it differs from the present one.
pub fn write_sysctl(name: &str, value: &str) -> Result<()> {
    let file = sysctl_file(name)?;
    if fs::read_to_string(&file)?.trim_end() == value {
        return Ok(());
    }
    if needs_rtnl(name) { while_kernel_is_free(|| fs::write(file, value)) } else { fs::write(file, value) }
}

/// Writes each value that differs from the present one, in order.
pub fn write_sysctls(netns: Option<&str>, values: &[(String, String)]) -> Result<()> {
    inside(netns, move || values.iter().try_for_each(|(name, value)| write_sysctl(name, value)))
}
