//! A netlink socket of one network namespace, with one request at a time.

use std::io::{Error, Result};
use std::sync::Mutex;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols};

use crate::netns;

/// Times that a dump is repeated when the kernel flags that the objects changed during it (`NLM_F_DUMP_INTR`).
const DUMP_ATTEMPTS: usize = 8;

/// Held while this process waits for RTNL, the one lock under which the kernel changes links, addresses and routes of all
/// namespaces. Requests sleep until they have it, but a sysctl that needs it is written in a loop: the kernel restarts
/// that system call until the lock happens to be free. So this process's own threads don't make each other do so.
static RTNL: Mutex<()> = Mutex::new(());

/// Does `work` while no request of this process is under way, and begins when the kernel has done what it was busy with.
pub fn while_kernel_is_free<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let socket = RouteSocket::open(None)?;
    let _turn = RTNL.lock().expect("no holder of the lock panics");
    // A request sleeps until RTNL is free. What it is for does not matter, nor whether it succeeds.
    let mut lo = LinkMessage::default();
    lo.header.index = 1;
    let _ = socket.exchange_in_turn(RouteNetlinkMessage::GetLink(lo), NLM_F_REQUEST | NLM_F_ACK);
    work()
}

/// An rtnetlink socket. Calls come from several threads; the lock makes a request and its answer one step.
///
/// Each request has a sequence number; messages that a failed request left unread have an older one and are skipped.
pub struct RouteSocket(Mutex<(Socket, u32)>);

/// Opens a socket in the namespace at `netns_path`; it stays there, whichever thread uses it later.
pub fn open(protocol: isize, netns_path: Option<&str>) -> Result<Socket> {
    netns::inside(netns_path, move || {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        Ok(socket)
    })
}

impl RouteSocket {
    pub fn open(netns_path: Option<&str>) -> Result<Self> {
        Ok(Self(Mutex::new((open(protocols::NETLINK_ROUTE, netns_path)?, 0))))
    }

    /// Sends a change, and waits for the kernel's acknowledgement.
    pub fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags).map(|_| ())
    }

    /// Requests one object.
    pub fn get(&self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK)
    }

    /// Requests all objects of a kind; repeated while they change during the answer.
    pub fn dump(&self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..DUMP_ATTEMPTS {
            match self.exchange(message.clone(), NLM_F_REQUEST | NLM_F_DUMP) {
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                result => return result,
            }
        }
        Err(Error::from_raw_os_error(libc::EINTR))
    }

    fn exchange(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<RouteNetlinkMessage>> {
        let _turn = RTNL.lock().expect("no holder of the lock panics");
        self.exchange_in_turn(message, flags)
    }

    fn exchange_in_turn(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Vec<RouteNetlinkMessage>> {
        let mut state = self.0.lock().expect("no holder of the lock panics");
        state.1 = state.1.wrapping_add(1);
        let (socket, sequence) = (&state.0, state.1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);

        socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            for raw in messages(&datagram) {
                if sequence_number(raw) != sequence {
                    continue;
                }
                let parsed = NetlinkMessage::<RouteNetlinkMessage>::deserialize(raw).map_err(Error::other)?;
                interrupted |= parsed.header.flags & NLM_F_DUMP_INTR != 0;
                match parsed.payload {
                    NetlinkPayload::Done(_) if interrupted => return Err(Error::from_raw_os_error(libc::EINTR)),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
        }
    }
}

/// The netlink messages of a datagram, each with its header.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        if length < 16 || length > bytes.len() {
            return None;
        }
        let message = &bytes[..length];
        bytes = &bytes[bytes.len().min(length.next_multiple_of(4))..];
        Some(message)
    })
}

fn sequence_number(message: &[u8]) -> u32 {
    u32::from_ne_bytes(message[8..12].try_into().expect("a message has a header of 16 bytes"))
}
