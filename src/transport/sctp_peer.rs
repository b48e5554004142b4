//! Other sides of an association, for the tests: an honest one, and one that writes its packets by hand.

use crate::instant::{from_instant, to_instant};
use rtp::MonoTime;
use sctp_proto::{
    AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, StreamEvent,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// An honest other side: the library without our filter.
pub(crate) struct SctpPeer {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: sctp_proto::Association,
    pub(crate) sent: VecDeque<Vec<u8>>,
    pub(crate) connected: bool,
    pub(crate) lost: bool,
    /// Stream, payload protocol identifier and bytes of every message.
    pub(crate) messages: VecDeque<(u16, PayloadProtocolIdentifier, Vec<u8>)>,
    pub(crate) resets: Vec<u16>,
}

impl SctpPeer {
    /// Makes the other side, with its INIT ready.
    pub(crate) fn new(now: MonoTime) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::new()), None);
        let (handle, association) =
            endpoint.connect(ClientConfig::new(), "127.0.0.1:5000".parse().unwrap()).unwrap();
        let mut peer = Self {
            endpoint,
            handle,
            association,
            sent: VecDeque::new(),
            connected: false,
            lost: false,
            messages: VecDeque::new(),
            resets: Vec::new(),
        };
        peer.settle(now);
        peer
    }

    pub(crate) fn handle(&mut self, now: MonoTime, packet: &[u8]) {
        let remote = "127.0.0.1:5000".parse().unwrap();
        let event = self.endpoint.handle(to_instant(now), remote, None, None, packet.to_vec().into());
        if let Some((handle, DatagramEvent::AssociationEvent(event))) = event {
            assert_eq!(handle, self.handle);
            self.association.handle_event(event);
        }
        self.settle(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: MonoTime) {
        if self.association.poll_timeout().and_then(from_instant).is_some_and(|at| at <= now) {
            self.association.handle_timeout(to_instant(now));
        }
        self.settle(now);
    }

    /// Opens a data channel of a type of RFC 8832 §5.1.
    pub(crate) fn open(&mut self, now: MonoTime, stream: u16, kind: u8, label: &[u8]) {
        let mut open = vec![3, kind, 0, 0, 0, 0, 3, 232, 0, label.len() as u8, 0, 0];
        open.extend_from_slice(label);
        self.association.open_stream(stream, PayloadProtocolIdentifier::Binary).unwrap();
        self.send(now, stream, PayloadProtocolIdentifier::Dcep, &open);
    }

    pub(crate) fn send(&mut self, now: MonoTime, stream: u16, kind: PayloadProtocolIdentifier, bytes: &[u8]) {
        self.association.stream(stream).unwrap().write_with_ppi(bytes, kind).unwrap();
        self.settle(now);
    }

    pub(crate) fn close(&mut self, now: MonoTime, stream: u16) {
        self.association.stream(stream).unwrap().close().unwrap();
        self.settle(now);
    }

    fn settle(&mut self, now: MonoTime) {
        while let Some(event) = self.association.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::AssociationLost { .. } => self.lost = true,
                Event::Stream(StreamEvent::Readable { id }) => self.read(id),
                Event::Stream(StreamEvent::ResetComplete { id }) => self.resets.push(id),
                _ => {}
            }
        }
        while let Some(transmit) = self.association.poll_transmit(to_instant(now)) {
            if let Payload::RawEncode(packets) = transmit.payload {
                self.sent.extend(packets.iter().map(|packet| packet.to_vec()));
            }
        }
    }

    fn read(&mut self, id: u16) {
        while let Ok(Some(chunks)) = self.association.stream(id).and_then(|mut stream| stream.read()) {
            let mut bytes = vec![0; chunks.len()];
            chunks.read(&mut bytes).unwrap();
            self.messages.push_back((id, chunks.ppi, bytes));
        }
    }
}

/// Writes packets by hand, of chunks by hand.
pub(crate) struct RawPeer {
    /// The tag of the side that is attacked.
    pub(crate) tag: u32,
}

impl RawPeer {
    pub(crate) fn packet(&self, chunks: &[Vec<u8>]) -> Vec<u8> {
        packet(self.tag, chunks)
    }

    /// The answer to an INIT ACK: takes the tag and returns the COOKIE ECHO.
    pub(crate) fn echo(init_ack: &[u8]) -> (Self, Vec<u8>) {
        assert_eq!(init_ack[12], 2, "an INIT ACK");
        let peer = Self { tag: u32::from_be_bytes(init_ack[16..20].try_into().unwrap()) };
        let mut rest = &init_ack[32..];
        loop {
            let kind = u16::from_be_bytes([rest[0], rest[1]]);
            let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            if kind == 7 {
                let cookie_echo = peer.packet(&[chunk(10, 0, &rest[4..len])]);
                return (peer, cookie_echo);
            }
            rest = &rest[len.next_multiple_of(4)..];
        }
    }
}

pub(crate) fn init(tag: u32, tsn: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend_from_slice(&[0, 1, 0, 0, 0, 16, 0, 16]);
    value.extend_from_slice(&tsn.to_be_bytes());
    // FORWARD-TSN and RE-CONFIG are supported.
    value.extend_from_slice(&[0xc0, 0, 0, 4, 0x80, 8, 0, 6, 192, 130, 0, 0]);
    packet(0, &[chunk(1, 0, &value)])
}

pub(crate) fn data(tsn: u32, stream: u16, flags: u8, bytes: &[u8]) -> Vec<u8> {
    data_with_ssn(tsn, stream, flags, 0, bytes)
}

pub(crate) fn data_with_ssn(tsn: u32, stream: u16, flags: u8, ssn: u16, bytes: &[u8]) -> Vec<u8> {
    let mut value = tsn.to_be_bytes().to_vec();
    value.extend_from_slice(&stream.to_be_bytes());
    value.extend_from_slice(&ssn.to_be_bytes());
    value.extend_from_slice(&[0, 0, 0, 53]);
    value.extend_from_slice(bytes);
    chunk(0, flags, &value)
}

pub(crate) fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let [l0, l1] = (value.len() as u16 + 4).to_be_bytes();
    let mut chunk = vec![kind, flags, l0, l1];
    chunk.extend_from_slice(value);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

pub(crate) fn packet(tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = vec![0x13, 0x88, 0x13, 0x88];
    packet.extend_from_slice(&tag.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend(chunks.iter().flatten());
    let checksum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&checksum);
    packet
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}
