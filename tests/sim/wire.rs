//! RTP on the wire, written and read from RFC 3550, RFC 8285, RFC 4588 and RFC 7741, with nothing of the server's.

/// The fixed part of an RTP header that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) seq: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
}

/// A packet that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtp<'a> {
    pub(crate) header: Header,
    profile: u16,
    extensions: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// Writes a packet with one-byte extension elements (RFC 8285 §4.2).
pub(crate) fn write(header: Header, elements: &[(u8, &[u8])], payload: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + payload.iter().map(|part| part.len()).sum::<usize>());
    out.push(0x80 | u8::from(!elements.is_empty()) << 4);
    out.push(u8::from(header.marker) << 7 | header.payload_type);
    out.extend(header.seq.to_be_bytes());
    out.extend(header.timestamp.to_be_bytes());
    out.extend(header.ssrc.to_be_bytes());
    if !elements.is_empty() {
        out.extend([0xbe, 0xde, 0, 0]);
        let begin = out.len();
        for (id, value) in elements {
            out.push(id << 4 | (value.len() - 1) as u8);
            out.extend(*value);
        }
        while !(out.len() - begin).is_multiple_of(4) {
            out.push(0);
        }
        let words = ((out.len() - begin) / 4) as u16;
        out[begin - 2..begin].copy_from_slice(&words.to_be_bytes());
    }
    payload.iter().for_each(|part| out.extend(*part));
    out
}

impl<'a> Rtp<'a> {
    /// Reads a packet; what is wrong with it, if anything.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let fixed = bytes.first_chunk::<12>().ok_or_else(|| format!("{} bytes are no RTP", bytes.len()))?;
        if fixed[0] >> 6 != 2 {
            return Err(format!("RTP version {}", fixed[0] >> 6));
        }
        let header = Header {
            payload_type: fixed[1] & 0x7f,
            marker: fixed[1] & 0x80 != 0,
            seq: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        let mut rest = bytes.get(12 + usize::from(fixed[0] & 0x0f) * 4..).ok_or("CSRCs are cut short")?;
        let (mut profile, mut extensions) = (0, [].as_slice());
        if fixed[0] & 0x10 != 0 {
            let (head, behind) = rest.split_first_chunk::<4>().ok_or("extension header is cut short")?;
            profile = u16::from_be_bytes([head[0], head[1]]);
            let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
            (extensions, rest) = behind.split_at_checked(words * 4).ok_or("extensions are cut short")?;
        }
        if fixed[0] & 0x20 != 0 {
            let count = usize::from(*rest.last().ok_or("padding without a byte")?);
            let left = rest.len().checked_sub(count).filter(|_| count > 0).ok_or("wrong padding")?;
            rest = &rest[..left];
        }
        Ok(Self { header, profile, extensions, payload: rest })
    }

    /// Returns the value of an extension element, in either form.
    pub(crate) fn element(&self, wanted: u8) -> Option<&'a [u8]> {
        let mut rest = self.extensions;
        while let Some((&first, behind)) = rest.split_first() {
            if first == 0 {
                rest = behind;
                continue;
            }
            let (id, length, behind) = if self.profile == 0xbede {
                (first >> 4, usize::from(first & 0x0f) + 1, behind)
            } else {
                (first, usize::from(*behind.first()?), behind.get(1..)?)
            };
            let (value, behind) = behind.split_at_checked(length)?;
            if id == wanted {
                return Some(value);
            }
            rest = behind;
        }
        None
    }

    /// Returns a two-byte element as a number: the transport-wide one.
    pub(crate) fn number(&self, wanted: u8) -> Option<u16> {
        self.element(wanted)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }
}

/// What a VP8 payload descriptor says (RFC 7741 §4.2), as the encoder here fills it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vp8 {
    /// First packet of the frame.
    pub(crate) start: bool,
    pub(crate) keyframe: bool,
    /// 15 bits.
    pub(crate) picture: u16,
    pub(crate) tl0: u8,
    pub(crate) temporal: u8,
    pub(crate) sync: bool,
}

