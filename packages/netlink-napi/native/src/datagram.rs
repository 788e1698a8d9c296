//! One datagram from a namespace to wherever it leads, and its answer.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use napi_derive::napi;

use crate::netns;

/// Until it is sent again: the first may be lost while a neighbour is looked for.
const RESEND: Duration = Duration::from_millis(200);

/// Where a datagram is answered by this call itself.
#[napi(object)]
pub struct Answerer {
    /// Absent: the namespace of this process.
    pub netns: Option<String>,
    pub port: u16,
}

#[napi(object)]
pub struct Datagram {
    pub address: String,
    pub port: u16,
    pub payload: Vec<u8>,
    /// Absent: somebody else answers.
    pub answerer: Option<Answerer>,
    pub timeout_ms: u32,
}

/// Whether the datagram was answered in time. A refusal, by ICMP or of the send itself, is an error.
pub fn exchange(from: Option<&str>, datagram: &Datagram) -> Result<bool> {
    let Datagram { address, port, payload, answerer, timeout_ms } = datagram;
    let to: Ipv4Addr = address.parse().map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    let listener = match answerer {
        Some(Answerer { netns, port }) => Some(bound(netns.as_deref(), *port)?),
        None => None,
    };
    let sender = bound(from, 0)?;
    // Connected, so that a refusal of the way there is heard.
    sender.connect((to, *port))?;
    let end = Instant::now() + Duration::from_millis(u64::from(*timeout_ms));
    let mut buffer = [0_u8; 2_048];
    let mut sent: Option<Instant> = None;
    loop {
        let now = Instant::now();
        if now >= end {
            return Ok(false);
        }
        if sent.is_none_or(|at| now >= at + RESEND) {
            sender.send(payload)?;
            sent = Some(now);
        }
        let next = sent.map_or(end, |at| at + RESEND).min(end);
        wait([Some(&sender), listener.as_ref()], next.saturating_duration_since(Instant::now()))?;
        if let Some(listener) = &listener
            && let Some((length, asker)) = received(listener.recv_from(&mut buffer))?
        {
            listener.send_to(&buffer[..length], asker)?;
        }
        if received(sender.recv(&mut buffer))?.is_some() {
            return Ok(true);
        }
    }
}

/// A socket of the namespace it is made in, whatever thread uses it later.
fn bound(netns: Option<&str>, port: u16) -> Result<UdpSocket> {
    netns::inside(netns, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })
}

fn received<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Until one of them can be read, or `most` has passed.
fn wait(sockets: [Option<&UdpSocket>; 2], most: Duration) -> Result<()> {
    let fd = |socket: Option<&UdpSocket>| libc::pollfd {
        fd: socket.map_or(-1, AsRawFd::as_raw_fd),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut fds = sockets.map(fd);
    let timeout = i32::try_from(most.as_millis()).unwrap_or(i32::MAX).max(1);
    // SAFETY: the array outlives the call, and its length is given.
    if unsafe { libc::poll(fds.as_mut_ptr(), 2, timeout) } >= 0 {
        return Ok(());
    }
    let error = Error::last_os_error();
    if error.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
