//! RTCP on the wire, written and read from RFC 3550, RFC 4585, RFC 5104 and the transport-wide congestion control
//! draft, with nothing of the server's.

/// What of a compound matters to the one who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// A sender's: its source and the middle of its wall time.
    Sender { ssrc: u32, middle: u32 },
    /// The numbers of a source that were lost.
    Nack { media: u32, lost: Vec<u16> },
    /// A picture of this source is wanted.
    KeyframeWanted { media: u32 },
    /// Transport-wide feedback; nobody here sends by it.
    Transport,
}

/// A receiver's report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) ssrc: u32,
    pub(crate) fraction: u8,
    pub(crate) lost: u32,
    pub(crate) highest: u32,
    pub(crate) jitter: u32,
    pub(crate) last_sender: u32,
    pub(crate) delay: u32,
}

/// Reads a compound; what is wrong with it, if anything.
pub(crate) fn read(mut bytes: &[u8]) -> Result<Vec<Report>, String> {
    let mut reports = Vec::new();
    while !bytes.is_empty() {
        let head = bytes.first_chunk::<8>().ok_or("an RTCP packet is cut short")?;
        let length = (usize::from(u16::from_be_bytes([head[2], head[3]])) + 1) * 4;
        if head[0] >> 6 != 2 || length < 8 {
            return Err(format!("no RTCP packet: {head:?}"));
        }
        let (packet, rest) = bytes.split_at_checked(length).ok_or("an RTCP packet is cut short")?;
        bytes = rest;
        let word = |at: usize| {
            packet.get(at..at + 4).map_or(0, |it| u32::from_be_bytes([it[0], it[1], it[2], it[3]]))
        };
        match (head[1], head[0] & 0x1f) {
            (200, _) => {
                let middle = word(8) << 16 | word(12) >> 16;
                reports.push(Report::Sender { ssrc: word(4), middle });
            }
            (205, 1) => {
                let lost = packet[12..].chunks_exact(4).flat_map(|entry| {
                    let (first, mask) =
                        (u16::from_be_bytes([entry[0], entry[1]]), u16::from_be_bytes([entry[2], entry[3]]));
                    let others = (0..16).filter(move |bit| mask >> bit & 1 == 1);
                    std::iter::once(first).chain(others.map(move |bit| first.wrapping_add(bit + 1)))
                });
                reports.push(Report::Nack { media: word(8), lost: lost.collect() });
            }
            (205, 15) => reports.push(Report::Transport),
            (206, 1) => reports.push(Report::KeyframeWanted { media: word(8) }),
            (206, 4) => {
                let targets = packet[12..].chunks_exact(8);
                reports.extend(targets.map(|it| Report::KeyframeWanted {
                    media: u32::from_be_bytes([it[0], it[1], it[2], it[3]]),
                }));
            }
            _ => {}
        }
    }
    Ok(reports)
}

/// Writes a sender report with a CNAME (RFC 3550 §6.4.1, §6.5).
pub(crate) fn sender_report(ssrc: u32, ntp: u64, timestamp: u32, (packets, octets): (u32, u32)) -> Vec<u8> {
    let mut out = vec![0x80, 200, 0, 6];
    out.extend(ssrc.to_be_bytes());
    out.extend(ntp.to_be_bytes());
    [timestamp, packets, octets].iter().for_each(|word| out.extend(word.to_be_bytes()));
    out.extend([0x81, 202, 0, 3]);
    out.extend(ssrc.to_be_bytes());
    out.extend([1, 4, b's', b'i', b'm', b's', 0, 0]);
    out
}

/// Begins a receiver's compound: its report (RFC 3550 §6.4.2).
pub(crate) fn receiver_report(ssrc: u32, blocks: &[Block]) -> Vec<u8> {
    let mut out = vec![0x80 | blocks.len() as u8, 201];
    out.extend((1 + 6 * blocks.len() as u16).to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    for block in blocks {
        out.extend(block.ssrc.to_be_bytes());
        out.extend((u32::from(block.fraction) << 24 | block.lost & 0xff_ffff).to_be_bytes());
        let words = [block.highest, block.jitter, block.last_sender, block.delay];
        words.iter().for_each(|word| out.extend(word.to_be_bytes()));
    }
    out
}

/// Appends a generic NACK (RFC 4585 §6.2.1) of rising numbers.
pub(crate) fn nack(out: &mut Vec<u8>, ssrc: u32, media: u32, lost: &[u16]) {
    let mut entries: Vec<(u16, u16)> = Vec::new();
    for number in lost {
        if let Some((first, mask)) = entries.last_mut()
            && (1..=16).contains(&number.wrapping_sub(*first))
        {
            *mask |= 1 << (number.wrapping_sub(*first) - 1);
        } else {
            entries.push((*number, 0));
        }
    }
    out.extend([0x81, 205]);
    out.extend((2 + entries.len() as u16).to_be_bytes());
    out.extend(ssrc.to_be_bytes());
    out.extend(media.to_be_bytes());
    for (first, mask) in entries {
        out.extend(first.to_be_bytes());
        out.extend(mask.to_be_bytes());
    }
}

/// Appends a picture loss indication (RFC 4585 §6.3.1).
pub(crate) fn picture_lost(out: &mut Vec<u8>, ssrc: u32, media: u32) {
    out.extend([0x81, 206, 0, 2]);
    out.extend(ssrc.to_be_bytes());
    out.extend(media.to_be_bytes());
}

/// What one transport-wide feedback packet says: from `base` on, when each number arrived.
#[derive(Clone, Debug)]
pub(crate) struct Transport<'a> {
    pub(crate) base: u16,
    pub(crate) count: u8,
    /// In microseconds.
    pub(crate) arrivals: &'a [Option<u64>],
}