impl Vp8 {
    /// Writes the descriptor and, at the frame's start, its header (RFC 7741 §4.3).
    pub(crate) fn write(&self, size: (u16, u16)) -> Vec<u8> {
        let [high, low] = self.picture.to_be_bytes();
        let mut out = vec![0x80 | u8::from(self.start) << 4, 0xe0, 0x80 | high, low, self.tl0];
        out.push(self.temporal << 6 | u8::from(self.sync) << 5);
        if self.start {
            out.extend([u8::from(!self.keyframe), 0, 0]);
            if self.keyframe {
                out.extend([0x9d, 0x01, 0x2a]);
                out.extend(size.0.to_le_bytes());
                out.extend(size.1.to_le_bytes());
            }
        }
        out
    }

    /// Reads the descriptor, and how many bytes it and the frame's header take.
    pub(crate) fn read(payload: &[u8]) -> Option<(Self, usize)> {
        let head = payload.first_chunk::<6>()?;
        if head[0] & 0x80 == 0 || head[1] != 0xe0 || head[2] & 0x80 == 0 {
            return None;
        }
        let start = head[0] & 0x17 == 0x10;
        let keyframe = start && payload.get(6)? & 1 == 0;
        let length = 6 + if start { 3 + if keyframe { 7 } else { 0 } } else { 0 };
        let read = Self {
            start,
            keyframe,
            picture: u16::from_be_bytes([head[2] & 0x7f, head[3]]),
            tl0: head[4],
            temporal: head[5] >> 6,
            sync: head[5] & 0x20 != 0,
        };
        Some((read, length))
    }
}

/// What a packet's payload carries to be known again at the other end: nothing of it means anything to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) layer: u8,
    /// Counts the frames of all layers alike: it is the capture time.
    pub(crate) frame: u32,
    pub(crate) index: u16,
    pub(crate) count: u16,
}

impl Stamp {
    pub(crate) const BYTES: usize = 9;

    pub(crate) fn write(self) -> [u8; Self::BYTES] {
        let [f0, f1, f2, f3] = self.frame.to_be_bytes();
        let ([i0, i1], [c0, c1]) = (self.index.to_be_bytes(), self.count.to_be_bytes());
        [self.layer, f0, f1, f2, f3, i0, i1, c0, c1]
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [layer, f0, f1, f2, f3, i0, i1, c0, c1] = *bytes.first_chunk()?;
        Some(Self {
            layer,
            frame: u32::from_be_bytes([f0, f1, f2, f3]),
            index: u16::from_be_bytes([i0, i1]),
            count: u16::from_be_bytes([c0, c1]),
        })
    }
}

/// Unwraps numbers of `bits` bits by their distance to the newest (RFC 3550 appendix A.1, without its probation).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unwrapper {
    newest: Option<u64>,
}

impl Unwrapper {
    pub(crate) fn unwrap(&mut self, number: u16, bits: u32) -> u64 {
        let modulus = 1_u64 << bits;
        let Some(newest) = self.newest else {
            // Room for numbers from before the first.
            let first = modulus * 4 + u64::from(number);
            self.newest = Some(first);
            return first;
        };
        let ahead = u64::from(number).wrapping_sub(newest) & (modulus - 1);
        let full = if ahead < modulus / 2 { newest + ahead } else { newest + ahead - modulus };
        self.newest = Some(newest.max(full));
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let header = Header { payload_type: 96, marker: true, seq: 7, timestamp: 9, ssrc: 11 };
        let vp8 = Vp8 { start: true, keyframe: true, picture: 0x1234, tl0: 5, temporal: 2, sync: true };
        let stamp = Stamp { layer: 1, frame: 70_000, index: 3, count: 4 };
        let bytes =
            write(header, &[(3, &[1, 2]), (4, b"h")], &[&vp8.write((640, 360)), &stamp.write(), &[0; 100]]);

        let read = Rtp::read(&bytes).unwrap();

        assert_eq!(read.header, header);
        assert_eq!((read.number(3), read.element(4)), (Some(0x0102), Some(b"h".as_slice())));
        let (descriptor, length) = Vp8::read(read.payload).unwrap();
        assert_eq!(descriptor, vp8);
        assert_eq!(Stamp::read(&read.payload[length..]), Some(stamp));
    }

    #[test]
    fn numbers_unwrap_in_both_directions() {
        let mut unwrapper = Unwrapper::default();

        let first = unwrapper.unwrap(65_530, 16);

        assert_eq!(
            [2, 65_529, 3].map(|number| unwrapper.unwrap(number, 16) as i64 - first as i64),
            [8, -1, 9]
        );
    }
}
