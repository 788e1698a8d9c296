//! A thread that receives the kernel's notifications and calls JavaScript with each.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};

use napi::Status;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols};

use crate::netfilter::{GROUP_NFTABLES, TouchedTable, Transaction};
use crate::objects::{Address, Link, Route, to_address, to_link, to_route};
use crate::socket::{messages, open};

/// Receive buffer for notifications, bytes: many times those of a table of 1,000 services.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;

/// A change; one of the last four fields is set, unless `what` is `lost`.
#[napi(object)]
pub struct Notification {
    /// `lost`: notifications were lost, so everything has to be read again.
    #[napi(ts_type = "'new' | 'deleted' | 'lost'")]
    pub what: String,
    pub link: Option<Link>,
    pub address: Option<Address>,
    pub route: Option<Route>,
    pub tables: Option<Vec<TouchedTable>>,
}

fn notification(what: &str) -> Notification {
    Notification { what: what.into(), link: None, address: None, route: None, tables: None }
}

pub type Listener = ThreadsafeFunction<Notification, (), Notification, Status, false, true>;

/// Ends the watch when it is closed or collected.
#[napi]
pub struct Watch {
    stop: Option<File>,
}

#[napi]
impl Watch {
    #[napi]
    pub fn close(&mut self) {
        if let Some(mut stop) = self.stop.take() {
            // An eventfd takes a number of eight bytes, and refuses none until their sum overflows.
            stop.write_all(&1u64.to_ne_bytes()).expect("an eventfd accepts a one");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}

fn groups(names: &[String]) -> Result<(isize, Vec<u32>)> {
    if names == ["rules"] {
        return Ok((protocols::NETLINK_NETFILTER, vec![GROUP_NFTABLES]));
    }
    let mut groups = Vec::new();
    for name in names {
        groups.extend(match name.as_str() {
            "link" => vec![libc::RTNLGRP_LINK],
            "address" => vec![libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR],
            "route" => vec![libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE],
            other => return Err(Error::new(ErrorKind::InvalidInput, format!("not a group of notifications: {other}"))),
        });
    }
    Ok((protocols::NETLINK_ROUTE, groups))
}

/// Subscribes and starts the thread: changes that are made after it returns are notified.
pub fn start(netns: Option<&str>, names: &[String], listener: Listener) -> Result<Watch> {
    let (protocol, groups) = groups(names)?;
    let mut socket = open(protocol, netns)?;
    let size = RECEIVE_BUFFER;
    // SAFETY: the option's value is an int that outlives the call.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const size).cast(),
            size_of::<libc::c_int>() as u32,
        );
    }
    for group in groups {
        socket.add_membership(group)?;
    }
    // SAFETY: a new descriptor, owned by the file from here on.
    let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if event < 0 {
        return Err(Error::last_os_error());
    }
    let stop = unsafe { File::from_raw_fd(event) };
    let stopped = stop.try_clone()?;
    std::thread::Builder::new().name("warren-watch".into()).spawn(move || run(&mut socket, &stopped, &listener))?;
    Ok(Watch { stop: Some(stop) })
}

/// Waits for a message; false when the watch was closed.
fn wait(socket: RawFd, stop: RawFd) -> bool {
    let mut polled = [socket, stop].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: the array outlives the call. An interrupted wait is a wait without result.
    unsafe { libc::poll(polled.as_mut_ptr(), 2, -1) };
    polled[1].revents == 0
}

fn run(socket: &mut Socket, stop: &File, listener: &Listener) {
    let mut transaction = Transaction::default();
    while wait(socket.as_raw_fd(), stop.as_raw_fd()) {
        let mut buffer = Vec::with_capacity(1 << 16);
        let notifications: Vec<Notification> = match socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
            Ok(_) => messages(&buffer).filter_map(|message| read(message, &mut transaction)).collect(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(_) => {
                transaction = Transaction::default();
                vec![notification("lost")]
            }
        };
        for each in notifications {
            listener.call(each, ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

fn read(message: &[u8], transaction: &mut Transaction) -> Option<Notification> {
    let kind = u16::from_ne_bytes([message[4], message[5]]);
    if kind >> 8 != 0 {
        let tables = transaction.add(message)?;
        return Some(Notification { tables: Some(tables), ..notification("new") });
    }
    let Ok(parsed) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) else {
        return Some(notification("lost")); // a message that can't be read counts as lost
    };
    let NetlinkPayload::InnerMessage(inner) = parsed.payload else { return None };
    match inner {
        RouteNetlinkMessage::NewLink(link) => Some(Notification { link: Some(to_link(link)), ..notification("new") }),
        RouteNetlinkMessage::DelLink(link) => {
            Some(Notification { link: Some(to_link(link)), ..notification("deleted") })
        }
        RouteNetlinkMessage::NewAddress(a) => {
            Some(Notification { address: Some(to_address(a)?), ..notification("new") })
        }
        RouteNetlinkMessage::DelAddress(a) => {
            Some(Notification { address: Some(to_address(a)?), ..notification("deleted") })
        }
        RouteNetlinkMessage::NewRoute(route) => {
            Some(Notification { route: Some(to_route(route)?), ..notification("new") })
        }
        RouteNetlinkMessage::DelRoute(route) => {
            Some(Notification { route: Some(to_route(route)?), ..notification("deleted") })
        }
        _ => None,
    }
}
