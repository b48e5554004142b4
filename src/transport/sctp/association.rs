//! One session's association and its data channels, on the side that waits for the INIT.
//!
//! The library is made at the first INIT, so that a session without data channels costs nothing. After every
//! call all of its events are read and all of its packets taken, so nothing waits inside but what the peer has
//! not completed or not acknowledged.

use super::filter::{Filter, RECEIVE_BUFFER_BYTES, Refusal, STREAMS_MAX};
use super::{CHANNELS_MAX, ChannelId, MESSAGE_BYTES_MAX, Message, QUEUE_BYTES_MAX, SendError, dcep};
use crate::DropReason;
use crate::instant::{from_instant, to_instant};
use rtp::MonoTime;
use sctp_proto::{
    AssociationHandle, DatagramEvent, Endpoint, EndpointConfig, Event, Payload, PayloadProtocolIdentifier,
    ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, OnceLock};

/// One session's data channels.
#[derive(Debug, Default)]
pub struct Association {
    filter: Filter,
    engine: Option<Engine>,
    open: Vec<ChannelId>,
    outputs: VecDeque<Output>,
    over: bool,
}

impl Association {
    /// Makes the association of a session; it waits for an INIT.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an SCTP packet.
    ///
    /// # Errors
    /// Why the packet was dropped, or a message in it not understood.
    pub fn handle_packet(&mut self, now: MonoTime, packet: &[u8]) -> Result<(), DropReason> {
        if self.over {
            return Err(DropReason::SctpUnexpected);
        }
        match self.filter.check(now, packet) {
            Ok(()) => {}
            Err(Refusal::Drop(reason)) => return Err(reason),
            Err(Refusal::Close) => {
                self.abuse();
                return Err(DropReason::SctpLimit);
            }
        }
        self.engine.get_or_insert_with(Engine::new).handle(now, packet);
        self.settle(now)
    }

    /// Does what is due: retransmissions and delayed acknowledgements.
    ///
    /// # Errors
    /// As [`Association::handle_packet`].
    pub fn handle_timeout(&mut self, now: MonoTime) -> Result<(), DropReason> {
        let due = self.next_timeout().is_some_and(|at| at <= now);
        let Some(association) = self.association().filter(|_| due) else { return Ok(()) };
        association.handle_timeout(to_instant(now));
        self.settle(now)
    }

