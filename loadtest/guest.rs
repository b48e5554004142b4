//! A guest: one joined viewer that measures nothing, by UDP or by ICE-TCP, and reads only when it is told to.
//!
//! Driven by turns of a few milliseconds. For viewers that must be many and exact there is `viewer`; a guest is for
//! those who only come and go, or misbehave.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::sync::Arc;

use anyhow::Context;
use reqwest::Url;
use rtp::{MonoTime, SeqNo, Ssrc};

use crate::clock;
use crate::link::{CloseReason, Config, Identity, Inbound, Link, Output, Profile, Random};
use crate::signal::{self, Http, Offer, SessionRequest};

/// How to join.
#[derive(Debug)]
pub(crate) struct Join<'a> {
    pub(crate) http: &'a Http,
    pub(crate) url: &'a str,
    pub(crate) token: Option<String>,
    pub(crate) tcp: bool,
    pub(crate) identity: Arc<Identity>,
}

/// The joined viewer.
#[derive(Debug)]
pub(crate) struct Guest {
    link: Link,
    wire: Wire,
    session: signal::Session,
    server: SocketAddr,
    profile: Option<Profile>,
    closed: Option<CloseReason>,
    newest: Option<(Ssrc, SeqNo)>,
    packets_received: u64,
}

/// What carries its datagrams.
#[derive(Debug)]
enum Wire {
    Udp(UdpSocket),
    /// Frames with their length in front (RFC 4571), as far as they came.
    Tcp(TcpStream, Vec<u8>),
}

impl Guest {
    /// Opens a session and begins to connect.
    pub(crate) async fn join(join: Join<'_>) -> anyhow::Result<Self> {
        let mut link = Link::new(Config { identity: join.identity, random: Random::from_machine() });
        let offer = Offer::viewer(false, None).to_sdp(link.local());
        let request = SessionRequest { url: join.url.to_owned(), token: join.token, offer };
        let mut session = join.http.open(request).await?;
        if join.tcp {
            session.answer.candidates = vec![http_address(join.url)?];
        }
        let server = *session.answer.candidates.first().context("the answer has no candidate")?;
        let wire = if join.tcp { Wire::tcp(server)? } else { Wire::udp(server)? };
        session.answer.candidates.retain(|candidate| candidate.is_ipv4() == server.is_ipv4());
        link.set_remote(clock::now(), &session.answer);
        let (profile, closed, newest) = (None, None, None);
        Ok(Self { link, wire, session, server, profile, closed, newest, packets_received: 0 })
    }

    /// Reads what came, if it reads, and does what is due.
    pub(crate) fn turn(&mut self, now: MonoTime, reads: bool) {
        if reads {
            self.read(now);
        }
        self.link.handle_timeout(now);
        self.flush();
    }

    /// Sends a compound, sealed; says whether it went out.
    pub(crate) fn send_rtcp(&mut self, compound: &[u8]) -> bool {
        let mut sealed = compound.to_vec();
        self.link.seal_rtcp(&mut sealed).is_ok() && self.send(&sealed)
    }

    /// Sends bytes as they are, from the address that the server has validated.
    pub(crate) fn send(&mut self, datagram: &[u8]) -> bool {
        let server = self.link.remote().unwrap_or(self.server);
        self.wire.send(server, datagram)
    }

    /// Says goodbye by DTLS and by DELETE.
    pub(crate) async fn leave(mut self, now: MonoTime) -> anyhow::Result<()> {
        self.link.close(now);
        self.flush();
        Ok(self.session.delete().await?)
    }

    /// Its profile, once it is connected.
    pub(crate) const fn profile(&self) -> Option<Profile> {
        self.profile
    }

    /// Why it ended, if it did.
    pub(crate) const fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// The newest packet of media: source and number.
    pub(crate) const fn newest(&self) -> Option<(Ssrc, SeqNo)> {
        self.newest
    }

    /// Where the server's media port is.
    pub(crate) const fn server(&self) -> SocketAddr {
        self.server
    }

    /// Packets of media that were read.
    pub(crate) const fn packets_received(&self) -> u64 {
        self.packets_received
    }

