//! What a hostile viewer sends, and how much of it is due.

use std::io::IoSlice;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use anyhow::Context;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use rtp::rtcp::{ReportBlock, Writer};
use rtp::{MonoTime, SeqNo, Ssrc};

use super::Kind;
use crate::guest::Guest;
use crate::link::Random;

/// One viewer's flood.
#[derive(Debug)]
pub(super) struct Flood {
    kind: Kind,
    pace: Pace,
    sent: u64,
    began: Option<MonoTime>,
    garbage: Vec<Vec<u8>>,
    stranger: UdpSocket,
}

/// How much is due.
#[derive(Debug, Clone, Copy)]
struct Pace {
    rate: f64,
    last: Option<MonoTime>,
    credit: f64,
}

impl Flood {
    pub(super) fn new(kind: Kind, rate: f64) -> anyhow::Result<Self> {
        let stranger = UdpSocket::bind("0.0.0.0:0").context("cannot open a socket")?;
        stranger.set_nonblocking(true)?;
        let mut random = Random::from_machine();
        let garbage = (0..GARBAGE_KINDS).map(|_| garbage(&mut random)).collect();
        Ok(Self {
            kind,
            pace: Pace { rate, last: None, credit: 0.0 },
            sent: 0,
            began: None,
            garbage,
            stranger,
        })
    }

