//! Links, addresses and routes: JavaScript's objects, and their conversion to and from rtnetlink's messages.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use napi_derive::napi;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netns;
use crate::socket::RouteSocket;

#[napi(object)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// `veth`, `bridge`, …; none for a hardware device or `lo`, which have no kind.
    pub kind: Option<String>,
    pub mtu: u32,
    pub up: bool,
    pub alias: Option<String>,
    /// Index of a veth's other end, in that end's namespace.
    pub peer_index: Option<u32>,
    pub mac: Option<String>,
}

#[napi(object)]
pub struct Address {
    pub link_index: u32,
    /// With its prefix: `10.0.0.1/24`.
    pub address: String,
}

#[napi(object)]
pub struct Route {
    /// `10.0.0.0/8`; a default route is `0.0.0.0/0` or `::/0`.
    pub destination: String,
    pub gateway: Option<String>,
    pub link_index: Option<u32>,
    /// Preferred source address.
    pub source: Option<String>,
    pub metric: Option<u32>,
    /// `unicast`, `unreachable` or `blackhole`; others are not listed.
    #[napi(ts_type = "'unicast' | 'unreachable' | 'blackhole'")]
    pub kind: String,
}

#[napi(object)]
pub struct VethSpec {
    pub name: String,
    pub peer_name: String,
    pub peer_netns: Option<String>,
    pub mtu: Option<u32>,
}

#[napi(object)]
pub struct LinkChange {
    pub up: Option<bool>,
    pub name: Option<String>,
    pub mtu: Option<u32>,
    pub alias: Option<String>,
}

#[napi(object)]
pub struct RouteSpec {
    pub destination: String,
    pub gateway: Option<String>,
    pub link: Option<String>,
    pub source: Option<String>,
    pub metric: Option<u32>,
    #[napi(ts_type = "'unicast' | 'unreachable' | 'blackhole'")]
    pub kind: Option<String>,
}

/// One change of several, of the kind whose fields are set.
#[napi(object)]
pub struct NetworkChange {
    pub veth: Option<VethSpec>,
    pub route: Option<RouteSpec>,
    pub sysctl: Option<String>,
    /// Of the sysctl.
    pub value: Option<String>,
    /// A sysctl that the kernel does not have is no error.
    pub if_present: Option<bool>,
    pub link: Option<String>,
    /// Of the link.
    pub change: Option<LinkChange>,
    /// To be added to the link.
    pub address: Option<String>,
}

/// The change that failed: its place, and the error.
pub type ChangeFailure = (u32, Error);

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidInput, what)
}

/// Reads `10.0.0.0/8`, or an address alone, which is a prefix of its full length.
fn parse_prefix(text: &str) -> Result<(IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().map_err(|_| invalid(format!("not an IP address: {text}")))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => longest,
        Some(l) => l.parse().ok().filter(|l| *l <= longest).ok_or_else(|| invalid(format!("not a prefix: {text}")))?,
    };
    Ok((address, length))
}

fn parse_address(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| invalid(format!("not an IP address: {text}")))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

pub fn to_link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        alias: None,
        peer_index: None,
        mac: None,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::Link(index) => link.peer_index = Some(index),
            LinkAttribute::Address(mac) => {
                link.mac = Some(mac.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":"));
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = Some(kind.to_string());
                    }
                }
            }
            _ => {}
        }
    }
    link
}

pub fn to_address(message: AddressMessage) -> Option<Address> {
    let mut found = None;
    for attribute in message.attributes {
        match attribute {
            // On a point-to-point link `Address` is the other side's; `Local`, where it is present, is ours.
            AddressAttribute::Local(address) => found = Some(address),
            AddressAttribute::Address(address) => found = found.or(Some(address)),
            _ => {}
        }
    }
    Some(Address { link_index: message.header.index, address: format!("{}/{}", found?, message.header.prefix_len) })
}

fn route_ip(address: RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(v4.into()),
        RouteAddress::Inet6(v6) => Some(v6.into()),
        _ => None,
    }
}

