//! The packet ring: the recent packets of one layer, shared by fan-out, retransmission and joins. Packet path.
//!
//! Packets lie in pages of [`PAGE_SLOTS`] consecutive sequence numbers. One [`RingWriter`] (the publisher's
//! shard) fills the pages; every shard with viewers holds the same pages through its own [`Ring`]. A slot is
//! written once, and a reader sees it either empty or whole, also while the writer fills its neighbours: a page
//! is shared without a lock and without a data race.
//!
//! A page that has left the writer's window is used again as soon as no reader holds it, so that a ring
//! allocates only while it grows.
//!
//! **The newest group of pictures.** A reader is told of each packet once ([`Ring::handle_arrival`]) and keeps where
//! the newest keyframe is, so that a join finds it without a search ([`Ring::gop`]).
//!
//! **Invariants.** A page holds the sequence numbers `index × 64 .. (index + 1) × 64` and no others. Writer and
//! readers keep a page for [`Limits::age`] after the next one was opened, and never more than
//! [`Limits::bytes`]: a whole group of pictures of 4 s fits, because OBS and ffmpeg make no keyframe on request.
//! At the bound the oldest page goes.

pub(crate) mod gop;
mod temporal;

use std::collections::VecDeque;
use std::fmt;
use std::mem::size_of;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rtp::codec::MediaKind;
use rtp::{ExtSeq, MonoTime};

use self::gop::Tracker;
use crate::packet::{PACKET_BYTES_MAX, Packet, Parts};
use crate::track::{Arrival, LayerIndex, MAX_LAYERS};

pub use self::gop::Gop;
pub use self::temporal::Temporal;

/// How many consecutive packets a page holds.
pub const PAGE_SLOTS: usize = 64;

/// The memory that one page takes, in bytes.
pub const PAGE_BYTES: usize = PAGE_SLOTS * size_of::<OnceLock<Packet>>();

/// The longest group of pictures that a ring keeps whole, so that a viewer can be started from it: four seconds, which
/// is what OBS makes at most by default for low delay, with room.
pub const GOP_MAX: Duration = Duration::from_millis(4_500);

/// How many pages that left the window wait for their readers. Readers follow within one page, so two are
/// usual; beyond the bound the oldest is left to its readers and freed by the last of them.
const RETIRED_MAX: usize = 8;

/// How much a ring keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a page stays after the page behind it was opened.
    pub age: Duration,
    /// The most memory, in bytes; at least two pages are kept.
    pub bytes: usize,
}

impl Limits {
    const fn pages(self) -> usize {
        let pages = self.bytes / PAGE_BYTES;
        if pages < 2 { 2 } else { pages }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { age: GOP_MAX, bytes: 8 * 1024 * 1024 }
    }
}

/// Consecutive packets of one layer; shared between threads while it is being filled.
pub struct Page {
    index: u64,
    opened: MonoTime,
    slots: Box<[OnceLock<Packet>]>,
}

impl Page {
    fn new(index: u64, opened: MonoTime) -> Self {
        Self { index, opened, slots: std::iter::repeat_with(OnceLock::new).take(PAGE_SLOTS).collect() }
    }

    /// Empties a page for another use. The caller holds the only reference.
    fn reset(&mut self, index: u64, opened: MonoTime) {
        self.index = index;
        self.opened = opened;
        for slot in &mut self.slots {
            *slot = OnceLock::new();
        }
    }

    /// Returns the first sequence number of the page.
    #[must_use]
    pub const fn first(&self) -> ExtSeq {
        ExtSeq(self.index.saturating_mul(PAGE_SLOTS as u64))
    }

    /// Returns a packet of this page, if it is there.
    #[must_use]
    pub fn packet(&self, seq: ExtSeq) -> Option<&Packet> {
        if page_of(seq) != self.index {
            return None;
        }
        self.slot(seq)?.get()
    }

    fn slot(&self, seq: ExtSeq) -> Option<&OnceLock<Packet>> {
        self.slots.get(usize::try_from(seq.0 % PAGE_SLOTS as u64).ok()?)
    }

    fn packets(&self) -> impl DoubleEndedIterator<Item = &Packet> {
        self.slots.iter().filter_map(OnceLock::get)
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Page")
            .field("first", &self.first())
            .field("opened", &self.opened)
            .field("packets", &self.packets().count())
            .finish()
    }
}

/// What became of a packet.
#[derive(Debug)]
pub enum Inserted {
    /// It is in the ring. `page` is the page that this packet opened; readers need it before they hear of the
    /// packet.
    New {
        /// The opened page, if the packet did not fall into one that readers have.
        page: Option<Arc<Page>>,
    },
    /// It was there already; the first copy stays.
    Duplicate,
    /// It lies before everything that the ring keeps.
    TooOld,
    /// It exceeds [`PACKET_BYTES_MAX`].
    TooLarge,
}

