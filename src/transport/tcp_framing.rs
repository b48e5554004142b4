//! Datagrams over TCP: a 16-bit length before each (RFC 4571), as ICE-TCP needs it (RFC 6544 §3).
//!
//! A [`Deframer`] is the receive buffer of one TCP stream: read into [`Deframer::space`], say how much with
//! [`Deframer::filled`], take frames until there is none.
//!
//! Invariants: a TCP stream holds at most [`BUFFER_BYTES`] bytes; a frame has 1 to [`FRAME_MAX`] bytes, and anything
//! else ends the TCP stream, because nothing after it can be found again.

use thiserror::Error;

/// The longest frame, without its length, in bytes.
pub const FRAME_MAX: usize = 2_048;

/// What a TCP stream's receive buffer holds, in bytes: two of the longest frames.
pub const BUFFER_BYTES: usize = 2 * (FRAME_MAX + LENGTH_BYTES);

/// The receive side of one TCP stream.
#[derive(Debug)]
pub struct Deframer {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Deframer {
    /// Makes an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    /// Returns where to read the next bytes into; never empty after [`Deframer::next_frame`] returned `None`.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Says that `count` bytes were read into the space.
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Copies bytes that were read elsewhere, and says how many found room.
    pub fn extend(&mut self, bytes: &[u8]) -> usize {
        let space = self.space();
        let count = space.len().min(bytes.len());
        for (to, from) in space.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.filled(count);
        count
    }

    /// Takes the next whole frame, without its length; `None` when more must be read first.
    ///
    /// # Errors
    /// A frame that cannot be: close the TCP stream.
    pub fn next_frame(&mut self) -> Result<Option<&mut [u8]>, FrameError> {
        let Some((length, _)) = self.pending().split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let len = usize::from(u16::from_be_bytes(*length));
        if len == 0 {
            return Err(FrameError::Empty);
        }
        if len > FRAME_MAX {
            return Err(FrameError::TooLong { bytes: len });
        }
        let body = self.start.saturating_add(LENGTH_BYTES);
        let next = body.saturating_add(len);
        if next > self.end {
            return Ok(None);
        }
        self.start = next;
        Ok(self.buffer.get_mut(body..next))
    }

    /// Returns what was read and not taken, as it came: whole frames with their lengths, and the beginning of one.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a TCP stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// A frame of no bytes.
    #[error("a frame of 0 bytes")]
    Empty,
    /// A frame longer than [`FRAME_MAX`].
    #[error("a frame of {bytes} bytes, at most 2048 are accepted")]
    TooLong {
        /// What its length says.
        bytes: usize,
    },
}

/// Appends a datagram with its length in front; says `false`, and appends nothing, when it is empty or too long.
pub fn frame(datagram: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(length) = frame_length(datagram.len()) else { return false };
    out.extend_from_slice(&length);
    out.extend_from_slice(datagram);
    true
}

/// Returns the bytes that stand before a datagram of `len` bytes, for writers that gather.
#[must_use]
pub fn frame_length(len: usize) -> Option<[u8; LENGTH_BYTES]> {
    let fits = (1..=FRAME_MAX).contains(&len);
    u16::try_from(len).ok().filter(|_| fits).map(u16::to_be_bytes)
}

const LENGTH_BYTES: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_whole_however_the_stream_is_cut() {
        let datagrams: Vec<Vec<u8>> =
            [1, 2, 20, 1_200, FRAME_MAX, 3, FRAME_MAX].map(|len| vec![len as u8; len]).into();
        let mut stream = Vec::new();
        for datagram in &datagrams {
            assert!(frame(datagram, &mut stream));
        }

        for cut in [1, 2, 3, 7, 1_000, 4_096, 100_000] {
            let mut deframer = Deframer::new();
            let mut frames = Vec::new();
            for mut piece in stream.chunks(cut) {
                while !piece.is_empty() {
                    let taken = deframer.extend(piece);
                    assert!(taken > 0, "no room after every whole frame was taken");
                    piece = &piece[taken..];
                    while let Some(frame) = deframer.next_frame().unwrap() {
                        frames.push(frame.to_vec());
                    }
                }
            }
            assert_eq!(frames, datagrams, "cut into pieces of {cut}");
        }
    }

    #[test]
    fn an_empty_frame_and_a_too_long_one_end_the_stream() {
        let mut empty = Deframer::new();
        let mut long = Deframer::new();

        empty.extend(&[0, 0, 9]);
        long.extend(&[8, 1]);

        assert_eq!(empty.next_frame(), Err(FrameError::Empty));
        assert_eq!(long.next_frame(), Err(FrameError::TooLong { bytes: 2_049 }));
        assert!(!frame(&[], &mut Vec::new()));
        assert!(!frame(&[0; FRAME_MAX + 1], &mut Vec::new()));
    }
}