/// None for routes outside of the main table and of other kinds.
pub fn to_route(message: RouteMessage) -> Option<Route> {
    let kind = match message.header.kind {
        RouteType::Unicast => "unicast",
        RouteType::Unreachable => "unreachable",
        RouteType::BlackHole => "blackhole",
        _ => return None,
    };
    if message.header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let mut destination = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let (mut gateway, mut link_index, mut source, mut metric) = (None, None, None, None);
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = route_ip(address)?,
            RouteAttribute::Gateway(address) => gateway = route_ip(address),
            RouteAttribute::PrefSource(address) => source = route_ip(address),
            RouteAttribute::Oif(index) => link_index = Some(index),
            RouteAttribute::Priority(value) => metric = Some(value),
            _ => {}
        }
    }
    Some(Route {
        destination: format!("{destination}/{}", message.header.destination_prefix_length),
        gateway: gateway.map(|a| a.to_string()),
        link_index,
        source: source.map(|a| a.to_string()),
        metric,
        kind: kind.to_owned(),
    })
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

pub fn links(socket: &RouteSocket) -> Result<Vec<Link>> {
    let answers = socket.dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(answers
        .into_iter()
        .filter_map(|m| if let RouteNetlinkMessage::NewLink(link) = m { Some(to_link(link)) } else { None })
        .collect())
}

pub fn link(socket: &RouteSocket, name: &str) -> Result<Option<Link>> {
    match socket.get(RouteNetlinkMessage::GetLink(named(name))) {
        Ok(answers) => Ok(answers
            .into_iter()
            .find_map(|m| if let RouteNetlinkMessage::NewLink(link) = m { Some(to_link(link)) } else { None })),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn link_index(socket: &RouteSocket, name: &str) -> Result<u32> {
    link(socket, name)?.map(|l| l.index).ok_or_else(|| Error::from_raw_os_error(libc::ENODEV))
}

pub fn create_veth(socket: &RouteSocket, spec: &VethSpec) -> Result<()> {
    let mut peer = named(&spec.peer_name);
    let mut near = named(&spec.name);
    if let Some(mtu) = spec.mtu {
        peer.attributes.push(LinkAttribute::Mtu(mtu));
        near.attributes.push(LinkAttribute::Mtu(mtu));
    }
    // Open until the kernel has answered.
    let namespace = spec.peer_netns.as_deref().map(std::fs::File::open).transpose()?;
    if let Some(file) = &namespace {
        peer.attributes.push(LinkAttribute::NetNsFd(file.as_raw_fd()));
    }
    near.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    socket.change(RouteNetlinkMessage::NewLink(near), NLM_F_CREATE | NLM_F_EXCL)
}

pub fn change_link(socket: &RouteSocket, name: &str, change: &LinkChange) -> Result<()> {
    change_link_at(socket, link_index(socket, name)?, change)
}

fn change_link_at(socket: &RouteSocket, index: u32, change: &LinkChange) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    if let Some(up) = change.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    if let Some(name) = &change.name {
        message.attributes.push(LinkAttribute::IfName(name.clone()));
    }
    if let Some(mtu) = change.mtu {
        message.attributes.push(LinkAttribute::Mtu(mtu));
    }
    if let Some(alias) = &change.alias {
        message.attributes.push(LinkAttribute::IfAlias(alias.clone()));
    }
    socket.change(RouteNetlinkMessage::SetLink(message), 0)
}

pub fn delete_link(socket: &RouteSocket, name: &str) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = link_index(socket, name)?;
    socket.change(RouteNetlinkMessage::DelLink(message), 0)
}

pub fn addresses(socket: &RouteSocket) -> Result<Vec<Address>> {
    let answers = socket.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(answers
        .into_iter()
        .filter_map(|m| if let RouteNetlinkMessage::NewAddress(a) = m { to_address(a) } else { None })
        .collect())
}

fn address_message(link_index: u32, text: &str) -> Result<AddressMessage> {
    let (address, length) = parse_prefix(text)?;
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = length;
    message.header.index = link_index;
    let link_local = matches!(address, IpAddr::V4(v4) if v4.is_link_local());
    message.header.scope = if link_local { AddressScope::Link } else { AddressScope::Universe };
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    Ok(message)
}

pub fn add_address(socket: &RouteSocket, link: &str, address: &str) -> Result<()> {
    add_address_at(socket, link_index(socket, link)?, address)
}

fn add_address_at(socket: &RouteSocket, link_index: u32, address: &str) -> Result<()> {
    let message = address_message(link_index, address)?;
    socket.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
}

pub fn delete_address(socket: &RouteSocket, link: &str, address: &str) -> Result<()> {
    let message = address_message(link_index(socket, link)?, address)?;
    socket.change(RouteNetlinkMessage::DelAddress(message), 0)
}