    /// Queues a message for an open data channel.
    ///
    /// # Errors
    /// When the channel is not open, the message too long or the peer too slow.
    pub fn send(&mut self, now: MonoTime, channel: ChannelId, message: &Message) -> Result<(), SendError> {
        let bytes = message.as_bytes();
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLong { bytes: bytes.len() });
        }
        if !self.open.contains(&channel) {
            return Err(SendError::NotOpen);
        }
        if self.queued_bytes() + bytes.len() > QUEUE_BYTES_MAX {
            return Err(SendError::QueueFull);
        }
        let (bytes, identifier) = match message {
            // SCTP cannot carry nothing: one byte with an identifier of its own says so (RFC 8831 §6.6).
            Message::Text(text) if text.is_empty() => (EMPTY, PayloadProtocolIdentifier::StringEmpty),
            Message::Binary(bytes) if bytes.is_empty() => (EMPTY, PayloadProtocolIdentifier::BinaryEmpty),
            Message::Text(_) => (bytes, PayloadProtocolIdentifier::String),
            Message::Binary(_) => (bytes, PayloadProtocolIdentifier::Binary),
        };
        let association = self.association().ok_or(SendError::NotOpen)?;
        let mut stream = association.stream(channel.0).map_err(|_| SendError::NotOpen)?;
        stream.write_with_ppi(bytes, identifier).map_err(|_| SendError::NotOpen)?;
        self.transmit(now);
        Ok(())
    }

    /// Returns the next thing to do for the driver.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Association::handle_timeout`] is due.
    #[must_use]
    pub fn next_timeout(&self) -> Option<MonoTime> {
        let (_, association) = self.engine.as_ref()?.association.as_ref()?;
        association.poll_timeout().and_then(from_instant)
    }

    /// Returns how many bytes wait for the peer over all data channels.
    pub fn queued_bytes(&mut self) -> usize {
        let open = std::mem::take(&mut self.open);
        let queued = open.iter().filter_map(|channel| {
            let stream = self.association()?.stream(channel.0).ok()?;
            stream.buffered_amount().ok()
        });
        let total = queued.sum();
        self.open = open;
        total
    }

    fn association(&mut self) -> Option<&mut sctp_proto::Association> {
        self.engine.as_mut()?.association.as_mut().map(|(_, association)| association)
    }

    /// Takes the library's events, then its packets.
    fn settle(&mut self, now: MonoTime) -> Result<(), DropReason> {
        let mut outcome = Ok(());
        while let Some(event) = self.association().and_then(sctp_proto::Association::poll) {
            outcome = outcome.and(self.handle_event(event));
            if self.over {
                return outcome;
            }
        }
        self.transmit(now);
        if let Some(engine) = &mut self.engine {
            engine.forget_if_drained();
        }
        outcome
    }

    fn handle_event(&mut self, event: Event) -> Result<(), DropReason> {
        match event {
            Event::Connected => {
                self.filter.establish();
                Ok(())
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read(id),
            Event::Stream(StreamEvent::Opened { .. }) => {
                // The library queues what it opened; we know it from its first message.
                while self.association().and_then(sctp_proto::Association::accept_stream).is_some() {}
                Ok(())
            }
            Event::Stream(StreamEvent::Finished { id }) => {
                self.forget(ChannelId(id));
                Ok(())
            }
            Event::AssociationLost { .. } | Event::HandshakeFailed { .. } => {
                for channel in std::mem::take(&mut self.open) {
                    self.outputs.push_back(Output::Closed { channel });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads every complete message of a stream.
    fn read(&mut self, id: u16) -> Result<(), DropReason> {
        let mut outcome = Ok(());
        loop {
            let Some(Ok(mut stream)) = self.association().map(|association| association.stream(id)) else {
                return outcome;
            };
            let Ok(Some(chunks)) = stream.read() else { return outcome };
            let mut bytes = vec![0; chunks.len()];
            let complete = chunks.read(&mut bytes).is_ok();
            self.filter.delivered(chunks.chunks.len());
            outcome = outcome.and(if complete {
                self.handle_message(ChannelId(id), chunks.ppi, bytes)
            } else {
                Err(DropReason::MessageMalformed)
            });
            if self.over {
                return outcome;
            }
        }
    }

    fn handle_message(
        &mut self,
        channel: ChannelId,
        identifier: PayloadProtocolIdentifier,
        bytes: Vec<u8>,
    ) -> Result<(), DropReason> {
        let message = match identifier {
            PayloadProtocolIdentifier::Dcep => return self.handle_dcep(channel, &bytes),
            PayloadProtocolIdentifier::String => {
                Message::Text(String::from_utf8(bytes).map_err(|_| DropReason::MessageMalformed)?)
            }
            PayloadProtocolIdentifier::StringEmpty => Message::Text(String::new()),
            PayloadProtocolIdentifier::Binary => Message::Binary(bytes),
            PayloadProtocolIdentifier::BinaryEmpty => Message::Binary(Vec::new()),
            PayloadProtocolIdentifier::Unknown => return Err(DropReason::MessageMalformed),
        };
        if !self.open.contains(&channel) {
            return Err(DropReason::MessageMalformed);
        }
        self.outputs.push_back(Output::Message { channel, message });
        Ok(())
    }

    fn handle_dcep(&mut self, channel: ChannelId, bytes: &[u8]) -> Result<(), DropReason> {
        let open = match dcep::parse(bytes) {
            Ok(dcep::Message::Open(open)) => open,
            Ok(dcep::Message::Ack) => return Ok(()),
            Err(dcep::ParseError::Malformed) => return Err(DropReason::MessageMalformed),
            Err(dcep::ParseError::TooLong) => {
                self.abuse();
                return Err(DropReason::SctpLimit);
            }
        };
        if self.open.contains(&channel) {
            return Err(DropReason::MessageMalformed);
        }
        if self.open.len() >= CHANNELS_MAX {
            self.abuse();
            return Err(DropReason::SctpLimit);
        }
        self.accept(channel, &open).map_err(|_| DropReason::SctpUnexpected)?;
        self.open.push(channel);
        let dcep::Open { label, protocol, .. } = open;
        self.outputs.push_back(Output::Opened { channel, label, protocol });
        Ok(())
    }

    /// Gives our direction the reliability that was asked for, and answers.
    fn accept(&mut self, channel: ChannelId, open: &dcep::Open) -> Result<(), sctp_proto::Error> {
        let association = self.association().ok_or(sctp_proto::Error::ErrStreamClosed)?;
        let mut stream = association.stream(channel.0)?;
        // The answer itself is reliable and ordered (RFC 8832 §6).
        stream.write_with_ppi(&dcep::ACK, PayloadProtocolIdentifier::Dcep)?;
        let (kind, value) = match open.reliability {
            dcep::Reliability::Full => (ReliabilityType::Reliable, 0),
            dcep::Reliability::Retransmits(count) => (ReliabilityType::Rexmit, count),
            dcep::Reliability::LifetimeMs(millis) => (ReliabilityType::Timed, millis),
        };
        stream.set_reliability_params(open.unordered, kind, value)
    }

    fn transmit(&mut self, now: MonoTime) {
        let Self { engine, filter, outputs, .. } = self;
        let Some((_, association)) = engine.as_mut().and_then(|engine| engine.association.as_mut()) else {
            return;
        };
        while let Some(transmit) = association.poll_transmit(to_instant(now)) {
            let Payload::RawEncode(packets) = transmit.payload else { continue };
            let sendable = packets.iter().filter(|packet| filter.check_outgoing(packet));
            outputs.extend(sendable.map(|packet| Output::Transmit(packet.to_vec())));
        }
    }

    fn forget(&mut self, channel: ChannelId) {
        if let Some(at) = self.open.iter().position(|open| *open == channel) {
            self.open.swap_remove(at);
            self.outputs.push_back(Output::Closed { channel });
        }
    }

    fn abuse(&mut self) {
        self.over = true;
        self.engine = None;
        self.open.clear();
        self.outputs.clear();
        self.outputs.push_back(Output::Abuse);
    }
}

/// What an [`Association`] asks of its driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// An SCTP packet to send over DTLS.
    Transmit(Vec<u8>),
    /// The other side opened a data channel.
    Opened {
        /// Its identifier.
        channel: ChannelId,
        /// Its label.
        label: String,
        /// Its subprotocol.
        protocol: String,
    },
    /// A data channel is closed.
    Closed {
        /// Its identifier.
        channel: ChannelId,
    },
    /// A message arrived.
    Message {
        /// The data channel.
        channel: ChannelId,
        /// The message.
        message: Message,
    },
    /// The peer broke a limit that only an attack does: end the session. Nothing follows.
    Abuse,
}

/// The library: an endpoint that accepts one association.
#[derive(Debug)]
struct Engine {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, sctp_proto::Association)>,
}

impl Engine {
    fn new() -> Self {
        let (endpoint, server) = configs();
        Self { endpoint: Endpoint::new(Arc::clone(endpoint), Some(Arc::clone(server))), association: None }
    }

    fn handle(&mut self, now: MonoTime, packet: &[u8]) {
        let bytes = packet.to_vec().into();
        match self.endpoint.handle(to_instant(now), PEER, None, None, bytes) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                self.association = Some((handle, association));
                self.endpoint.reject_new_associations();
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) =
                    self.association.as_mut().filter(|(known, _)| *known == handle)
                {
                    association.handle_event(event);
                }
            }
            None => {}
        }
    }

    /// Frees an association that has ended.
    fn forget_if_drained(&mut self) {
        let Some((handle, association)) = &mut self.association else { return };
        let handle = *handle;
        while let Some(event) = association.poll_endpoint_event() {
            self.endpoint.handle_event(handle, event);
        }
        if association.is_drained() {
            self.association = None;
        }
    }
}

