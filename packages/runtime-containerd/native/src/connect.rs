//! One TCP connection to a port of a container, over this process's standard streams: a process per connection, which
//! enters the container's network namespace and nothing else of it.
//!
//! The first byte of the output says that it is connected. The end of the input is passed on as the end of that
//! direction; the process ends with what the container sends.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// An accepting program on the same machine takes microseconds; one with a full queue is not waited for much longer.
const CONNECT: Duration = Duration::from_secs(10);
const PIECE_BYTES: usize = 64 * 1024;

pub fn run(netns: &str, port: &str) -> Result<()> {
    let port: u16 = port.parse().map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    let namespace = File::open(netns)?;
    // SAFETY: plain system calls. It ends with the worker, whatever the container does.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        if libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) != 0 {
            return Err(Error::last_os_error());
        }
    }
    let socket = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), CONNECT)?;
    let mut output = std::io::stdout().lock();
    output.write_all(&[1])?;
    output.flush()?;
    let sender = socket.try_clone()?;
    std::thread::Builder::new().spawn(move || {
        let _ = copy(std::io::stdin().lock(), &sender);
        let _ = sender.shutdown(Shutdown::Write);
    })?;
    match copy(&socket, output) {
        // The container reset the connection, or the worker reads no more: an end like another.
        Err(error) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()) => Ok(()),
        result => result,
    }
}

/// Each piece as it comes.
fn copy(mut from: impl Read, mut to: impl Write) -> Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                to.write_all(&piece[..length])?;
                to.flush()?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_passed_on_as_they_are() {
        let mut out = Vec::new();
        let data: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        copy(&data[..], &mut out).unwrap();
        assert_eq!(out, data);
    }

    #[test]
    fn a_port_that_is_none_is_refused() {
        assert_eq!(run("/proc/self/ns/net", "70000").unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
