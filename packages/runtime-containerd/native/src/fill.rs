//! Copies a directory of an image into an empty directory, with owners, modes, times, links and extended attributes.
//!
//! F1 No link in the target is followed: every entry is created by name in a directory that is held open, so a process
//!    that also uses the target can't redirect a copy.
//! F2 The target has a marker while it is filled. A target that still has one was interrupted: it is emptied and filled
//!    anew.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use crate::image::Root;

const MARK: &CStr = c".warren-filling";
/// Greatest depth of a tree, deeper than any image's; each level holds descriptors open.
const MOST_LEVELS: u32 = 256;
const DIRECTORY: i32 = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// Whether the image has a directory there and the target was empty.
pub fn fill(root: &Root, from: &str, to: &str) -> Result<bool> {
    let source = match root.resolve(from, libc::O_RDONLY | libc::O_DIRECTORY) {
        Ok(source) => source,
        // No such path in the image, or a file.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let target = open(libc::AT_FDCWD, &CString::new(to)?, DIRECTORY, 0)?;
    let names = entries(&target)?;
    if names.iter().any(|name| name.as_c_str() == MARK) {
        for name in names.iter().filter(|name| name.as_c_str() != MARK) {
            remove(&target, name, 0)?;
        }
    } else if !names.is_empty() {
        return Ok(false);
    }
    drop(open(target.as_raw_fd(), MARK, libc::O_CREAT | libc::O_WRONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC, 0o600)?);
    copy_entries(&source, &target, 0)?;
    // SAFETY: plain system calls on valid descriptors and strings.
    unsafe {
        // Everything is on disk before the marker is removed.
        check(libc::syncfs(target.as_raw_fd()))?;
        check(libc::unlinkat(target.as_raw_fd(), MARK.as_ptr(), 0))?;
    }
    copy_attributes(&source, &target)?;
    Ok(true)
}

fn copy_entries(source: &OwnedFd, target: &OwnedFd, level: u32) -> Result<()> {
    if level > MOST_LEVELS {
        return Err(Error::from_raw_os_error(libc::ELOOP));
    }
    for name in entries(source)? {
        copy(source, target, &name, level)?;
    }
    Ok(())
}

fn copy(source: &OwnedFd, target: &OwnedFd, name: &CStr, level: u32) -> Result<()> {
    let entry = open(source.as_raw_fd(), name, libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC, 0)?;
    let metadata = File::from(entry.try_clone()?).metadata()?;
    let kind = metadata.file_type();
    let (to, mode) = (target.as_raw_fd(), metadata.mode());
    // SAFETY: plain system calls on valid descriptors and strings.
    unsafe {
        if kind.is_dir() {
            check(libc::mkdirat(to, name.as_ptr(), 0o700))?;
            let from = open(source.as_raw_fd(), name, DIRECTORY, 0)?;
            let made = open(to, name, DIRECTORY, 0)?;
            copy_entries(&from, &made, level + 1)?;
            return copy_attributes(&from, &made);
        }
        if kind.is_file() {
            let read = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let write = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_CLOEXEC;
            let from = open(source.as_raw_fd(), name, read, 0)?;
            let made = open(to, name, write, 0o600)?;
            let (mut reader, mut writer) = (File::from(from.try_clone()?), File::from(made.try_clone()?));
            std::io::copy(&mut reader, &mut writer)?;
            return copy_attributes(&from, &made);
        }
        if kind.is_symlink() {
            let link = CString::new(fs::read_link(by_number(&source_link(source, name)))?.as_os_str().as_bytes())?;
            check(libc::symlinkat(link.as_ptr(), to, name.as_ptr()))?;
        } else if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
            check(libc::mknodat(to, name.as_ptr(), mode, metadata.rdev()))?;
            check(libc::fchmodat(to, name.as_ptr(), mode & 0o7777, 0))?;
        } else {
            return Ok(()); // a socket is of no use without its listener
        }
        check(libc::fchownat(to, name.as_ptr(), metadata.uid(), metadata.gid(), libc::AT_SYMLINK_NOFOLLOW))
    }
}

/// A directory and a name in it, as a path of this process.
fn source_link(directory: &OwnedFd, name: &CStr) -> (RawFd, CString) {
    (directory.as_raw_fd(), name.to_owned())
}

fn by_number((directory, name): &(RawFd, CString)) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{directory}")).join(OsStr::from_bytes(name.to_bytes()))
}

/// The owner is set first, since that clears set-user-id bits and capabilities.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let metadata = File::from(from.try_clone()?).metadata()?;
    let made = to.as_raw_fd();
    let stamp = |seconds, nanos| libc::timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = [stamp(metadata.atime(), metadata.atime_nsec()), stamp(metadata.mtime(), metadata.mtime_nsec())];
    // SAFETY: plain system calls on valid descriptors and pointers.
    unsafe {
        check(libc::fchown(made, metadata.uid(), metadata.gid()))?;
        check(libc::fchmod(made, metadata.mode() & 0o7777))?;
        copy_extended(from, made)?;
        check(libc::futimens(made, times.as_ptr()))
    }
}