    /// Sends what is due, once the session is connected.
    pub(super) fn turn(&mut self, now: MonoTime, session: &mut Guest) {
        if session.profile().is_none() {
            return;
        }
        self.began = self.began.or(Some(now));
        let due = self.pace.due(now);
        let sent = match self.kind {
            Kind::SlowReader => 0,
            Kind::NackFlood => nacks(session, due),
            Kind::PliFlood => repeated(session, due, |writer, media| {
                writer.receiver_report(OURS, &[]) && writer.pli(OURS, media)
            }),
            Kind::RtcpFlood => repeated(session, due, |writer, media| {
                writer.receiver_report(OURS, &[report(media); REPORT_BLOCKS])
                    && writer.sdes_cname(OURS, "flood")
            }),
            Kind::Garbage => self.throw_garbage(session, due),
        };
        self.sent = self.sent.saturating_add(u64::try_from(sent).unwrap_or(u64::MAX));
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// When its session was connected.
    pub(super) const fn began(&self) -> Option<MonoTime> {
        self.began
    }

    fn throw_garbage(&self, session: &mut Guest, due: usize) -> usize {
        let own = due / 2;
        let thrown = self.garbage.iter().cycle().take(own).filter(|datagram| session.send(datagram)).count();
        thrown.saturating_add(self.throw_as_stranger(session, due.saturating_sub(own)))
    }

    fn throw_as_stranger(&self, session: &Guest, due: usize) -> usize {
        let to = [Some(SockaddrStorage::from(session.server())); GARBAGE_KINDS];
        let slices: Vec<[IoSlice<'_>; 1]> = self.garbage.iter().map(|bytes| [IoSlice::new(bytes)]).collect();
        let no_messages: [ControlMessage<'_>; 0] = [];
        let mut headers = MultiHeaders::preallocate(GARBAGE_KINDS, None);
        let mut sent = 0_usize;
        while sent < due {
            let group = slices.iter().take(due.saturating_sub(sent));
            let flags = MsgFlags::empty();
            let done = sendmmsg(self.stranger.as_raw_fd(), &mut headers, group, to, no_messages, flags);
            match done.map(Iterator::count) {
                Ok(done) if done > 0 => sent = sent.saturating_add(done),
                // What could not be sent is not owed.
                _ => break,
            }
        }
        sent
    }
}

impl Pace {
    /// What is due since the last call; after a pause not more than [`BURST_S`] holds, so that a flood which fell
    /// behind does not become a burst.
    fn due(&mut self, now: MonoTime) -> usize {
        let passed = self.last.map_or(0.0, |last| now.since(last).as_secs_f64());
        self.last = Some(now);
        self.credit = (self.credit + self.rate * passed).min((self.rate * BURST_S).max(1.0));
        let due = self.credit.floor();
        self.credit -= due;
        // At most the greatest rate in a tenth of a second.
        due as usize
    }
}

/// Asks for the newest packets again, as often as it takes to ask for `due`.
fn nacks(session: &mut Guest, due: usize) -> usize {
    let Some((media, newest)) = session.newest() else { return 0 };
    let mut asked = 0_usize;
    while asked < due {
        let count = due.saturating_sub(asked).min(NACKED_AT_ONCE);
        let seqs: Vec<SeqNo> = newest_of(newest, count);
        let sent = compound(session, media, |writer, media| {
            writer.receiver_report(OURS, &[]) && writer.nack(OURS, media, &seqs)
        });
        if !sent {
            break;
        }
        asked = asked.saturating_add(count);
    }
    asked
}

/// The `count` newest numbers, rising.
fn newest_of(newest: SeqNo, count: usize) -> Vec<SeqNo> {
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    (0..count).rev().map(|back| SeqNo(newest.0.wrapping_sub(back))).collect()
}

fn repeated(session: &mut Guest, due: usize, write: impl Fn(&mut Writer<'_>, Ssrc) -> bool) -> usize {
    let Some((media, _)) = session.newest() else { return 0 };
    (0..due).take_while(|_| compound(session, media, &write)).count()
}

fn compound(session: &mut Guest, media: Ssrc, write: impl Fn(&mut Writer<'_>, Ssrc) -> bool) -> bool {
    let mut buffer = [0; COMPOUND_BYTES_MAX];
    let mut writer = Writer::new(&mut buffer);
    let written = write(&mut writer, media);
    let length = writer.finish();
    written && session.send_rtcp(buffer.get(..length).unwrap_or_default())
}

const fn report(media: Ssrc) -> ReportBlock {
    ReportBlock {
        ssrc: media,
        fraction_lost: 200,
        cumulative_lost: 1_000_000,
        highest_seq: u32::MAX,
        jitter: u32::MAX,
        last_sr: 1,
        delay_since_last_sr: u32::MAX,
    }
}

/// Random bytes whose first one makes them look like something.
fn garbage(random: &mut Random) -> Vec<u8> {
    let length = usize::try_from(random.below(GARBAGE_BYTES_MAX)).unwrap_or_default().saturating_add(1);
    let mut bytes: Vec<u8> = Vec::with_capacity(length);
    while bytes.len() < length {
        bytes.extend(random.bytes::<64>());
    }
    bytes.truncate(length);
    let kind = usize::try_from(random.below(5)).unwrap_or_default();
    // STUN, DTLS, RTP, RTCP (by its second byte), and nothing (RFC 7983).
    let head: &[u8] =
        [&[0_u8][..], &[22], &[0x80, 96], &[0x80, 200], &[255]].get(kind).copied().unwrap_or_default();
    for (byte, wanted) in bytes.iter_mut().zip(head) {
        *byte = *wanted;
    }
    bytes
}

/// Our own source number: nobody sends with it.
const OURS: Ssrc = Ssrc(1);
const REPORT_BLOCKS: usize = 8;
/// A second of video at a few hundred packets a second: what a ring still has.
const NACKED_AT_ONCE: usize = 200;
const COMPOUND_BYTES_MAX: usize = 1_200;
const GARBAGE_KINDS: usize = 64;
const GARBAGE_BYTES_MAX: u64 = 300;
const BURST_S: f64 = 0.1;

#[cfg(test)]
mod tests {
    use rtp::demux::{Kind as Datagram, classify};

    use super::*;

    #[test]
    fn what_is_due_follows_the_rate_and_is_no_burst_after_a_pause() {
        let mut pace = Pace { rate: 1_000.0, last: None, credit: 0.0 };

        assert_eq!(pace.due(MonoTime::from_millis(5)), 0);
        assert_eq!(pace.due(MonoTime::from_millis(9)), 4);
        assert_eq!(pace.due(MonoTime::from_millis(60_000)), 100);
    }

    #[test]
    fn a_slow_rate_is_kept_over_short_turns() {
        let mut pace = Pace { rate: 10.0, last: None, credit: 0.0 };

        let due: usize = (0..=1_000).map(|turn| pace.due(MonoTime::from_millis(turn * 2))).sum();

        assert!((19..=20).contains(&due), "{due}");
    }

    #[test]
    fn the_newest_numbers_rise_over_the_wrap() {
        assert_eq!(newest_of(SeqNo(1), 3), [SeqNo(u16::MAX), SeqNo(0), SeqNo(1)]);
    }

    #[test]
    fn garbage_looks_like_every_kind_of_datagram() {
        let mut random = Random::new(1);

        let kinds: Vec<Datagram> = (0..200).map(|_| classify(&garbage(&mut random))).collect();

        for kind in [Datagram::Stun, Datagram::Dtls, Datagram::Rtp, Datagram::Rtcp, Datagram::Unknown] {
            assert!(kinds.contains(&kind), "{kind:?}");
        }
    }
}
