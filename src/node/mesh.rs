//! Bounded mailboxes between threads: from shard to shard, and from signaling to a shard.
//!
//! One lock-free queue per shard and a waker. A full mailbox drops the newest message and counts it; what that costs
//! is said at each variant. A shard that is awake is not woken again.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use mio::Waker;
use rtp::MediaKind;
use sfu::ring::Page;
use sfu::track::{Arrival, Epoch, LayerIndex, TrackInfo};
use sfu::viewer::LayerRequest;
use tokio::sync::oneshot;
use transport::ice::Credentials;
use transport::path::Path;

use crate::explain::Explanation;
use crate::name::{RoomId, SessionId};
use crate::registry::ShardId;
use crate::shard::wanted::LayerSet;

/// Why a session ends; the closed set that logs and metrics show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EndReason {
    /// Its owner sent DELETE.
    Deleted,
    /// Another publisher took the room over.
    TakenOver,
    /// The room ended, or the session never connected.
    Expired,
    /// The publisher's codec is not among the viewer's.
    Codec,
    /// The link closed it: DTLS, consent or fingerprint.
    Link,
    /// The node stops.
    Shutdown,
    /// A defect of ours; the session ended instead of the shard.
    Fault,
}

impl EndReason {
    pub(crate) const ALL: [Self; 7] =
        [Self::Deleted, Self::TakenOver, Self::Expired, Self::Codec, Self::Link, Self::Shutdown, Self::Fault];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::TakenOver => "taken-over",
            Self::Expired => "expired",
            Self::Codec => "codec",
            Self::Link => "link",
            Self::Shutdown => "shutdown",
            Self::Fault => "fault",
        }
    }
}

/// Packets of one room that arrived at its publisher's shard in one go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrivals {
    pub(crate) room: RoomId,
    pub(crate) epoch: Epoch,
    pub(crate) count: usize,
    pub(crate) items: [Arrival; ARRIVALS_MAX],
}

impl Arrivals {
    pub(crate) fn as_slice(&self) -> &[Arrival] {
        self.items.get(..self.count).unwrap_or_default()
    }
}

/// What a shard may be told.
#[expect(
    clippy::large_enum_variant,
    reason = "arrivals travel inline: a box would be an allocation per batch"
)]
#[derive(Debug)]
pub(crate) enum Message {
    /// A datagram of a session that the receiving shard owns. Dropped: as if the network had lost it.
    Datagram { path: Path, bytes: Box<[u8]> },
    /// A shard has, or no longer has, viewers in a room. That it has is repeated every second, and one that falls silent
    /// has none, so a drop heals.
    Interest { room: RoomId, shard: ShardId, wanted: bool },
    /// A publisher began, or a track of it changed; what was there of an earlier epoch is over. `resting` are the layers
    /// that are silent because the publisher was told that nobody wants them, or was told so until a moment ago. Dropped:
    /// a new publisher is not shown, or what changed is not known, until the next one, which comes with each sender
    /// report.
    Track { room: RoomId, from: ShardId, info: Box<TrackInfo>, resting: LayerSet },
    /// A page of a layer's ring, when it is opened. Dropped: the shard's viewers lose its packets and ask for them in vain;
    /// their picture goes on at a keyframe, for which they ask as well.
    Page { room: RoomId, epoch: Epoch, kind: MediaKind, layer: LayerIndex, page: Arc<Page> },
    /// Packets that now stand in the pages. Dropped: viewers ask for them again.
    Arrivals(Arrivals),
    /// The publisher left. Dropped: the shard's viewers, whose picture stands still in any case, do not learn why; the
    /// next publisher's track puts that right.
    Gone { room: RoomId, epoch: Epoch },
    /// Which layers the viewers of a shard want. Repeated every second, so a drop heals.
    Wanted { room: RoomId, shard: ShardId, layers: LayerSet },
    /// A viewer on another shard needs a keyframe. Dropped: it asks again.
    Keyframe { room: RoomId, layer: LayerIndex },
    /// A TCP socket that began with an ICE check. Dropped: the socket closes, and the other side tries another way.
    Tcp { socket: TcpStream, remote: SocketAddr, first: Box<[u8]> },
    /// A viewer's wish. Dropped: the viewer keeps the layer that it has until it asks again.
    SetLayer { session: SessionId, request: Box<LayerRequest> },
    /// Somebody wants to know why a session is as it is. Dropped: they ask again.
    Explain { session: SessionId, reply: oneshot::Sender<Explanation> },
    /// A new ICE generation. Dropped: checks of it are not answered; the session goes on over the paths it has, and ends
    /// with their consent unless ICE is restarted once more.
    RestartIce { session: SessionId, credentials: Credentials },
    /// The session has left the registry. Dropped: it goes on, out of reach of any request, until its other side closes it
    /// or consent runs out.
    End { session: SessionId, reason: EndReason },
}

#[derive(Debug)]
struct Mailbox {
    queue: ArrayQueue<Message>,
    waker: Waker,
    awake: AtomicBool,
    dropped: AtomicU64,
}

impl Mailbox {
    fn wake(&self) {
        if !self.awake.swap(true, Ordering::AcqRel) && self.waker.wake().is_err() {
            // The next message tries again; the shard also looks at least once a second.
            self.awake.store(false, Ordering::Release);
        }
    }
}

/// All mailboxes of a node.
#[derive(Clone, Debug)]
pub(crate) struct Mailboxes {
    boxes: Arc<[Mailbox]>,
}

impl Mailboxes {
    /// Makes one mailbox per waker.
    pub(crate) fn new(wakers: Vec<Waker>) -> Self {
        let boxes = wakers.into_iter().map(|waker| Mailbox {
            queue: ArrayQueue::new(MESSAGES_MAX),
            waker,
            awake: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        Self { boxes: boxes.collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.boxes.len()
    }

    /// Puts a message into a shard's mailbox and wakes it; a full mailbox counts a drop. Says whether it went in.
    pub(crate) fn post(&self, shard: ShardId, message: Message) -> bool {
        let Some(mailbox) = self.boxes.get(shard) else { return false };
        let accepted = mailbox.queue.push(message).is_ok();
        if !accepted {
            mailbox.dropped.fetch_add(1, Ordering::Relaxed);
        }
        mailbox.wake();
        accepted
    }

    /// Wakes every shard, so that each looks at what has changed for all.
    pub(crate) fn wake_all(&self) {
        self.boxes.iter().for_each(Mailbox::wake);
    }

    /// Takes the next message of a shard.
    pub(crate) fn take(&self, shard: ShardId) -> Option<Message> {
        self.boxes.get(shard)?.queue.pop()
    }

    /// Says that a shard is about to sleep. Returns false when mail has come in between.
    pub(crate) fn may_sleep(&self, shard: ShardId) -> bool {
        let Some(mailbox) = self.boxes.get(shard) else { return true };
        mailbox.awake.store(false, Ordering::Release);
        mailbox.queue.is_empty()
    }

    /// Returns how many messages all full mailboxes have dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.boxes.iter().map(|mailbox| mailbox.dropped.load(Ordering::Relaxed)).sum()
    }
}

/// A burst of a keyframe is a few hundred messages; this is a hundred milliseconds of a busy node.
const MESSAGES_MAX: usize = 8_192;

/// As many arrivals as make a message of a few cache lines.
pub(crate) const ARRIVALS_MAX: usize = 16;