/// SAFETY: `to` is a descriptor of ours.
unsafe fn copy_extended(from: &OwnedFd, to: RawFd) -> Result<()> {
    let mut names = vec![0_u8; 64 * 1024];
    let mut value = vec![0_u8; 64 * 1024];
    // SAFETY: the buffers have the given lengths.
    let length = unsafe { libc::flistxattr(from.as_raw_fd(), names.as_mut_ptr().cast(), names.len()) };
    if length < 0 {
        return unsupported(Error::last_os_error());
    }
    for name in names[..length as usize].split(|byte| *byte == 0) {
        // overlayfs's attributes belong to its layers, and SELinux labels to their place.
        if name.is_empty() || name.starts_with(b"trusted.overlay.") || name == b"security.selinux" {
            continue;
        }
        let name = CString::new(name)?;
        // SAFETY: as above.
        unsafe {
            let size = libc::fgetxattr(from.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len());
            if size < 0 || libc::fsetxattr(to, name.as_ptr(), value.as_ptr().cast(), size as usize, 0) < 0 {
                unsupported(Error::last_os_error())?;
            }
        }
    }
    Ok(())
}

/// Ignores the error of a file system without extended attributes.
fn unsupported(error: Error) -> Result<()> {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP | libc::ENODATA | libc::EPERM) => Ok(()),
        _ => Err(error),
    }
}

/// Removes an entry with all below it.
fn remove(directory: &OwnedFd, name: &CStr, level: u32) -> Result<()> {
    if level > MOST_LEVELS {
        return Err(Error::from_raw_os_error(libc::ELOOP));
    }
    // SAFETY: plain system calls on valid descriptors and strings.
    unsafe {
        match check(libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            result => return result,
        }
        let inner = open(directory.as_raw_fd(), name, DIRECTORY, 0)?;
        for name in entries(&inner)? {
            remove(&inner, &name, level + 1)?;
        }
        check(libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR))
    }
}

/// The names in a directory.
fn entries(directory: &OwnedFd) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    // SAFETY: the stream has a descriptor of its own and is closed here; an entry is read before the next.
    unsafe {
        let own = libc::openat(directory.as_raw_fd(), c".".as_ptr(), DIRECTORY);
        if own < 0 {
            return Err(Error::last_os_error());
        }
        let stream = libc::fdopendir(own);
        if stream.is_null() {
            let error = Error::last_os_error();
            libc::close(own);
            return Err(error);
        }
        loop {
            *libc::__errno_location() = 0;
            let entry = libc::readdir(stream);
            if entry.is_null() {
                break;
            }
            let name = CStr::from_ptr((*entry).d_name.as_ptr());
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        let errno = *libc::__errno_location();
        libc::closedir(stream);
        if errno != 0 {
            return Err(Error::from_raw_os_error(errno));
        }
    }
    Ok(names)
}

fn open(directory: RawFd, name: &CStr, flags: i32, mode: libc::mode_t) -> Result<OwnedFd> {
    // SAFETY: a valid string; the descriptor is ours.
    unsafe {
        let fd = libc::openat(directory, name.as_ptr(), flags, mode);
        if fd < 0 { Err(Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

fn check(result: libc::c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("warren-fill-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("image/data/inner")).unwrap();
            fs::create_dir(path.join("volume")).unwrap();
            Self(path)
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.join(path)
        }

        fn fill(&self, from: &str) -> Result<bool> {
            fill(&Root::open(self.at("image").to_str().unwrap())?, from, self.at("volume").to_str().unwrap())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_empty_target_gets_content_modes_links_and_times() {
        let place = Place::new("all");
        fs::write(place.at("image/data/inner/file"), "text").unwrap();
        fs::set_permissions(place.at("image/data/inner/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(place.at("image/data"), fs::Permissions::from_mode(0o1770)).unwrap();
        symlink("inner/file", place.at("image/data/link")).unwrap();
        symlink("/data", place.at("image/elsewhere")).unwrap();
        File::open(place.at("image/data/inner/file")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        // By a link of the image, which is relative to the image's root.
        assert!(place.fill("/elsewhere").unwrap());
        assert_eq!(names(&place.at("volume")), ["inner", "link"]);
        assert_eq!(fs::read_link(place.at("volume/link")).unwrap(), Path::new("inner/file"));
        let metadata = fs::metadata(place.at("volume/inner/file")).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o4750);
        assert_eq!(metadata.mtime(), 0);
        assert_eq!(fs::metadata(place.at("volume")).unwrap().mode() & 0o7777, 0o1770);
    }

    #[test]
    fn a_target_that_has_something_is_left_alone_and_so_is_one_that_nothing_is_for() {
        let place = Place::new("full");
        assert!(!place.fill("/none").unwrap());
        fs::write(place.at("image/file"), "").unwrap();
        assert!(!place.fill("/file").unwrap());
        fs::write(place.at("volume/mine"), "").unwrap();
        assert!(!place.fill("/data").unwrap());
        assert_eq!(names(&place.at("volume")), ["mine"]);
    }

    #[test]
    fn one_that_was_cut_off_begins_anew() {
        let place = Place::new("cut");
        fs::write(place.at("image/data/whole"), "all of it").unwrap();
        fs::create_dir_all(place.at("volume/half/deep")).unwrap();
        fs::write(place.at("volume/whole"), "half").unwrap();
        fs::write(place.at("volume/.warren-filling"), "").unwrap();
        assert!(place.fill("/data").unwrap());
        assert_eq!(names(&place.at("volume")), ["inner", "whole"]);
        assert_eq!(fs::read_to_string(place.at("volume/whole")).unwrap(), "all of it");
    }
}
