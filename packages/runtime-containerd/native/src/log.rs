//! Writes a container's output to numbered files of its directory: `1.log`, `2.log`…, one record per line (`record.rs`).
//!
//! L1 The container is never blocked: output that can't be written (a full disk) is dropped and counted, and the next
//!    record that can be written has the number of missing bytes.
//! L2 A file is complete once the next one exists, so a reader needs no lock.
//! L3 The file `logger`, with our process id, exists for as long as more output may come: until both pipes are closed, or
//!    SIGUSR1 reports that the container has ended. A shim holds its ends of the pipes open, and our process id, for as
//!    long as it knows the container; so this process stays until the shim closes them.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::record::{self, Stamp};

/// Descriptors from the shim: the container's stdout and stderr, and one that is closed to report that we are ready.
const STDOUT: i32 = 3;
const STDERR: i32 = 4;
const READY: i32 = 5;
/// A longer line is written in pieces.
const PIECE_BYTES: usize = 16 * 1024;
/// Bytes of one read. A record is up to 41 bytes longer than its line, so a batch of empty lines takes forty times this.
const READ_BYTES: usize = 16 * 1024;

pub struct Options {
    directory: PathBuf,
    file_bytes: u64,
    files: u64,
    /// With a terminal all output is on the first descriptor, and the second is never closed.
    tty: bool,
}

impl Options {
    pub fn parse(pairs: &[&str]) -> Option<Self> {
        let value = |key: &str| pairs.chunks(2).find(|pair| pair[0] == key).map(|pair| pair[1]);
        Some(Self {
            directory: PathBuf::from(value("directory")?),
            file_bytes: value("file-bytes")?.parse().ok()?,
            files: value("files")?.parse().ok().filter(|n| *n > 0)?,
            tty: value("tty").is_some(),
        })
    }
}

static ASKED_TO_END: AtomicBool = AtomicBool::new(false);
static CONTAINER_ENDED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(number: libc::c_int) {
    let flag = if number == libc::SIGTERM { &ASKED_TO_END } else { &CONTAINER_ENDED };
    flag.store(true, Ordering::Relaxed);
}

/// Installs handlers of both signals. They are blocked except while `ppoll` waits with the returned mask, so none is missed.
fn take_signals() -> libc::sigset_t {
    // SAFETY: plain system calls; the sets are written before they are read.
    unsafe {
        let mut ours: libc::sigset_t = std::mem::zeroed();
        let mut waiting: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut ours);
        for number in [libc::SIGTERM, libc::SIGUSR1] {
            libc::sigaddset(&mut ours, number);
            libc::signal(number, on_signal as *const () as libc::sighandler_t);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &ours, &mut waiting);
        for number in [libc::SIGTERM, libc::SIGUSR1] {
            libc::sigdelset(&mut waiting, number);
        }
        for number in [libc::SIGINT, libc::SIGHUP] {
            libc::signal(number, libc::SIG_IGN);
        }
        waiting
    }
}

pub fn run(options: &Options) -> Result<()> {
    let waiting = take_signals();
    let mut sources = vec![Source::open("stdout", STDOUT)?];
    if !options.tty {
        sources.push(Source::open("stderr", STDERR)?);
    }
    let mut files = Files::open(options);
    // SAFETY: the descriptor is ours and used nowhere else.
    unsafe { libc::close(READY) };
    let mut last = Stamp { seconds: 0, nanos: 0 };
    let mut batch = Vec::new();
    let mut settled = false;
    while !sources.is_empty() {
        let ending = ASKED_TO_END.load(Ordering::Relaxed);
        // A terminal's pipe ends by itself, after the output that the shim still had.
        let settling = !settled && !options.tty && CONTAINER_ENDED.load(Ordering::Relaxed);
        let ready = wait(&sources, &waiting, ending || settling)?;
        let idle = !ready.contains(&true);
        // The wall clock may be set back; times of records never decrease.
        last = last.max(Stamp::now());
        batch.clear();
        for (source, ready) in sources.iter_mut().zip(ready) {
            if ready {
                source.read(&mut batch, last);
            }
            source.open &= !(idle && ending);
            if !source.open || (idle && settling) {
                source.flush(&mut batch, last);
            }
        }
        sources.retain(|source| source.open);
        files.write(&batch, last);
        if idle && settling {
            settled = true;
            files.settle(last);
        }
    }
    files.settle(last);
    Ok(())
}