/// Returns the configuration that all associations of the process share.
fn configs() -> &'static (Arc<EndpointConfig>, Arc<ServerConfig>) {
    static CONFIGS: OnceLock<(Arc<EndpointConfig>, Arc<ServerConfig>)> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let message_bytes_max = u32::try_from(MESSAGE_BYTES_MAX).unwrap_or(u32::MAX);
        let transport = TransportConfig::default()
            .with_max_num_inbound_streams(STREAMS_MAX)
            .with_max_num_outbound_streams(STREAMS_MAX)
            .with_max_receive_buffer_size(RECEIVE_BUFFER_BYTES)
            .with_max_receive_message_size(message_bytes_max)
            .with_max_send_message_size(message_bytes_max)
            .with_rto_initial_ms(RTO_INITIAL_MS)
            .with_rto_min_ms(RTO_MIN_MS)
            .with_rto_max_ms(RTO_MAX_MS);
        let mut endpoint = EndpointConfig::new();
        endpoint.max_payload_size(PAYLOAD_MAX);
        let mut server = ServerConfig::new();
        server.transport = Arc::new(transport);
        (Arc::new(endpoint), Arc::new(server))
    })
}

/// The library tells associations apart by address, and a session has but one: any constant will do.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5_000));
/// With the headers of SCTP and DTLS, a datagram of at most 1,200 bytes.
const PAYLOAD_MAX: u32 = 1_120;
/// A show is no file transfer: recover from a loss within a few round trips (p99 at 5 % loss 275 ms, not 1 s).
const RTO_INITIAL_MS: u64 = 500;
const RTO_MIN_MS: u64 = 200;
const RTO_MAX_MS: u64 = 2_000;
const EMPTY: &[u8] = &[0];

#[cfg(test)]
mod tests;
