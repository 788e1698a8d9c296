//! The root directory of a container or an image: paths are resolved as its own processes would.

use std::ffi::CString;
use std::fs::File;
use std::io::{Error, Read, Result};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr;

pub struct Root {
    directory: OwnedFd,
}

impl Root {
    /// The root at a path of the machine, such as `/proc/PID/root`.
    pub fn open(path: &str) -> Result<Self> {
        let path = CString::new(path)?;
        // SAFETY: a valid string; the descriptor is ours.
        unsafe { owned(libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)) }
            .map(|directory| Self { directory })
    }

    /// The union of an image's layers, the upper one first, mounted in a mount namespace of this thread.
    ///
    /// `scratch` is the mount point; threads may share it, since each has a mount namespace of its own.
    pub fn of_layers(scratch: &str, layers: &[&str]) -> Result<Self> {
        match layers {
            [] => Err(Error::from_raw_os_error(libc::EINVAL)),
            // overlayfs needs at least two.
            [only] => Self::open(only),
            _ => {
                let target = CString::new(scratch)?;
                let options = CString::new(format!("lowerdir={}", enter_common(layers)?.join(":")))?;
                // SAFETY: plain system calls on valid strings.
                unsafe {
                    check(libc::unshare(libc::CLONE_NEWNS))?;
                    let private = libc::MS_REC | libc::MS_PRIVATE;
                    check(libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), private, ptr::null()))?;
                    let flags = libc::MS_RDONLY | libc::MS_NODEV | libc::MS_NOSUID | libc::MS_NOEXEC;
                    let overlay = c"overlay".as_ptr();
                    check(libc::mount(overlay, target.as_ptr(), overlay, flags, options.as_ptr().cast()))?;
                }
                Self::open(scratch)
            }
        }
    }

    /// Reads a regular file of at most `most` bytes: EFBIG for a longer one, EINVAL for other kinds.
    pub fn read(&self, path: &str, most: u64) -> Result<Vec<u8>> {
        // Without O_NONBLOCK opening a named pipe would block.
        let mut file = File::from(self.resolve(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)?);
        if !file.metadata()?.is_file() {
            return Err(Error::from_raw_os_error(libc::EINVAL));
        }
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most { Err(Error::from_raw_os_error(libc::EFBIG)) } else { Ok(bytes) }
    }

    /// Opens a path as a process with this root would.
    pub fn resolve(&self, path: &str, flags: i32) -> Result<OwnedFd> {
        let path = CString::new(path)?;
        // SAFETY: a plain system call on valid pointers; the descriptor is ours.
        unsafe {
            let mut how: libc::open_how = zeroed();
            how.flags = (flags | libc::O_CLOEXEC) as u64;
            how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
            let size = size_of::<libc::open_how>();
            let fd = libc::syscall(libc::SYS_openat2, self.directory.as_raw_fd(), path.as_ptr(), &how, size);
            owned(fd as i32)
        }
    }
}

/// Enters the common parent directory and returns the layers relative to it, since mount options are limited to one page.
fn enter_common<'a>(layers: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut common = Path::new(layers[0]).parent();
    while let Some(directory) = common {
        if layers.iter().all(|layer| Path::new(layer).starts_with(directory) && Path::new(layer) != directory) {
            break;
        }
        common = directory.parent();
    }
    let directory = common.unwrap_or(Path::new("/"));
    // SAFETY: plain system calls. The thread first unshares the working directory.
    unsafe { check(libc::unshare(libc::CLONE_FS))? };
    std::env::set_current_dir(directory)?;
    Ok(layers.iter().map(|layer| layer[directory.as_os_str().len()..].trim_start_matches('/')).collect())
}

fn check(result: libc::c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// SAFETY: `fd` has no other owner, or is negative.
unsafe fn owned(fd: i32) -> Result<OwnedFd> {
    if fd < 0 { Err(Error::last_os_error()) } else { Ok(unsafe { OwnedFd::from_raw_fd(fd) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn place(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("warren-image-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_path_is_resolved_within_the_root_through_any_links() {
        let root = place("links");
        fs::create_dir_all(root.join("usr/etc")).unwrap();
        fs::write(root.join("usr/etc/passwd"), "inside").unwrap();
        symlink("/usr/etc", root.join("etc")).unwrap();
        symlink("../../../../../../../usr/etc/passwd", root.join("usr/up")).unwrap();
        symlink("/loop", root.join("loop")).unwrap();
        let open = Root::open(root.to_str().unwrap()).unwrap();
        assert_eq!(open.read("etc/passwd", 100).unwrap(), b"inside");
        assert_eq!(open.read("/usr/up", 100).unwrap(), b"inside");
        assert_eq!(open.read("loop", 100).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(open.read("none", 100).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_regular_files_are_read_and_only_so_much() {
        let root = place("kinds");
        fs::write(root.join("long"), [b'x'; 11]).unwrap();
        fs::create_dir(root.join("directory")).unwrap();
        let pipe = CString::new(root.join("pipe").to_str().unwrap()).unwrap();
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        let open = Root::open(root.to_str().unwrap()).unwrap();
        assert_eq!(open.read("long", 11).unwrap().len(), 11);
        assert_eq!(open.read("long", 10).unwrap_err().raw_os_error(), Some(libc::EFBIG));
        for name in ["pipe", "directory"] {
            assert_eq!(open.read(name, 10).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn layers_are_named_from_the_directory_that_all_are_below() {
        let root = place("common");
        for name in ["a/1/fs", "a/2/fs", "b/3/fs"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let path = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let [one, two, three] = [path("a/1/fs"), path("a/2/fs"), path("b/3/fs")];
        // Threads of their own, as they move to another directory.
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(enter_common(&[&one, &two]).unwrap(), ["1/fs", "2/fs"]));
            scope.spawn(|| assert_eq!(enter_common(&[&one, &three]).unwrap(), ["a/1/fs", "b/3/fs"]));
            scope.spawn(|| assert_eq!(enter_common(&["/x", "/y"]).unwrap(), ["x", "y"]));
        });
        fs::remove_dir_all(root).unwrap();
    }
}
