//! Whole Ethernet frames of an interface, those of others too, by AF_PACKET.

use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

/// Before each frame: what the kernel has not done of it yet, as checksums and the cutting into segments. It is passed on
/// with the frame, so the other interface does it.
const HEADER: usize = 10;
const LARGEST: usize = HEADER + 14 + 65_536;

const PACKET_VNET_HDR: libc::c_int = 15;
const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

pub struct Socket(OwnedFd);

impl Socket {
    pub fn open(interface: &str) -> io::Result<Socket> {
        let name = CString::new(interface)?;
        // SAFETY: a C string that lives through the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no pointers; a descriptor that is not negative is ours.
        let fd = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let socket = Socket(fd);
        socket.set(libc::SOL_PACKET, PACKET_VNET_HDR, &1i32)?;
        socket.set(libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(8i32 << 20))?;
        // SAFETY: plain data.
        let mut membership: libc::packet_mreq = unsafe { zeroed() };
        membership.mr_ifindex = index as i32;
        membership.mr_type = libc::PACKET_MR_PROMISC as u16;
        socket.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)?;
        // SAFETY: plain data; the address is as long as it says.
        unsafe {
            let mut address: libc::sockaddr_ll = zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = index as i32;
            let pointer = (&raw const address).cast();
            check(libc::bind(socket.0.as_raw_fd(), pointer, size_of::<libc::sockaddr_ll>() as u32) as isize)?;
        }
        Ok(socket)
    }

    fn set<T>(&self, level: libc::c_int, option: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the value lives through the call and is as long as it says.
        let done = unsafe {
            let pointer = (&raw const *value).cast();
            libc::setsockopt(self.0.as_raw_fd(), level, option, pointer, size_of::<T>() as u32)
        };
        check(done as isize).map(|_| ())
    }

    /// A frame with its header; none where none waits.
    pub fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut frame = vec![0u8; LARGEST];
        // SAFETY: the buffer is as long as it says.
        let length = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        match check(length) {
            Ok(length) => {
                frame.truncate(length as usize);
                frame.shrink_to_fit();
                Ok(Some(frame))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A frame that does not fit into the interface's queue is lost, as on any wire.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the buffer is as long as it says.
        let length = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        match check(length) {
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::EINVAL | libc::EMSGSIZE)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// A frame without its header.
pub fn ethernet(frame: &[u8]) -> &[u8] {
    frame.get(HEADER..).unwrap_or_default()
}

/// Until a frame waits at one of them, or the moment has come.
pub fn wait(sockets: &[Socket; 2], until: Option<Instant>) -> io::Result<()> {
    let mut polled =
        sockets.each_ref().map(|Socket(fd)| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let left = until.map(|at| at.saturating_duration_since(Instant::now()));
    let time = left.map(|left| libc::timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
    let pointer = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: all that is pointed to lives through the call.
    let done = unsafe { libc::ppoll(polled.as_mut_ptr(), polled.len() as u64, pointer, std::ptr::null()) };
    check(done as isize)?;
    // When an interface has gone, poll reports an error of its socket, at each call.
    if polled.iter().any(|each| each.revents & (libc::POLLERR | libc::POLLHUP) != 0) {
        return Err(io::Error::other("an interface is down or gone"));
    }
    Ok(())
}

fn check(done: isize) -> io::Result<isize> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}