/// The main table's unicast, unreachable and blackhole routes of IPv4 and IPv6.
pub fn routes(socket: &RouteSocket) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        for answer in socket.dump(RouteNetlinkMessage::GetRoute(message))? {
            if let RouteNetlinkMessage::NewRoute(route) = answer {
                routes.extend(to_route(route));
            }
        }
    }
    Ok(routes)
}

fn route_message(spec: &RouteSpec, index_of: impl FnOnce(&str) -> Result<u32>) -> Result<RouteMessage> {
    let (destination, length) = parse_prefix(&spec.destination)?;
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = length;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = match spec.kind.as_deref() {
        None | Some("unicast") => RouteType::Unicast,
        Some("unreachable") => RouteType::Unreachable,
        Some("blackhole") => RouteType::BlackHole,
        Some(other) => return Err(invalid(format!("not a kind of route: {other}"))),
    };
    let direct = message.header.kind == RouteType::Unicast && spec.gateway.is_none();
    message.header.scope = if direct { RouteScope::Link } else { RouteScope::Universe };
    if length > 0 {
        message.attributes.push(RouteAttribute::Destination(destination.into()));
    }
    if let Some(gateway) = &spec.gateway {
        message.attributes.push(RouteAttribute::Gateway(parse_address(gateway)?.into()));
    }
    if let Some(source) = &spec.source {
        message.attributes.push(RouteAttribute::PrefSource(parse_address(source)?.into()));
    }
    if let Some(link) = &spec.link {
        message.attributes.push(RouteAttribute::Oif(index_of(link)?));
    }
    if let Some(metric) = spec.metric {
        message.attributes.push(RouteAttribute::Priority(metric));
    }
    Ok(message)
}

pub fn put_route(socket: &RouteSocket, spec: &RouteSpec) -> Result<()> {
    put_route_by(socket, spec, |name| link_index(socket, name))
}

fn put_route_by(socket: &RouteSocket, spec: &RouteSpec, index_of: impl FnOnce(&str) -> Result<u32>) -> Result<()> {
    let message = route_message(spec, index_of)?;
    socket.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

pub fn delete_route(socket: &RouteSocket, spec: &RouteSpec) -> Result<()> {
    let mut message = route_message(spec, |name| link_index(socket, name))?;
    message.header.scope = RouteScope::NoWhere; // any
    message.header.protocol = RouteProtocol::Unspec; // any
    socket.change(RouteNetlinkMessage::DelRoute(message), 0)
}

/// Makes changes in order, up to the first that fails; those before it stay. Must run in the socket's namespace.
pub fn change_all(socket: &RouteSocket, changes: &[NetworkChange]) -> std::result::Result<(), ChangeFailure> {
    // Names that were looked up: most changes are of one link.
    let mut indexes = HashMap::new();
    let mut index_of = |name: &str| match indexes.get(name) {
        Some(&index) => Ok(index),
        None => {
            let index = link_index(socket, name)?;
            indexes.insert(name.to_owned(), index);
            Ok(index)
        }
    };
    for (at, change) in changes.iter().enumerate() {
        change_one(socket, change, &mut index_of).map_err(|error| (at as u32, error))?;
    }
    Ok(())
}

fn change_one(
    socket: &RouteSocket,
    change: &NetworkChange,
    index_of: &mut dyn FnMut(&str) -> Result<u32>,
) -> Result<()> {
    match change {
        NetworkChange { veth: Some(spec), .. } => create_veth(socket, spec),
        NetworkChange { route: Some(spec), .. } => put_route_by(socket, spec, index_of),
        NetworkChange { sysctl: Some(name), value: Some(value), if_present, .. } => {
            match netns::write_sysctl(name, value) {
                Err(error) if error.kind() == ErrorKind::NotFound && *if_present == Some(true) => Ok(()),
                result => result,
            }
        }
        NetworkChange { link: Some(link), change: Some(change), .. } => change_link_at(socket, index_of(link)?, change),
        NetworkChange { link: Some(link), address: Some(address), .. } => {
            add_address_at(socket, index_of(link)?, address)
        }
        _ => Err(invalid("a change of no kind".to_owned())),
    }
}

/// The IPv4 addresses that this namespace answers for.
pub fn local_addresses(socket: &RouteSocket) -> Result<Vec<Ipv4Addr>> {
    Ok(addresses(socket)?
        .into_iter()
        .filter_map(|a| a.address.split_once('/').and_then(|(address, _)| address.parse().ok()))
        .collect())
}
