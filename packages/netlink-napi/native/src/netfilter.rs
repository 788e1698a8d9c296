//! Two uses of nfnetlink: ending tracked flows, and notifications of changes to the rules.

use std::collections::HashSet;
use std::io::{Error, ErrorKind, Result};
use std::net::Ipv4Addr;

use napi_derive::napi;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr, protocols};

use crate::socket::{messages, open};

const SUBSYS_CONNTRACK: u16 = 1;
const SUBSYS_NFTABLES: u16 = 10;
const CT_GET: u16 = SUBSYS_CONNTRACK << 8 | 1;
const CT_DELETE: u16 = SUBSYS_CONNTRACK << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const NFT_NEW_CHAIN: u16 = 3;
const NFT_NEW_GENERATION: u16 = 15;
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADER: usize = 16 + 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Group of changes to nftables (`NFNLGRP_NFTABLES`).
pub const GROUP_NFTABLES: u32 = 7;

/// Which flows to end: those that meet every condition that is set.
#[napi(object)]
pub struct FlowFilter {
    /// IP protocol number: 17 is UDP.
    pub protocol: Option<u8>,
    /// An address of either end: the caller's, the destination before translation, or that of the task that answers.
    pub end: Option<String>,
    /// Where the caller sent to, before any translation.
    pub destination: Option<String>,
    pub destination_port: Option<u16>,
    /// Only flows that were sent to an address of this machine.
    pub to_local: Option<bool>,
    /// Only flows of a caller within this subnet (`10.0.0.0/8`).
    pub source_subnet: Option<String>,
    /// Only flows whose answers go to the caller's own address: their source is not translated.
    pub source_kept: Option<bool>,
    /// Only flows that are answered from outside of this subnet.
    pub answered_outside: Option<String>,
    /// Except flows that are answered by one of these addresses.
    pub except_answered_by: Option<Vec<String>>,
    /// Only flows with an end (see `end`) within this subnet that is none of `exceptEnds`.
    pub end_within: Option<String>,
    pub except_ends: Option<Vec<String>>,
}

/// A subnet as its first address and its mask.
#[derive(Clone, Copy)]
struct Subnet(u32, u32);

impl Subnet {
    fn parse(text: &String) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::InvalidInput, format!("not an IPv4 subnet: {text}"));
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let length: u32 = length.parse().ok().filter(|l| *l <= 32).ok_or_else(wrong)?;
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        Ok(Self(u32::from(address) & mask, mask))
    }

    fn holds(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.1 == self.0
    }
}

struct Filter {
    protocol: Option<u8>,
    end: Option<Ipv4Addr>,
    destination: Option<Ipv4Addr>,
    port: Option<u16>,
    to_local: bool,
    source_subnet: Option<Subnet>,
    source_kept: bool,
    answered_outside: Option<Subnet>,
    spared: HashSet<Ipv4Addr>,
    end_within: Option<Subnet>,
    spared_ends: HashSet<Ipv4Addr>,
}

impl Filter {
    fn new(filter: &FlowFilter) -> Result<Self> {
        let parse = |text: &String| {
            text.parse::<Ipv4Addr>()
                .map_err(|_| Error::new(ErrorKind::InvalidInput, format!("not an IPv4 address: {text}")))
        };
        Ok(Self {
            protocol: filter.protocol,
            end: filter.end.as_ref().map(parse).transpose()?,
            destination: filter.destination.as_ref().map(parse).transpose()?,
            port: filter.destination_port,
            to_local: filter.to_local.unwrap_or(false),
            source_subnet: filter.source_subnet.as_ref().map(Subnet::parse).transpose()?,
            source_kept: filter.source_kept.unwrap_or(false),
            answered_outside: filter.answered_outside.as_ref().map(Subnet::parse).transpose()?,
            spared: filter.except_answered_by.iter().flatten().map(parse).collect::<Result<_>>()?,
            end_within: filter.end_within.as_ref().map(Subnet::parse).transpose()?,
            spared_ends: filter.except_ends.iter().flatten().map(parse).collect::<Result<_>>()?,
        })
    }

    fn matches(&self, flow: &Flow, local: &HashSet<Ipv4Addr>) -> bool {
        self.protocol.is_none_or(|p| p == flow.protocol)
            && self.end.is_none_or(|e| flow.ends().contains(&e))
            && self.end_within.is_none_or(|s| flow.ends().iter().any(|e| s.holds(*e) && !self.spared_ends.contains(e)))
            && self.destination.is_none_or(|d| d == flow.destination)
            && self.port.is_none_or(|p| p == flow.destination_port)
            && (!self.to_local || local.contains(&flow.destination))
            && self.source_subnet.is_none_or(|s| s.holds(flow.source))
            && (!self.source_kept || flow.source == flow.answered_to)
            && self.answered_outside.is_none_or(|s| !s.holds(flow.answerer))
            && !self.spared.contains(&flow.answerer)
    }
}

struct Flow {
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    destination_port: u16,
    /// The address that answers, after translation.
    answerer: Ipv4Addr,
    /// The address that answers are sent to, before they are translated back.
    answered_to: Ipv4Addr,
    /// The attributes by which the kernel identifies the flow, as it sent them.
    key: Vec<u8>,
}

impl Flow {
    fn ends(&self) -> [Ipv4Addr; 3] {
        [self.source, self.destination, self.answerer]
    }
}