/// Which sources have data, or have ended. With `at_once` it does not wait.
fn wait(sources: &[Source], mask: &libc::sigset_t, at_once: bool) -> Result<Vec<bool>> {
    let mut polled: Vec<libc::pollfd> = sources
        .iter()
        .map(|source| libc::pollfd { fd: source.file.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let timeout = if at_once { &now as *const _ } else { std::ptr::null() };
    // SAFETY: the pointers live through the call.
    let found = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, timeout, mask) };
    if found < 0 {
        let error = Error::last_os_error();
        return if error.kind() == ErrorKind::Interrupted { Ok(vec![false; sources.len()]) } else { Err(error) };
    }
    Ok(polled.iter().map(|one| one.revents != 0).collect())
}

struct Source {
    name: &'static str,
    file: File,
    open: bool,
    /// Bytes after the last line feed; fewer than a piece.
    rest: Vec<u8>,
}

impl Source {
    fn open(name: &'static str, fd: i32) -> Result<Self> {
        // SAFETY: the shim passed it; nothing else here owns it.
        let file = unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            if flags < 0 || libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) < 0 {
                return Err(Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        Ok(Self { name, file, open: true, rest: Vec::new() })
    }

    /// Reads once, and appends complete lines and pieces.
    fn read(&mut self, out: &mut Vec<u8>, at: Stamp) {
        let mut buffer = [0; READ_BYTES];
        match self.file.read(&mut buffer) {
            Ok(0) => self.open = false,
            Ok(length) => self.take(&buffer[..length], out, at),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.open = false,
        }
    }

    fn take(&mut self, mut data: &[u8], out: &mut Vec<u8>, at: Stamp) {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            self.push(&data[..end], out, at);
            record::append(out, at, self.name, true, &self.rest);
            self.rest.clear();
            data = &data[end + 1..];
        }
        self.push(data, out, at);
    }

    /// Adds to the incomplete line. A piece is written only when more bytes follow it, so that the last piece of a
    /// line is never empty.
    fn push(&mut self, mut data: &[u8], out: &mut Vec<u8>, at: Stamp) {
        while self.rest.len() + data.len() > PIECE_BYTES {
            let (now, later) = data.split_at(PIECE_BYTES - self.rest.len());
            self.rest.extend_from_slice(now);
            record::append(out, at, self.name, false, &self.rest);
            self.rest.clear();
            data = later;
        }
        self.rest.extend_from_slice(data);
    }

    fn flush(&mut self, out: &mut Vec<u8>, at: Stamp) {
        if !self.rest.is_empty() {
            record::append(out, at, self.name, false, &self.rest);
            self.rest.clear();
        }
    }
}

struct Files<'a> {
    options: &'a Options,
    /// Number of the newest file.
    number: u64,
    file: Option<File>,
    bytes: u64,
    /// Bytes that were dropped since the last record that could be written (L1).
    missing: u64,
}

impl<'a> Files<'a> {
    fn open(options: &'a Options) -> Self {
        let mut files = Self { options, number: newest(&options.directory), file: None, bytes: 0, missing: 0 };
        let pid = std::process::id().to_string();
        // L3. Where it can't be written readers assume that the log has ended, which is better than no log.
        let _ = fs::write(options.directory.join("logger"), pid);
        let _ = files.next();
        files
    }