/// The writing half of a layer's packet ring: one per layer, on the publisher's shard.
#[derive(Debug)]
pub struct RingWriter {
    limits: Limits,
    window: Window,
    retired: VecDeque<Arc<Page>>,
    /// Pages below this index have left the window.
    floor: u64,
}

impl RingWriter {
    /// Makes an empty ring. Pages are allocated as packets come.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            window: Window::new(limits),
            retired: VecDeque::with_capacity(RETIRED_MAX.saturating_add(1)),
            floor: 0,
        }
    }

    /// Copies a packet into its slot.
    pub fn insert(&mut self, parts: &Parts<'_>) -> Inserted {
        if parts.bytes() > PACKET_BYTES_MAX {
            return Inserted::TooLarge;
        }
        let index = page_of(parts.seq);
        if index < self.floor {
            return Inserted::TooOld;
        }
        if let Some(page) = self.window.page(index) {
            return if fill(page, parts) { Inserted::New { page: None } } else { Inserted::Duplicate };
        }
        if self.window.is_full_behind(self.limits, index) {
            return Inserted::TooOld;
        }
        let page = self.open(index, parts.arrival);
        fill(&page, parts);
        Inserted::New { page: Some(page) }
    }

    /// Returns a stored packet.
    #[must_use]
    pub fn packet(&self, seq: ExtSeq) -> Option<&Packet> {
        self.window.packet(seq)
    }

    /// Puts an empty page into the window, the oldest pages making room.
    fn open(&mut self, index: u64, now: MonoTime) -> Arc<Page> {
        while let Some(page) = self.window.pop_expired(self.limits, index, now) {
            self.floor = self.floor.max(page.index.saturating_add(1));
            self.retired.push_back(page);
            if self.retired.len() > RETIRED_MAX {
                self.retired.pop_front();
            }
        }
        let page = self.recycle(index, now).unwrap_or_else(|| Arc::new(Page::new(index, now)));
        self.window.insert(Arc::clone(&page));
        page
    }

    fn recycle(&mut self, index: u64, now: MonoTime) -> Option<Arc<Page>> {
        let free = self.retired.iter_mut().position(|page| Arc::get_mut(page).is_some())?;
        let mut page = self.retired.remove(free)?;
        Arc::get_mut(&mut page)?.reset(index, now);
        Some(page)
    }
}

/// The reading half of a layer's packet ring: one per shard with viewers.
#[derive(Debug)]
pub struct Ring {
    limits: Limits,
    window: Window,
    tracker: Tracker,
}

