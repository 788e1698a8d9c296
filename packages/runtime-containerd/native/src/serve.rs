//! Operations that the worker's own process can't do or that would block it: one process per worker, so that no process has
//! to be started for each task. It ends when its input ends.
//!
//! A request is a frame: its length (u32, little endian), then a number (u32) and words with a NUL between them. The
//! response is a frame too, in any order: length, the request's number, an errno (0: success), and the result or an error
//! text.
//!
//! S1 Each request has a thread of its own, so that a namespace or directory that it enters ends with it.
//! S2 Paths of a container or an image are resolved within its root by the kernel (`openat2`), whatever links they have,
//!    even if the container changes them meanwhile.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::{Arc, Mutex};

use crate::{fifo, fill, image, netns};

/// The longest request: an image of 500 layers with long paths.
const MOST_BYTES: u32 = 256 * 1024;
const STACK_BYTES: usize = 1024 * 1024;

pub fn run() -> Result<()> {
    for number in [libc::SIGINT, libc::SIGHUP, libc::SIGTERM] {
        // SAFETY: a plain system call. The worker ends us by closing our input.
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
    let output = Arc::new(Mutex::new(std::io::stdout()));
    let mut input = std::io::stdin().lock();
    while let Some(request) = read_frame(&mut input)? {
        let output = Arc::clone(&output);
        let work = move || {
            let (number, words) = request.split_at(4);
            let answer = match text(words) {
                Ok(words) => perform(&words),
                Err(error) => Err(error),
            };
            // A worker that has ended reads no response.
            let _ = write_answer(&mut *output.lock().unwrap(), number, answer);
        };
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work)?;
    }
    Ok(())
}

fn text(words: &[u8]) -> Result<Vec<&str>> {
    let all = std::str::from_utf8(words).map_err(|_| Error::from_raw_os_error(libc::EILSEQ))?;
    Ok(all.split('\0').collect())
}

fn perform(words: &[&str]) -> Result<Vec<u8>> {
    match words {
        ["netns-create", path] => netns::create(path).map(|()| Vec::new()),
        ["netns-delete", path] => netns::delete(path).map(|()| Vec::new()),
        ["fifo", paths @ ..] => fifo::create(paths).map(|()| Vec::new()),
        ["read", root, path, most] => {
            image::Root::open(root)?.read(path, most.parse().map_err(|_| Error::from(ErrorKind::InvalidInput))?)
        }
        ["read-layers", scratch, most, path, layers @ ..] => image::Root::of_layers(scratch, layers)?
            .read(path, most.parse().map_err(|_| Error::from(ErrorKind::InvalidInput))?),
        ["fill", scratch, from, to, layers @ ..] => {
            let filled = fill::fill(&image::Root::of_layers(scratch, layers)?, from, to)?;
            Ok(vec![u8::from(filled)])
        }
        _ => Err(Error::from(ErrorKind::InvalidInput)),
    }
}

/// None at the end of the input.
fn read_frame(input: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_le_bytes(length);
    if !(4..=MOST_BYTES).contains(&length) {
        return Err(Error::from(ErrorKind::InvalidData));
    }
    let mut frame = vec![0; length as usize];
    input.read_exact(&mut frame)?;
    Ok(Some(frame))
}

fn write_answer(output: &mut impl Write, number: &[u8], answer: Result<Vec<u8>>) -> Result<()> {
    let (status, payload) = match answer {
        Ok(payload) => (0, payload),
        Err(error) => (error.raw_os_error().unwrap_or(libc::EIO), error.to_string().into_bytes()),
    };
    output.write_all(&(8 + payload.len() as u32).to_le_bytes())?;
    output.write_all(number)?;
    output.write_all(&status.to_le_bytes())?;
    output.write_all(&payload)?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_whole_and_one_that_is_too_long_is_refused() {
        let mut input: &[u8] = b"\x08\0\0\0\x07\0\0\0a\0bc";
        assert_eq!(read_frame(&mut input).unwrap().unwrap(), b"\x07\0\0\0a\0bc");
        assert!(read_frame(&mut input).unwrap().is_none());
        assert!(read_frame(&mut &b"\xff\xff\xff\xff"[..]).is_err());
        assert!(read_frame(&mut &b"\x08\0\0\0\x07"[..]).is_err());
    }

    #[test]
    fn what_is_not_known_is_refused_by_errno() {
        let mut out = Vec::new();
        write_answer(&mut out, &[9, 0, 0, 0], perform(&["read", "/no/such", "etc", "10"])).unwrap();
        assert_eq!(out[4..8], [9, 0, 0, 0]);
        assert_eq!(i32::from_le_bytes(out[8..12].try_into().unwrap()), libc::ENOENT);
        assert!(perform(&["nonsense"]).is_err());
        assert!(text(b"\xff").is_err());
    }
}