/// Appends a transport-wide feedback packet (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1), and returns how
/// many of the numbers it could say: a gap of more than eight seconds between two arrivals ends it.
pub(crate) fn transport(out: &mut Vec<u8>, ssrc: u32, media: u32, feedback: &Transport<'_>) -> usize {
    let reference = feedback.arrivals.iter().flatten().next().copied().unwrap_or(0) / TICK_US / 256;
    let mut at = reference * 256;
    let (mut symbols, mut deltas): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for arrival in feedback.arrivals {
        let Some(arrival) = arrival else {
            symbols.push(0);
            continue;
        };
        let ticks = (arrival / TICK_US) as i64 - at as i64;
        if let Ok(small) = u8::try_from(ticks) {
            symbols.push(1);
            deltas.push(small);
        } else if let Ok(large) = i16::try_from(ticks) {
            symbols.push(2);
            deltas.extend(large.to_be_bytes());
        } else {
            break;
        }
        at = arrival / TICK_US;
    }
    let begin = out.len();
    out.extend([0x8f, 205, 0, 0]);
    out.extend(ssrc.to_be_bytes());
    out.extend(media.to_be_bytes());
    out.extend(feedback.base.to_be_bytes());
    out.extend((symbols.len() as u16).to_be_bytes());
    out.extend(&((reference as u32) << 8 | u32::from(feedback.count)).to_be_bytes());
    write_chunks(out, &symbols);
    out.extend(deltas);
    while !(out.len() - begin).is_multiple_of(4) {
        out.push(0);
    }
    let words = ((out.len() - begin) / 4 - 1) as u16;
    out[begin + 2..begin + 4].copy_from_slice(&words.to_be_bytes());
    symbols.len()
}

fn write_chunks(out: &mut Vec<u8>, symbols: &[u8]) {
    let mut rest = symbols;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take_while(|symbol| **symbol == first).count().min(0x1fff);
        let (chunk, taken) = if run > 14 || run == rest.len() {
            (u16::from(first) << 13 | run as u16, run)
        } else if rest.iter().take(14).all(|symbol| *symbol < 2) {
            let taken = rest.len().min(14);
            let bits = (0..taken).map(|at| u16::from(rest[at]) << (13 - at)).sum::<u16>();
            (0x8000 | bits, taken)
        } else {
            let taken = rest.len().min(7);
            let bits = (0..taken).map(|at| u16::from(rest[at]) << (12 - 2 * at)).sum::<u16>();
            (0xc000 | bits, taken)
        };
        out.extend(chunk.to_be_bytes());
        rest = &rest[taken..];
    }
}

/// The unit of arrival times.
const TICK_US: u64 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_numbers_are_named_across_the_wrap() {
        let mut out = receiver_report(1, &[]);
        let lost = [65_533, 65_534, 2, 13, 14, 100];
        nack(&mut out, 1, 9, &lost);
        picture_lost(&mut out, 1, 9);

        let read = read(&out).unwrap();

        let expected =
            vec![Report::Nack { media: 9, lost: lost.to_vec() }, Report::KeyframeWanted { media: 9 }];
        assert_eq!(read, expected);
    }

    #[test]
    fn transport_wide_feedback_is_as_the_draft_draws_it() {
        let mut out = Vec::new();
        let arrivals = [Some(64_000), None, Some(64_500), Some(200_000), Some(199_000)];
        let feedback = Transport { base: 5, count: 3, arrivals: &arrivals };

        assert_eq!(transport(&mut out, 1, 2, &feedback), 5);

        let two_bits = 0xc000_u16 | 1 << 12 | 1 << 8 | 2 << 6 | 2 << 4;
        let [high, low] = two_bits.to_be_bytes();
        let [d0, d1] = 542_i16.to_be_bytes();
        let [e0, e1] = (-4_i16).to_be_bytes();
        assert_eq!(
            out,
            [
                0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 5, 0, 0, 1, 3, high, low, 0, 2, d0, d1, e0,
                e1
            ]
        );
    }
}