    fn read(&mut self, now: MonoTime) {
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        for _ in 0..READS_MAX {
            let Some((from, length)) = self.wire.receive(self.server, &mut buffer) else { break };
            let datagram = buffer.get(..length).unwrap_or_default();
            if self.link.handle_datagram(now, from, datagram) == Inbound::Rtp {
                self.packets_received = self.packets_received.saturating_add(1);
                self.newest = numbers(datagram).or(self.newest);
            }
            self.flush();
        }
    }

    fn flush(&mut self) {
        while let Some(output) = self.link.poll_output() {
            match output {
                Output::Transmit(to, datagram) => {
                    self.wire.send(to, &datagram);
                }
                Output::Connected(profile) => self.profile = Some(profile),
                Output::Closed(reason) => self.closed = Some(reason),
            }
        }
    }
}

impl Wire {
    fn udp(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind(if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.set_nonblocking(true)?;
        Ok(Self::Udp(socket))
    }

    fn tcp(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(server).with_context(|| format!("no ICE-TCP at {server}"))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp(socket, Vec::new()))
    }

    fn send(&mut self, to: SocketAddr, datagram: &[u8]) -> bool {
        match self {
            Self::Udp(socket) => socket.send_to(datagram, to).is_ok(),
            Self::Tcp(socket, _) => {
                let Ok(length) = u16::try_from(datagram.len()) else { return false };
                let frame = [&length.to_be_bytes(), datagram].concat();
                // What is sent is little, so a frame that does not fit whole means a dead socket.
                socket.write(&frame).is_ok_and(|written| written == frame.len())
            }
        }
    }

    fn receive(&mut self, server: SocketAddr, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        match self {
            Self::Udp(socket) => socket.recv_from(buffer).ok().map(|(length, from)| (from, length)),
            Self::Tcp(socket, pending) => {
                if frame_length(pending).is_none() {
                    let mut bytes = [0; DATAGRAM_BYTES_MAX];
                    match socket.read(&mut bytes) {
                        Ok(length) => pending.extend(bytes.iter().take(length)),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(_) => return None,
                    }
                }
                let length = frame_length(pending)?;
                let frame: Vec<u8> = pending.drain(..length.saturating_add(2)).skip(2).collect();
                buffer.get_mut(..length)?.copy_from_slice(&frame);
                Some((server, length))
            }
        }
    }
}

/// The length of the first frame, once it is there whole.
fn frame_length(pending: &[u8]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes(*pending.first_chunk()?));
    (pending.len() >= length.saturating_add(2)).then_some(length)
}

/// Source and number, which are readable in a sealed packet too (RFC 3711 §3.1).
fn numbers(packet: &[u8]) -> Option<(Ssrc, SeqNo)> {
    let seq = packet.get(2..4)?.first_chunk()?;
    let ssrc = packet.get(8..12)?.first_chunk()?;
    Some((Ssrc(u32::from_be_bytes(*ssrc)), SeqNo(u16::from_be_bytes(*seq))))
}

fn http_address(url: &str) -> anyhow::Result<SocketAddr> {
    let url = Url::parse(url)?;
    let host = url.host_str().context("the URL has no host")?;
    let port = url.port_or_known_default().context("the URL has no port")?;
    let mut addresses = (host.trim_matches(['[', ']']), port).to_socket_addrs()?;
    addresses.next().with_context(|| format!("{host} has no address"))
}

const DATAGRAM_BYTES_MAX: usize = 2_048;
/// So that one busy session does not keep the others from their turn.
const READS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_it_is_there_whole() {
        assert_eq!(frame_length(&[0]), None);
        assert_eq!(frame_length(&[0, 2, 7]), None);
        assert_eq!(frame_length(&[0, 2, 7, 8, 0]), Some(2));
        assert_eq!(frame_length(&[0, 0]), Some(0));
    }

    #[test]
    fn source_and_number_are_read_from_a_sealed_packet() {
        let packet = [0x90, 96, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4, 0xff];

        assert_eq!(numbers(&packet), Some((Ssrc(0x304), SeqNo(0x102))));
        assert_eq!(numbers(&packet[..11]), None);
    }
}
