//! One data channel over DTLS, which a viewer opens and keeps (RFC 8831, RFC 8832). Messages are acknowledged, not read.

use super::instant::{from_instant, to_instant};
use rtp::MonoTime;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, StreamEvent,
};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

/// The association with its one channel.
#[derive(Debug)]
pub(super) struct Channel {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    stream: u16,
    outgoing: VecDeque<Vec<u8>>,
    is_open: bool,
}

impl Channel {
    /// Begins an association; the DTLS client's streams are even, the server's odd (RFC 8832 §6). `None` when the library
    /// refuses, which its defaults do not cause.
    pub(super) fn new(now: MonoTime, is_dtls_client: bool) -> Option<Self> {
        let mut config = EndpointConfig::new();
        config.max_payload_size(PAYLOAD_MAX);
        let mut endpoint = Endpoint::new(Arc::new(config), None);
        let (handle, association) = endpoint.connect(ClientConfig::new(), PEER).ok()?;
        let stream = u16::from(!is_dtls_client);
        let mut channel =
            Self { endpoint, handle, association, stream, outgoing: VecDeque::new(), is_open: false };
        channel.settle(now);
        Some(channel)
    }

    pub(super) fn handle(&mut self, now: MonoTime, packet: &[u8]) {
        let event = self.endpoint.handle(to_instant(now), PEER, None, None, packet.to_vec().into());
        if let Some((handle, DatagramEvent::AssociationEvent(event))) = event
            && handle == self.handle
        {
            self.association.handle_event(event);
        }
        self.settle(now);
    }

    pub(super) fn handle_timeout(&mut self, now: MonoTime) {
        if self.next_timeout().is_some_and(|at| at <= now) {
            self.association.handle_timeout(to_instant(now));
            self.settle(now);
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    pub(super) fn next_timeout(&self) -> Option<MonoTime> {
        self.association.poll_timeout().map(from_instant)
    }

    /// Says whether the other side accepted the channel.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    fn settle(&mut self, now: MonoTime) {
        while let Some(event) = self.association.poll() {
            match event {
                Event::Connected => self.open(),
                Event::Stream(StreamEvent::Readable { id }) => self.read(id),
                Event::AssociationLost { .. } | Event::HandshakeFailed { .. } => self.is_open = false,
                _ => {}
            }
        }
        while let Some(transmit) = self.association.poll_transmit(to_instant(now)) {
            if let Payload::RawEncode(packets) = transmit.payload {
                self.outgoing.extend(packets.iter().map(|packet| packet.to_vec()));
            }
        }
    }

    /// Asks for a reliable, ordered channel (RFC 8832 §5.1).
    fn open(&mut self) {
        let mut open = vec![MESSAGE_OPEN, 0, 0, 0, 0, 0, 0, 0, 0, LABEL_BYTES, 0, 0];
        open.extend_from_slice(LABEL);
        let Ok(mut stream) = self.association.open_stream(self.stream, PayloadProtocolIdentifier::Binary)
        else {
            return;
        };
        // A full buffer is impossible in front of the first message.
        let _ = stream.write_with_ppi(&open, PayloadProtocolIdentifier::Dcep);
    }

    fn read(&mut self, id: u16) {
        loop {
            let Ok(mut stream) = self.association.stream(id) else { return };
            let Ok(Some(chunks)) = stream.read() else { return };
            let mut bytes = vec![0; chunks.len()];
            let complete = chunks.read(&mut bytes).is_ok();
            let is_ack = chunks.ppi == PayloadProtocolIdentifier::Dcep && bytes.first() == Some(&MESSAGE_ACK);
            self.is_open |= complete && id == self.stream && is_ack;
        }
    }
}

/// The library tells associations apart by address, and a session has but one.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5_000));
/// With the headers of SCTP and DTLS, a datagram of at most 1,200 bytes.
const PAYLOAD_MAX: u32 = 1_120;
const MESSAGE_ACK: u8 = 2;
const MESSAGE_OPEN: u8 = 3;
const LABEL: &[u8] = b"loadtest";
const LABEL_BYTES: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use sctp_proto::ServerConfig;

    /// A server's side that answers the first open.
    struct Server {
        endpoint: Endpoint,
        association: Option<Association>,
        opened: Vec<Vec<u8>>,
    }

    impl Server {
        fn new() -> Self {
            let config = Some(Arc::new(ServerConfig::new()));
            let endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), config);
            Self { endpoint, association: None, opened: Vec::new() }
        }

        fn handle(&mut self, now: MonoTime, packet: &[u8]) -> Vec<Vec<u8>> {
            match self.endpoint.handle(to_instant(now), PEER, None, None, packet.to_vec().into()) {
                Some((_, DatagramEvent::NewAssociation(association))) => self.association = Some(association),
                Some((_, DatagramEvent::AssociationEvent(event))) => {
                    self.association.as_mut().unwrap().handle_event(event);
                }
                None => {}
            }
            let Some(association) = &mut self.association else { return Vec::new() };
            while let Some(event) = association.poll() {
                let Event::Stream(StreamEvent::Readable { id }) = event else { continue };
                let mut stream = association.stream(id).unwrap();
                while let Ok(Some(chunks)) = stream.read() {
                    let mut bytes = vec![0; chunks.len()];
                    chunks.read(&mut bytes).unwrap();
                    self.opened.push(bytes);
                    stream.write_with_ppi(&[MESSAGE_ACK], PayloadProtocolIdentifier::Dcep).unwrap();
                }
            }
            let mut out = Vec::new();
            while let Some(transmit) = association.poll_transmit(to_instant(now)) {
                if let Payload::RawEncode(packets) = transmit.payload {
                    out.extend(packets.iter().map(|packet| packet.to_vec()));
                }
            }
            out
        }
    }

    #[test]
    fn a_channel_opens_with_a_server_that_answers_though_the_first_packet_is_lost() {
        let mut now = MonoTime::from_millis(1);
        let mut channel = Channel::new(now, true).unwrap();
        let mut server = Server::new();
        assert!(channel.poll_transmit().is_some(), "the INIT, which is lost");

        for _ in 0..20 {
            while let Some(packet) = channel.poll_transmit() {
                for answer in server.handle(now, &packet) {
                    channel.handle(now, &answer);
                }
            }
            if channel.is_open() {
                break;
            }
            now = now.max(channel.next_timeout().unwrap());
            channel.handle_timeout(now);
        }

        assert!(channel.is_open());
        assert_eq!(server.opened.len(), 1);
        assert!(server.opened[0].ends_with(LABEL));
    }
}
