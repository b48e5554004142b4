//! The batched system calls of UDP. The only unsafe code of this crate.
//!
//! Three safe functions stand around `sendmmsg`, `recvmmsg`, and the socket options of segmentation (`UDP_SEGMENT`,
//! Linux 4.18) and its inverse (`UDP_GRO`, Linux 5.0). Everything that the kernel reads or writes lives in arrays
//! on the stack of one call, and every pointer is made from a live slice of that call.
#![expect(unsafe_code, reason = "sendmmsg, recvmmsg and the UDP options have no safe wrapper")]

use libc::{c_int, c_uint, c_void, cmsghdr, iovec, mmsghdr, sockaddr_in, sockaddr_in6, socklen_t};
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// How many messages one call carries; more gain nothing.
pub(super) const MESSAGES_MAX: usize = 64;

/// How many messages a call at low load carries. The small arrays save about a twentieth of such a call.
const MESSAGES_FEW: usize = 4;

/// One message to send: some bytes of an arena, in equal segments when `segment` is not zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) remote: SocketAddr,
    pub(super) start: usize,
    pub(super) len: usize,
    /// The size of each segment but the last; zero sends one datagram.
    pub(super) segment: u16,
}

/// One received message: `len` bytes in its buffer, in equal segments but the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) remote: SocketAddr,
    pub(super) len: usize,
    /// Never zero.
    pub(super) segment: usize,
}

/// Sends up to [`MESSAGES_MAX`] messages without blocking and returns how many the kernel took.
///
/// # Errors
/// Why the first message was not sent.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    arena: &[u8],
    messages: impl ExactSizeIterator<Item = Outgoing>,
) -> io::Result<usize> {
    // At low load a call carries one or two messages: their arrays need not be those of a full one.
    if messages.len() <= MESSAGES_FEW {
        send_up_to::<MESSAGES_FEW>(socket, arena, messages)
    } else {
        send_up_to::<MESSAGES_MAX>(socket, arena, messages)
    }
}

fn send_up_to<const N: usize>(
    socket: BorrowedFd<'_>,
    arena: &[u8],
    messages: impl Iterator<Item = Outgoing>,
) -> io::Result<usize> {
    let mut addresses = [Address::UNSPECIFIED; N];
    let mut controls = [Control::empty(); N];
    let mut vectors = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; N];
    let mut headers = [empty_header(); N];
    let mut count: c_uint = 0;

    let slots = headers.iter_mut().zip(&mut vectors).zip(&mut addresses).zip(&mut controls);
    for ((((header, vector), address), control), message) in slots.zip(messages) {
        let end = message.start.saturating_add(message.len);
        let bytes = arena.get(message.start..end).ok_or(io::ErrorKind::InvalidInput)?;
        // The kernel only reads through it.
        vector.iov_base = bytes.as_ptr().cast_mut().cast::<c_void>();
        vector.iov_len = bytes.len();
        let address_len;
        (*address, address_len) = Address::from_socket(message.remote);
        header.msg_hdr.msg_name = (&raw mut *address).cast::<c_void>();
        header.msg_hdr.msg_namelen = address_len;
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        if message.segment > 0 {
            *control = Control::segment(message.segment);
            header.msg_hdr.msg_control = (&raw mut *control).cast::<c_void>();
            header.msg_hdr.msg_controllen = mem::size_of::<Control>() as _;
        }
        count = count.saturating_add(1);
    }
    // SAFETY: the first `count` headers point to the address, vector and control message of the same index, which
    // live until the end of this function, and each vector to bytes of `arena`, which outlives it and is only read.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives up to [`MESSAGES_MAX`] messages without blocking, each into `stride` bytes of `buffers`, and returns
/// how many came.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] when there is nothing to receive.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffers: &mut [u8],
    stride: usize,
    out: &mut Vec<Received>,
) -> io::Result<()> {
    out.clear();
    let mut addresses = [Address::UNSPECIFIED; MESSAGES_MAX];
    let mut controls = [Control::empty(); MESSAGES_MAX];
    let mut vectors = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MESSAGES_MAX];
    let mut headers = [empty_header(); MESSAGES_MAX];
    let mut count: c_uint = 0;

    let slots = headers.iter_mut().zip(&mut vectors).zip(&mut addresses).zip(&mut controls);
    for ((((header, vector), address), control), buffer) in slots.zip(buffers.chunks_exact_mut(stride.max(1)))
    {
        vector.iov_base = buffer.as_mut_ptr().cast::<c_void>();
        vector.iov_len = buffer.len();
        header.msg_hdr.msg_name = (&raw mut *address).cast::<c_void>();
        header.msg_hdr.msg_namelen = mem::size_of::<Address>() as socklen_t;
        header.msg_hdr.msg_iov = &raw mut *vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = (&raw mut *control).cast::<c_void>();
        header.msg_hdr.msg_controllen = mem::size_of::<Control>() as _;
        count = count.saturating_add(1);
    }
    let (flags, no_timeout) = (libc::MSG_DONTWAIT, ptr::null_mut());
    // SAFETY: the first `count` headers point to the address, vector and control message of the same index, which
    // live until the end of this function, and each vector to its own part of `buffers`, borrowed for as long.
    let received =
        unsafe { libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, flags as _, no_timeout) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;

    for ((header, address), control) in headers.iter().zip(&addresses).zip(&controls).take(received) {
        let len = usize::try_from(header.msg_len).unwrap_or(0).min(stride);
        let has_control = header.msg_hdr.msg_controllen >= mem::size_of::<cmsghdr>();
        let segment = has_control.then(|| control.received_segment()).flatten();
        // An address of another family cannot come; as an empty message it does no harm.
        let remote = address.to_socket();
        let len = if remote.is_some() { len } else { 0 };
        out.push(Received {
            remote: remote.unwrap_or(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))),
            len,
            segment: segment.unwrap_or(len).max(1),
        });
    }
    Ok(())
}