/// The attributes in `bytes`: type without flags, value, and the whole with header and padding.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8], &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        let (whole, rest) = bytes.split_at(bytes.len().min(length.next_multiple_of(4)));
        bytes = rest;
        Some((kind, value, whole))
    })
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _, _)| *k == kind).map(|(_, value, _)| value)
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

fn parse_flow(body: &[u8]) -> Option<Flow> {
    let original = attribute(body, CTA_TUPLE_ORIG)?;
    let reply = attribute(body, CTA_TUPLE_REPLY)?;
    // In a tuple 1 holds the addresses (1 source, 2 destination), 2 the protocol (1 number, 3 destination port).
    let protocol = attribute(original, 2)?;
    let mut key = Vec::new();
    for (kind, _, whole) in attributes(body) {
        if matches!(kind, CTA_TUPLE_ORIG | CTA_ID | CTA_ZONE) {
            key.extend_from_slice(whole);
        }
    }
    Some(Flow {
        protocol: *attribute(protocol, 1)?.first()?,
        source: ipv4(attribute(attribute(original, 1)?, 1)?)?,
        destination: ipv4(attribute(attribute(original, 1)?, 2)?)?,
        destination_port: attribute(protocol, 3).map_or(0, |p| u16::from_be_bytes([p[0], p[1]])),
        answerer: ipv4(attribute(attribute(reply, 1)?, 1)?)?,
        answered_to: ipv4(attribute(attribute(reply, 1)?, 2)?)?,
        key,
    })
}

fn send(socket: &Socket, kind: u16, flags: u16, body: &[u8]) -> Result<()> {
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([libc::AF_INET as u8, 0, 0, 0]);
    bytes.extend(body);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).map(|_| ())
}

/// Reads messages up to the end of a dump or an acknowledgement, whose code is the result.
fn receive(socket: &Socket, mut each: impl FnMut(&[u8])) -> Result<()> {
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        for message in messages(&datagram) {
            match u16::from_ne_bytes([message[4], message[5]]) {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = message.get(16..20).map_or(0, |c| i32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
                    return if code == 0 { Ok(()) } else { Err(Error::from_raw_os_error(-code)) };
                }
                _ => each(message),
            }
        }
    }
}

/// Ends the IPv4 flows that a filter of any group matches; of each group, how many it matched. However many groups there
/// are, the kernel's table is read once: it goes through all buckets of it, a quarter of a million on a machine of 16 GiB,
/// even if no flow is in them.
pub fn delete_flows(netns: Option<&str>, groups: &[Vec<FlowFilter>], local: Vec<Ipv4Addr>) -> Result<Vec<u32>> {
    let groups = groups
        .iter()
        .map(|filters| filters.iter().map(Filter::new).collect::<Result<Vec<_>>>())
        .collect::<Result<Vec<_>>>()?;
    let local: HashSet<_> = local.into_iter().collect();
    let socket = open(protocols::NETLINK_NETFILTER, netns)?;
    send(&socket, CT_GET, NLM_F_DUMP, &[])?;
    let mut doomed = Vec::new();
    receive(&socket, |message| {
        let Some(flow) = message.get(HEADER..).and_then(parse_flow) else { return };
        let matching = |filters: &Vec<Filter>| filters.iter().any(|f| f.matches(&flow, &local));
        let by: Vec<_> = groups.iter().enumerate().filter(|(_, g)| matching(g)).map(|(at, _)| at).collect();
        if !by.is_empty() {
            doomed.push((flow.key, by));
        }
    })?;
    let mut counts = vec![0; groups.len()];
    for (key, by) in doomed {
        send(&socket, CT_DELETE, NLM_F_ACK, &key)?;
        match receive(&socket, |_| {}) {
            Ok(()) => by.iter().for_each(|at| counts[*at] += 1),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {} // it has ended meanwhile
            Err(error) => return Err(error),
        }
    }
    Ok(counts)
}

/// A table that one transaction touched.
#[napi(object)]
#[derive(Clone, PartialEq)]
pub struct TouchedTable {
    pub name: String,
    /// Chains that the transaction added to it.
    pub new_chains: Vec<String>,
}

/// Collects the messages of a transaction until the kernel's message that ends it.
#[derive(Default)]
pub struct Transaction(Vec<TouchedTable>);

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

impl Transaction {
    /// The tables of the transaction, with its last message; none before.
    pub fn add(&mut self, message: &[u8]) -> Option<Vec<TouchedTable>> {
        let kind = u16::from_ne_bytes([message[4], message[5]]);
        if kind >> 8 != SUBSYS_NFTABLES {
            return None;
        }
        if kind & 0xff == NFT_NEW_GENERATION {
            return Some(std::mem::take(&mut self.0));
        }
        let body = message.get(HEADER..)?;
        // In each message except a generation's, attribute 1 is the table's name; in a chain's, 3 is the chain's.
        let name = text(attribute(body, 1)?);
        let at = self.0.iter().position(|t| t.name == name).unwrap_or_else(|| {
            self.0.push(TouchedTable { name, new_chains: Vec::new() });
            self.0.len() - 1
        });
        if kind & 0xff == NFT_NEW_CHAIN
            && let Some(chain) = attribute(body, 3)
        {
            self.0[at].new_chains.push(text(chain));
        }
        None
    }
}