    /// L2: the next file is created once the last one is complete.
    fn next(&mut self) -> Result<()> {
        let path = self.path(self.number + 1);
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        self.number += 1;
        self.file = Some(file);
        self.bytes = 0;
        if self.number > self.options.files {
            let _ = fs::remove_file(self.path(self.number - self.options.files));
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.options.directory.join(format!("{number}.log"))
    }

    /// Writes whole records, and begins a new file after the record that fills one.
    fn write(&mut self, mut records: &[u8], at: Stamp) {
        while !records.is_empty() {
            if self.file.is_none() || self.bytes >= self.options.file_bytes {
                // Without room for a new file the last one is continued.
                let _ = self.next();
            }
            let (now, later) = records.split_at(self.fitting(records));
            self.note_missing(at);
            if self.missing > 0 || self.append(now).is_err() {
                self.missing += now.len() as u64;
            }
            records = later;
        }
    }

    /// Length of the part of `records` for this file: up to the end of the record that fills it.
    fn fitting(&self, records: &[u8]) -> usize {
        let room = self.options.file_bytes.saturating_sub(self.bytes) as usize;
        if room == 0 || records.len() <= room {
            return records.len();
        }
        records[room - 1..].iter().position(|byte| *byte == b'\n').map_or(records.len(), |end| room + end)
    }

    /// L1.
    fn note_missing(&mut self, at: Stamp) {
        if self.missing == 0 {
            return;
        }
        let text = format!("[{} bytes of output are missing here: they could not be written]", self.missing);
        let mut notice = Vec::new();
        record::append(&mut notice, at, "stderr", true, text.as_bytes());
        if self.append(&notice).is_ok() {
            self.missing = 0;
        }
    }

    /// Appends all of `data`, or nothing.
    fn append(&mut self, data: &[u8]) -> Result<()> {
        let Some(file) = self.file.as_mut() else { return Err(Error::from(ErrorKind::NotFound)) };
        if let Err(error) = file.write_all(data) {
            let _ = file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// L3. Removing needs no room on a full disk.
    fn settle(&mut self, at: Stamp) {
        self.note_missing(at);
        let _ = fs::remove_file(self.options.directory.join("logger"));
    }
}

/// The number of the newest file in `directory`; 0 where there is none.
fn newest(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".log")?.parse().ok()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source { name: "stdout", file: File::open("/dev/null").unwrap(), open: true, rest: Vec::new() }
    }

    /// The text after the time stamp of each record.
    fn shown(out: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(out).into_owned();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    const AT: Stamp = Stamp { seconds: 1, nanos: 2 };

    #[test]
    fn lines_are_whole_however_they_are_cut() {
        let mut out = Vec::new();
        let mut source = source();
        for part in ["on", "e\n\ntw", "o", "\nrest"] {
            source.take(part.as_bytes(), &mut out, AT);
        }
        source.flush(&mut out, AT);
        assert_eq!(shown(&out), ["stdout F one", "stdout F ", "stdout F two", "stdout P rest"]);
    }

    #[test]
    fn a_file_takes_records_until_it_is_full_and_only_the_newest_are_kept() {
        let directory = std::env::temp_dir().join(format!("warren-log-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let options = Options { directory: directory.clone(), file_bytes: 100, files: 2, tty: false };
        let mut files = Files::open(&options);
        let mut batch = Vec::new();
        for n in 0..10 {
            record::append(&mut batch, AT, "stdout", true, n.to_string().as_bytes());
        }
        files.write(&batch, AT);
        let read = |n: u64| fs::read_to_string(files.path(n)).unwrap();
        // A record is 41 bytes here: three fill a file.
        assert_eq!((read(3) + &read(4)).lines().count(), 4);
        assert!(!files.path(1).exists() && !files.path(2).exists());
        assert!(read(4).ends_with("stdout F 9\n"));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_long_line_is_kept_in_pieces_of_which_none_is_empty() {
        for (length, pieces) in [(PIECE_BYTES, 1), (PIECE_BYTES + 1, 2), (3 * PIECE_BYTES, 3), (3 * PIECE_BYTES + 5, 4)]
        {
            let mut out = Vec::new();
            source().take(&[&vec![b'x'; length][..], b"\n"].concat(), &mut out, AT);
            let records = shown(&out);
            assert_eq!(records.len(), pieces);
            assert!(records[..pieces - 1].iter().all(|r| r.starts_with("stdout P x")));
            assert!(records[pieces - 1].starts_with("stdout F x"));
            assert_eq!(records.iter().map(|r| r.len() - "stdout F ".len()).sum::<usize>(), length);
        }
    }
}