/// Tells whether the kernel knows segmentation offload for the socket.
pub(super) fn knows_segmentation(socket: BorrowedFd<'_>) -> bool {
    let mut value: c_int = 0;
    let mut len = mem::size_of::<c_int>() as socklen_t;
    let value_pointer = (&raw mut value).cast::<c_void>();
    // SAFETY: both pointers are to live locals, and `len` says how large `value` is.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value_pointer, &raw mut len)
    };
    result == 0
}

/// Asks the kernel to hand over runs of equal datagrams as one message; says whether it will.
pub(super) fn enable_coalescing(socket: BorrowedFd<'_>) -> bool {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok()
}

/// Sets an integer option.
pub(super) fn set_option(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let (pointer, len) = ((&raw const value).cast::<c_void>(), mem::size_of::<c_int>() as socklen_t);
    // SAFETY: the pointer is to a live local of `len` bytes, which the kernel only reads.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A socket address as the kernel has it. Always wholly initialised.
#[derive(Clone, Copy)]
#[repr(C)]
union Address {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl Address {
    const UNSPECIFIED: Self = Self {
        v6: sockaddr_in6 {
            sin6_family: libc::AF_UNSPEC as _,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        },
    };

    fn from_socket(address: SocketAddr) -> (Self, socklen_t) {
        let mut raw = Self::UNSPECIFIED;
        match address {
            SocketAddr::V4(address) => {
                raw.v4 = sockaddr_in {
                    sin_family: libc::AF_INET as _,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                (raw, mem::size_of::<sockaddr_in>() as socklen_t)
            }
            SocketAddr::V6(address) => {
                raw.v6 = sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as _,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: address.flowinfo().to_be(),
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: address.scope_id(),
                };
                (raw, mem::size_of::<sockaddr_in6>() as socklen_t)
            }
        }
    }

    fn to_socket(self) -> Option<SocketAddr> {
        // SAFETY: every byte of the union is initialised (`UNSPECIFIED` covers its whole size, and the kernel only
        // overwrites), both variants are plain numbers, and both begin with the family.
        let (family, v4, v6) = unsafe { (c_int::from(self.v4.sin_family), self.v4, self.v6) };
        match family {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let flow = u32::from_be(v6.sin6_flowinfo);
                Some(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), flow, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// A control message with one number of up to eight bytes: a `cmsghdr` and the data that follows it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    header: cmsghdr,
    value: [u8; 8],
}

impl Control {
    const fn empty() -> Self {
        // SAFETY: the header is plain numbers, for which zero is a valid value.
        Self { header: unsafe { mem::zeroed() }, value: [0; 8] }
    }

    fn segment(segment: u16) -> Self {
        let mut control = Self::empty();
        // SAFETY: only computes a length.
        control.header.cmsg_len = unsafe { libc::CMSG_LEN(2) } as _;
        control.header.cmsg_level = libc::SOL_UDP;
        control.header.cmsg_type = libc::UDP_SEGMENT;
        let [low, high] = segment.to_ne_bytes();
        control.value = [low, high, 0, 0, 0, 0, 0, 0];
        control
    }

    /// Returns the segment size that the kernel reports of a coalesced message.
    fn received_segment(&self) -> Option<usize> {
        let is_gro = self.header.cmsg_level == libc::SOL_UDP && self.header.cmsg_type == libc::UDP_GRO;
        let [b0, b1, b2, b3, ..] = self.value;
        let segment = usize::try_from(c_int::from_ne_bytes([b0, b1, b2, b3])).ok()?;
        (is_gro && segment > 0).then_some(segment)
    }
}

const fn empty_header() -> mmsghdr {
    // SAFETY: numbers and pointers, for which zero and null are valid values.
    unsafe { mem::zeroed() }
}

/// The data of a control message follows its header at once: what `Control`'s layout stands on.
const _: () = assert!(mem::size_of::<cmsghdr>().is_multiple_of(mem::align_of::<usize>()));
