//! The Data Channel Establishment Protocol: the message that opens a data channel and its answer (RFC 8832).

use super::LABEL_BYTES_MAX;

/// What the other side asks for in a `DATA_CHANNEL_OPEN` message (RFC 8832 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Whether messages may overtake each other.
    pub unordered: bool,
    /// How hard to try.
    pub reliability: Reliability,
    /// The name of the data channel.
    pub label: String,
    /// The subprotocol, often empty.
    pub protocol: String,
}

/// How hard to try to deliver a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// Until it is delivered.
    Full,
    /// At most so many retransmissions.
    Retransmits(u32),
    /// At most for so many milliseconds.
    LifetimeMs(u32),
}

/// A message of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Open a data channel.
    Open(Open),
    /// The answer to an open.
    Ack,
}

/// The answer to an open.
pub const ACK: [u8; 1] = [MESSAGE_ACK];

/// Reads a message.
///
/// # Errors
/// [`ParseError::TooLong`] for a label or protocol beyond [`LABEL_BYTES_MAX`], which ends the session, and
/// [`ParseError::Malformed`] for anything else.
pub fn parse(bytes: &[u8]) -> Result<Message, ParseError> {
    match bytes {
        [MESSAGE_ACK] => Ok(Message::Ack),
        [MESSAGE_OPEN, rest @ ..] => parse_open(rest).map(Message::Open),
        _ => Err(ParseError::Malformed),
    }
}

fn parse_open(rest: &[u8]) -> Result<Open, ParseError> {
    let (header, names) = rest.split_first_chunk::<11>().ok_or(ParseError::Malformed)?;
    let [kind, _, _, r0, r1, r2, r3, l0, l1, p0, p1] = *header;
    let label_len = usize::from(u16::from_be_bytes([l0, l1]));
    let protocol_len = usize::from(u16::from_be_bytes([p0, p1]));
    if label_len > LABEL_BYTES_MAX || protocol_len > LABEL_BYTES_MAX {
        return Err(ParseError::TooLong);
    }
    if names.len() != label_len + protocol_len {
        return Err(ParseError::Malformed);
    }
    let (label, protocol) = names.split_at_checked(label_len).ok_or(ParseError::Malformed)?;
    let value = u32::from_be_bytes([r0, r1, r2, r3]);
    Ok(Open {
        unordered: kind & UNORDERED_BIT != 0,
        reliability: match kind & !UNORDERED_BIT {
            0 => Reliability::Full,
            1 => Reliability::Retransmits(value),
            2 => Reliability::LifetimeMs(value),
            _ => return Err(ParseError::Malformed),
        },
        label: text(label)?,
        protocol: text(protocol)?,
    })
}

fn text(bytes: &[u8]) -> Result<String, ParseError> {
    std::str::from_utf8(bytes).map(ToOwned::to_owned).map_err(|_| ParseError::Malformed)
}

/// Why a message was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The label or the protocol is longer than it may be.
    #[error("the label or protocol of a data channel is longer than {LABEL_BYTES_MAX} bytes")]
    TooLong,
    /// Not a message of the protocol.
    #[error("malformed data channel message")]
    Malformed,
}

const MESSAGE_ACK: u8 = 2;
const MESSAGE_OPEN: u8 = 3;
const UNORDERED_BIT: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_type_is_read() {
        let types = [
            (0x00, false, Reliability::Full),
            (0x80, true, Reliability::Full),
            (0x01, false, Reliability::Retransmits(7)),
            (0x81, true, Reliability::Retransmits(7)),
            (0x02, false, Reliability::LifetimeMs(7)),
            (0x82, true, Reliability::LifetimeMs(7)),
        ];

        for (kind, unordered, reliability) in types {
            let expected = Open { unordered, reliability, label: "chat".into(), protocol: "v1".into() };

            assert_eq!(parse(&open(kind, b"chat", b"v1")), Ok(Message::Open(expected)));
        }
        assert_eq!(parse(&open(0x03, b"chat", b"")), Err(ParseError::Malformed));
    }

    #[test]
    fn a_label_of_64_bytes_is_read_and_one_of_65_is_not() {
        assert!(parse(&open(0, &[b'a'; 64], b"")).is_ok());
        assert_eq!(parse(&open(0, &[b'a'; 65], b"")), Err(ParseError::TooLong));
        assert_eq!(parse(&open(0, b"", &[b'a'; 65])), Err(ParseError::TooLong));
    }

    #[test]
    fn a_message_cut_anywhere_or_with_a_tail_is_malformed() {
        let message = open(0, b"chat", b"v1");

        for len in 0..message.len() {
            assert_eq!(parse(&message[..len]), Err(ParseError::Malformed), "{len}");
        }
        assert_eq!(parse(&[message.as_slice(), &[0]].concat()), Err(ParseError::Malformed));
        assert_eq!(parse(&open(0, &[0xff, 0xfe], b"")), Err(ParseError::Malformed));
        assert_eq!(parse(&ACK), Ok(Message::Ack));
        assert_eq!(parse(&[2, 0]), Err(ParseError::Malformed));
    }

    fn open(kind: u8, label: &[u8], protocol: &[u8]) -> Vec<u8> {
        let mut message = vec![3, kind, 0, 0, 0, 0, 0, 7, 0, label.len() as u8, 0, protocol.len() as u8];
        message.extend_from_slice(label);
        message.extend_from_slice(protocol);
        message
    }
}