impl Ring {
    /// Makes an empty ring that keeps as much as its writer.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// Makes an empty ring with its own bounds.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, window: Window::new(limits), tracker: Tracker::default() }
    }

    /// Takes a page that the writer opened, and lets go of those past the bounds. What the page holds already counts
    /// as arrived.
    pub fn add_page(&mut self, page: Arc<Page>) {
        while self.window.pop_expired(self.limits, page.index, page.opened).is_some() {}
        self.window.insert(Arc::clone(&page));
        let Self { window, tracker, .. } = self;
        for packet in page.packets() {
            tracker.note(packet, |seq| window.packet(seq));
        }
    }

    /// Learns that a packet is there. Whoever hands out arrivals calls this once for each, before viewers do anything
    /// with it.
    pub fn handle_arrival(&mut self, seq: ExtSeq) {
        let Self { window, tracker, .. } = self;
        if let Some(packet) = window.packet(seq) {
            tracker.note(packet, |seq| window.packet(seq));
        }
    }

    /// Returns the newest group of pictures, if its keyframe is still kept.
    #[must_use]
    pub fn gop(&self) -> Option<Gop> {
        self.tracker.gop().copied().filter(|gop| self.window.packet(gop.keyframe).is_some())
    }

    /// Returns the highest packet that has arrived; later ones may be there already.
    #[must_use]
    pub const fn newest(&self) -> Option<ExtSeq> {
        self.tracker.newest()
    }

    /// Returns when the next keyframe should come, if keyframes came at regular distances.
    #[must_use]
    pub fn next_keyframe(&self) -> Option<MonoTime> {
        self.tracker.next_keyframe()
    }

    /// Returns the temporal layers of the last seconds.
    #[must_use]
    pub fn temporal(&self) -> Temporal {
        self.tracker.temporal()
    }

    /// Returns a packet, if it has arrived and is still kept.
    #[must_use]
    pub fn packet(&self, seq: ExtSeq) -> Option<&Packet> {
        self.window.packet(seq)
    }

    /// Returns the pages kept, oldest first, for a shard that begins to read.
    pub fn pages(&self) -> impl Iterator<Item = &Arc<Page>> {
        self.window.pages.iter()
    }

    /// Returns the first sequence number that is kept; lower ones have left.
    #[must_use]
    pub fn oldest(&self) -> Option<ExtSeq> {
        self.window.pages.front().map(|page| page.first())
    }

    /// Returns the highest sequence number that is stored.
    #[must_use]
    pub fn highest(&self) -> Option<ExtSeq> {
        self.window.packets().next_back().map(|packet| packet.seq)
    }

    /// Lets go of every page, when the publisher has left or another epoch begins.
    pub fn clear(&mut self) {
        self.window.pages.clear();
        self.tracker = Tracker::default();
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

/// The rings of one room on one shard: one of audio, one per layer of video.
#[derive(Debug, Default)]
pub struct Rings {
    audio: Ring,
    video: [Ring; MAX_LAYERS],
}

impl Rings {
    /// Makes empty rings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the ring of a layer. A layer past the last falls on the last; publishers make none.
    #[must_use]
    pub const fn get(&self, kind: MediaKind, layer: LayerIndex) -> &Ring {
        let [first, second, third, fourth] = &self.video;
        match (kind, layer.0) {
            (MediaKind::Audio, _) => &self.audio,
            (MediaKind::Video, 0) => first,
            (MediaKind::Video, 1) => second,
            (MediaKind::Video, 2) => third,
            (MediaKind::Video, _) => fourth,
        }
    }

    /// Returns the ring of a layer, to add pages to it.
    pub const fn get_mut(&mut self, kind: MediaKind, layer: LayerIndex) -> &mut Ring {
        let [first, second, third, fourth] = &mut self.video;
        match (kind, layer.0) {
            (MediaKind::Audio, _) => &mut self.audio,
            (MediaKind::Video, 0) => first,
            (MediaKind::Video, 1) => second,
            (MediaKind::Video, 2) => third,
            (MediaKind::Video, _) => fourth,
        }
    }

    /// Learns that a packet is in its ring; see [`Ring::handle_arrival`].
    pub fn handle_arrival(&mut self, arrival: Arrival) {
        self.get_mut(arrival.kind, arrival.layer).handle_arrival(arrival.seq);
    }

    /// Lets go of every page, when another epoch begins: its sequence numbers have nothing to do with these.
    pub fn reset(&mut self) {
        self.audio.clear();
        self.video.iter_mut().for_each(Ring::clear);
    }
}

/// Pages in rising order of their index; gaps in the index are allowed.
#[derive(Debug)]
struct Window {
    pages: VecDeque<Arc<Page>>,
}

impl Window {
    fn new(limits: Limits) -> Self {
        Self { pages: VecDeque::with_capacity(limits.pages().saturating_add(1)) }
    }

    fn page(&self, index: u64) -> Option<&Page> {
        let newest = self.pages.back()?;
        // Nearly always the pages follow each other without a gap and the packet lies in the newest ones.
        let from_end = usize::try_from(newest.index.checked_sub(index)?).ok()?;
        let guess =
            self.pages.len().checked_sub(from_end.saturating_add(1)).and_then(|at| self.pages.get(at));
        if let Some(page) = guess.filter(|page| page.index == index) {
            return Some(page);
        }
        let at = self.pages.binary_search_by_key(&index, |page| page.index).ok()?;
        self.pages.get(at).map(AsRef::as_ref)
    }

    fn packet(&self, seq: ExtSeq) -> Option<&Packet> {
        self.page(page_of(seq))?.packet(seq)
    }

    fn packets(&self) -> impl DoubleEndedIterator<Item = &Packet> {
        self.pages.iter().flat_map(|page| page.packets())
    }

    fn insert(&mut self, page: Arc<Page>) {
        match self.pages.binary_search_by_key(&page.index, |known| known.index) {
            Ok(at) => {
                if let Some(known) = self.pages.get_mut(at) {
                    *known = page;
                }
            }
            Err(at) => self.pages.insert(at, page),
        }
    }

    /// True when page `index` lies before all others and there is room for none.
    fn is_full_behind(&self, limits: Limits, index: u64) -> bool {
        self.pages.len() >= limits.pages() && self.pages.front().is_some_and(|oldest| index < oldest.index)
    }

    /// Takes out the oldest page if the bounds demand it before page `index` comes in at `now`. Only pages below
    /// `index` go, so that a late page cannot push out a newer one.
    fn pop_expired(&mut self, limits: Limits, index: u64, now: MonoTime) -> Option<Arc<Page>> {
        let oldest = self.pages.front().filter(|page| page.index < index)?;
        let full = self.pages.len() >= limits.pages();
        let closed = self.pages.get(1).map_or(oldest.opened, |next| next.opened);
        let expired = self.pages.len() > 1 && now.since(closed) > limits.age;
        if full || expired { self.pages.pop_front() } else { None }
    }
}

fn page_of(seq: ExtSeq) -> u64 {
    seq.0 / PAGE_SLOTS as u64
}

/// Writes a packet into its slot; false when the slot is taken. Built in place, so that it is copied once.
fn fill(page: &Page, parts: &Parts<'_>) -> bool {
    let Some(slot) = page.slot(parts.seq) else { return false };
    let mut new = false;
    slot.get_or_init(|| {
        new = true;
        Packet::assemble(parts)
    });
    new
}

#[cfg(test)]
mod tests;
