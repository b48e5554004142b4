//! Which layer a viewer gets: what it wishes, what the publisher sends, and what the path carries.
//!
//! Think of a ladder. Its rungs are, from the bottom: sound alone; the lowest layer's temporal layers, one by one;
//! each further layer whole (fewer frames of a larger picture look worse than all of a smaller one). The viewer
//! stands on one rung. It steps down at once to the highest rung that fits when the estimate falls below
//! [`STEP_DOWN`] of its rung's rate. It steps up when [`STEP_UP`] of a higher rung's rate has been there for [`CONFIRM`],
//! or a little less for longer, and then over as many rungs as fit at that moment; a step up that did not last makes
//! the next one wait, twice as long each time, on a path that carries no more than it did then.
//!
//! The lowest picture is another matter: it is given up when it has not fitted for [`GIVE_UP`], and is back when
//! [`STEP_BACK`] of its rate is there. An estimate that is a little wrong costs the others quality, and it the show.
//!
//! Where only one layer is being sent the ladder is that layer's temporal layers: the viewer gets it whole until the path
//! has shown that it carries less, then fewer of its frames. A picture with gaps is better than none there, and the reason
//! tells of them; but where the path carries less than [`HOPELESS`] of it for [`GIVE_UP`] too, sound alone is left, if
//! there is any, until [`WORTH_IT`] of the picture is there.
//!
//! Audio comes first: its rate is part of every rung. A wish for a fixed layer is obeyed whatever the estimate says,
//! and the reason tells when it is more than the path carries.
//!
//! [`Allocator::wanted`] is the rate to prove before the next step, for [`crate::bwe::Estimator::set_wanted`].

use std::time::Duration;

use rtp::MonoTime;

use crate::bwe::{Enough, Estimate, Limiter};
use crate::ring::Temporal;
use crate::track::MAX_LAYERS;
use crate::{Bitrate, LayerIndex};

/// Below this part of a rung's rate the viewer leaves it.
pub const STEP_DOWN: f64 = 0.95;

/// A rung is stepped up to when the estimate is this many times its rate.
pub const STEP_UP: f64 = 1.15;

/// So many times is enough where it has been there for [`CONFIRM_NEAR`]: a path whose best layer is near to what it
/// carries never shows more. A probe that fills the path proves 95 % of it, so a layer may take 89 % of a path.
const STEP_UP_NEAR: f64 = 1.06;
const CONFIRM_NEAR: Duration = Duration::from_secs(4);

/// What is enough for who stands still.
const STAND: f64 = 1.05;

/// A viewer without a picture gets the lowest one again when the estimate is this many times its rate.
const STEP_BACK: f64 = 1.05;

/// For how long not even the lowest picture has to be too much before it is given up.
const GIVE_UP: Duration = Duration::from_secs(3);

/// A picture of which so much arrives is not given up: between two keyframes a layer takes less than on the whole.
const ARRIVES: f64 = 0.85;

/// The only picture is given up where the path carries less than this part of the least that may be sent of it: half of
/// its packets show little but keyframes, and keep a queue full in front of the sound.
const HOPELESS: f64 = 0.5;

/// The same picture is back when so much of what it takes is there.
const WORTH_IT: f64 = 0.75;

/// For how long the only layer has to be too much for a path that has not carried it yet: the estimate begins low.
const UNPROVED: Duration = Duration::from_secs(2);

/// For how long it has to be.
pub const CONFIRM: Duration = Duration::from_secs(1);

/// How far above the need a probe should prove, so that noise does not undo it.
const PROVE: f64 = 1.05;

/// How near a layer must be to be wanted before the step up to it.
const NEAR: f64 = 0.85;

/// A step up that is undone within this time has failed.
const FAILED_WITHIN: Duration = Duration::from_secs(10);

/// The wait after a first failure, and the longest.
const WAIT_FIRST: Duration = Duration::from_secs(4);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The same for a viewer without a picture: it has less to lose.
const WAIT_FIRST_DARK: Duration = Duration::from_secs(1);
const WAIT_MAX_DARK: Duration = Duration::from_secs(5);

/// Nobody waits where the path carries so many times what it did when the step failed: that was another path.
const OTHER_PATH: f64 = 2.0;

/// How many temporal layers are told apart.
const TEMPORAL_MAX: usize = 3;

/// Sound alone, the lowest layer's temporal layers, the other layers.
const RUNGS_MAX: usize = TEMPORAL_MAX + MAX_LAYERS;

/// The allocator of one viewer.
#[derive(Debug)]
pub struct Allocator {
    wish: Wish,
    audio: Bitrate,
    /// The rungs, from the bottom; the first is sound alone.
    ladder: [Rung; RUNGS_MAX],
    rungs: usize,
    /// How many of them need a reduced frame rate.
    reduced: usize,
    /// Whether the wish took rungs away at the top.
    cut: bool,
    /// Whether one layer is all that there is.
    only: bool,
    /// What the best layer takes, wished or not.
    best: Option<Bitrate>,
    estimate: Estimate,
    standing: usize,
    stepped_up: Option<MonoTime>,
    fits_since: Option<MonoTime>,
    /// The rung that nearly fits, and since when.
    near_since: Option<(usize, MonoTime)>,
    /// Since when not even the lowest picture fits, or the only one does not.
    unfit_since: Option<MonoTime>,
    /// Since when the path carries too little of the only picture for it to be worth anything.
    hopeless_since: Option<MonoTime>,
    /// Whether the path has carried what was sent.
    has_fitted: bool,
    /// Whether the picture was taken away, because it did not fit.
    gave_up: bool,
    failures: u32,
    retry_at: MonoTime,
    /// The estimate when a step up failed last.
    failed_at: Bitrate,
    /// What arrives at the viewer whole.
    arriving: Bitrate,
    told: Option<Allocation>,
    now: MonoTime,
}

/// What a viewer wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wish {
    /// The best that fits.
    #[default]
    Auto,
    /// The best that fits, of at most this height in pixels; without one, the lowest.
    MaxHeight(u16),
    /// This layer, whether it fits or not; while it is not sent, as `Auto`.
    Fixed(LayerIndex),
    /// No picture.
    AudioOnly,
    /// Nothing.
    Paused,
}

/// A layer that can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The layer.
    pub layer: LayerIndex,
    /// The picture's height, once known.
    pub height: Option<u16>,
    /// The rate of all its temporal layers on the wire.
    pub bitrate: Bitrate,
    /// Its temporal layers.
    pub temporal: Temporal,
    /// Whether the publisher has stopped sending it and may begin again: nobody is given it, but what it takes may be
    /// proved already.
    pub asleep: bool,
}

/// What the viewer shall get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// The layer; `None` for no picture.
    pub layer: Option<LayerIndex>,
    /// The highest temporal layer; `u8::MAX` for all.
    pub temporal: u8,
    /// Whether sound goes out.
    pub audio: bool,
    /// Why it is not more.
    pub reason: Reason,
}

/// Why a viewer does not get more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It gets the best there is.
    Best,
    /// It asked for no more.
    Wish,
    /// It asked for this layer although the path hardly carries it.
    WishAbovePath,
    /// It asked for a pause.
    Paused,
    /// There is one picture only, and the path hardly carries it.
    OnlyLayer,
    /// More is not proved to fit.
    Path,
    /// More fits, and has to for a while.
    Confirming,
    /// A step up failed lately.
    BackingOff,
    /// Not even the lowest layer fits at its full frame rate.
    ReducedFrameRate,
    /// No picture fits.
    AudioOnly,
    /// The publisher sends no picture that the viewer can have.
    NoLayer,
}

impl Reason {
    /// Returns the reason's label in logs and traces; what people are told of it is the explanation's business.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Wish => "wish",
            Self::WishAbovePath => "wish_above_path",
            Self::Paused => "paused",
            Self::OnlyLayer => "only_layer",
            Self::Path => "path",
            Self::Confirming => "confirming",
            Self::BackingOff => "backing_off",
            Self::ReducedFrameRate => "reduced_frame_rate",
            Self::AudioOnly => "audio_only",
            Self::NoLayer => "no_layer",
        }
    }
}

impl Allocator {
    /// Makes an allocator that knows no layer yet.
    #[must_use]
    pub fn new(estimate: Estimate, now: MonoTime) -> Self {
        Self {
            wish: Wish::Auto,
            audio: Bitrate::ZERO,
            ladder: [Rung::AUDIO_ONLY; RUNGS_MAX],
            rungs: 1,
            reduced: 0,
            cut: false,
            only: false,
            best: None,
            estimate,
            standing: 0,
            stepped_up: None,
            fits_since: None,
            near_since: None,
            unfit_since: None,
            hopeless_since: None,
            has_fitted: false,
            gave_up: false,
            failures: 0,
            retry_at: now,
            failed_at: Bitrate::ZERO,
            arriving: Bitrate::ZERO,
            told: None,
            now,
        }
    }

    /// Reads what a report reads; see [`crate::viewer::Viewer::warm_report`].
    pub(crate) fn warm(&self) -> u64 {
        let here = self.audio.as_bps() ^ self.arriving.as_bps();
        [self.rungs, self.standing].into_iter().fold(here, |read, place| read ^ place as u64)
    }

    /// Takes what can be had now: the layers that are being sent and can be decoded, in any order, and the rate of
    /// the sound. Those beyond [`MAX_LAYERS`] are ignored. What follows from it is decided by the estimate or the timeout
    /// that is told next: what is enough has changed, and an estimate claims no more than that.
    pub fn handle_layers(&mut self, now: MonoTime, wish: Wish, layers: &[Candidate], audio: Bitrate) {
        self.now = now;
        if wish != self.wish {
            self.gave_up = false;
            self.failures = 0;
            self.retry_at = now;
            self.hopeless_since = None;
        }
        self.wish = wish;
        self.audio = audio;
        let held = self.rung(self.standing);
        self.build(layers);
        let place = |rung: Rung| {
            let same = |it: &Rung| it.layer == rung.layer && it.temporal == rung.temporal && !it.asleep;
            self.rungs().iter().position(same)
        };
        let held = held.filter(|rung| rung.layer.is_some());
        let found = held.map(place);
        if found == Some(None) {
            // Another one's layer: what was shown of that says nothing of this.
            self.has_fitted = false;
            self.unfit_since = None;
            self.hopeless_since = None;
        }
        self.standing = match found {
            None if self.gave_up => 0,
            None => self.lowest_whole(),
            Some(place) => place.unwrap_or_else(|| self.highest_proved()),
        };
        self.standing = self.standing.max(self.floor());
    }

    /// Takes the newest estimate.
    pub fn handle_estimate(&mut self, now: MonoTime, estimate: Estimate) {
        self.now = now;
        self.estimate = estimate;
        self.step();
    }

    /// Takes what arrives at the viewer, as far as it arrives whole.
    pub const fn handle_arriving(&mut self, arriving: Bitrate) {
        self.arriving = arriving;
    }

    /// Does what is due. To be called a few times a second.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        self.now = now;
        self.step();
    }

    /// Returns the allocation when it has changed.
    pub fn poll_output(&mut self) -> Option<Allocation> {
        let allocation = self.allocation();
        (self.told != Some(allocation)).then(|| {
            self.told = Some(allocation);
            allocation
        })
    }

    /// Returns the rate to prove before the next step up; `None` when there is none.
    #[must_use]
    pub fn wanted(&self) -> Option<Bitrate> {
        // Who stands still wants to know whether the path carries it, so that the pacer does not hold it back.
        let climbs = self.steps() && !(self.only && self.standing.saturating_add(1) == self.rungs);
        let (from, factor) =
            if climbs { (self.standing.saturating_add(1), STEP_UP) } else { (self.standing.max(1), STAND) };
        let above = self.rungs().get(from..)?;
        let needed = above.iter().map(|rung| self.need(rung).scaled(factor));
        // What an estimate begins with is proved by nothing, and nobody climbs on it.
        let proved =
            if self.estimate.limiter == Limiter::Start { Bitrate::ZERO } else { self.estimate.bitrate };
        needed
            .min_by_key(|need| (*need <= proved, *need))
            .and_then(|need| (need > proved).then(|| need.scaled(PROVE)))
    }

    /// Returns the rates beyond which nothing is of use: for the best layer there is, wished or not, with the step up to it;
    /// and for the picture that is given, where there is a lesser one.
    #[must_use]
    pub fn enough(&self) -> Enough {
        let standing = self.rung(self.standing).unwrap_or(Rung::AUDIO_ONLY);
        let ever = self.best.filter(|best| *best > Bitrate::ZERO).map(|best| {
            let factor = if standing.rate >= best { STAND } else { STEP_UP * PROVE };
            best.plus(self.audio).scaled(factor)
        });
        let now = (self.standing > self.lowest_whole()).then(|| self.need(&standing).scaled(STAND));
        Enough { ever, now }
    }

    /// Says whether the viewer would be given less if its path carried less.
    #[must_use]
    pub fn steps_down(&self) -> bool {
        self.steps() && self.standing > self.floor()
    }

    /// Says whether there is a picture to be had, and nothing is shown until the path has proved that it carries it.
    #[must_use]
    pub fn is_dark(&self) -> bool {
        self.standing == 0 && self.gave_up && self.lowest_picture() > 0
    }

    /// Says whether the lowest picture arrives, although the estimate is less than it takes.
    #[must_use]
    pub fn is_spared(&self) -> bool {
        let lowest = self.lowest_picture();
        let arrives = |rung: Rung| self.arriving >= self.need(&rung).scaled(ARRIVES);
        lowest > 0 && self.standing == lowest && self.rung(lowest).is_some_and(arrives)
    }

    /// Returns what the picture takes that the viewer is given: a part of its layer's rate while frames are left out.
    #[must_use]
    pub fn granted(&self) -> Option<Bitrate> {
        self.allocation().layer.and(self.rung(self.standing)).map(|rung| rung.rate)
    }

    /// Says whether the viewer gets a layer, or might soon: it falls no higher than where it stands, or more of the path
    /// is proved than the layer takes, nearly. Who wishes for nothing at present wants nothing.
    #[must_use]
    pub fn reaches(&self, layer: LayerIndex) -> bool {
        let lowest = self.rung(1).and_then(|rung| rung.layer);
        self.rungs().iter().enumerate().any(|(at, rung)| {
            let near = self.need(rung).scaled(STEP_UP * NEAR);
            let reached = at <= self.standing || near <= self.estimate.bitrate;
            rung.layer == Some(layer) && (reached || rung.layer == lowest)
        })
    }

    /// Returns the allocation as it is now.
    #[must_use]
    pub fn allocation(&self) -> Allocation {
        let rung = self.rung(self.standing).unwrap_or(Rung::AUDIO_ONLY);
        let reason = self.reason(&rung);
        let layer = rung.layer.filter(|_| !matches!(self.wish, Wish::AudioOnly | Wish::Paused));
        Allocation { layer, temporal: rung.temporal, audio: self.wish != Wish::Paused, reason }
    }

    fn reason(&self, rung: &Rung) -> Reason {
        let more = self.standing.saturating_add(1) < self.rungs;
        match self.wish {
            Wish::Paused => Reason::Paused,
            Wish::AudioOnly => Reason::Wish,
            _ if self.rungs().iter().all(|rung| rung.layer.is_none() || rung.asleep) => Reason::NoLayer,
            Wish::Fixed(layer) if rung.layer == Some(layer) => {
                if self.fits(rung, STEP_DOWN) {
                    Reason::Wish
                } else {
                    Reason::WishAbovePath
                }
            }
            _ if self.only && !self.fits(rung, STEP_DOWN) => Reason::OnlyLayer,
            _ if !more && self.cut => Reason::Wish,
            _ if !more || self.is_asleep_above() => Reason::Best,
            _ if rung.layer.is_none() => Reason::AudioOnly,
            _ if self.is_confirming() && self.now < self.waits_until() => Reason::BackingOff,
            _ if self.is_confirming() => Reason::Confirming,
            _ if self.standing <= self.reduced => Reason::ReducedFrameRate,
            _ => Reason::Path,
        }
    }

    /// Builds the ladder of what the wish leaves.
    fn build(&mut self, layers: &[Candidate]) {
        let mut sorted: [Option<Candidate>; MAX_LAYERS] = [None; MAX_LAYERS];
        for (place, candidate) in sorted.iter_mut().zip(layers) {
            *place = Some(*candidate);
        }
        sorted.sort_unstable_by_key(|candidate| {
            candidate.map_or((true, Bitrate::ZERO), |it| (false, it.bitrate))
        });
        let fixed = |candidate: &Candidate| self.wish == Wish::Fixed(candidate.layer);
        let all = || sorted.iter().flatten();
        let awake = || all().filter(|candidate| !candidate.asleep);
        let only = awake().find(|candidate| fixed(candidate)).copied();
        let lowest = awake().next().map(|candidate| candidate.layer);
        let allowed = |candidate: &Candidate| match (self.wish, only) {
            (Wish::AudioOnly | Wish::Paused, _) => false,
            (Wish::Fixed(_), Some(only)) => candidate.layer == only.layer,
            (Wish::MaxHeight(max), _) => {
                candidate.height.is_none_or(|height| height <= max) || Some(candidate.layer) == lowest
            }
            _ => true,
        };
        let offered = all().count();
        self.best = all().map(|candidate| candidate.bitrate).max();
        self.only = all().filter(|candidate| !candidate.asleep).count() == 1 && offered == 1;
        let mut kept = sorted;
        kept.iter_mut().for_each(|place| *place = place.filter(allowed));
        self.cut = kept.iter().flatten().count() < offered;
        self.fill(kept.iter().flatten(), only.is_some());
    }

    fn fill<'a>(&mut self, layers: impl Iterator<Item = &'a Candidate>, fixed: bool) {
        self.ladder = [Rung::AUDIO_ONLY; RUNGS_MAX];
        self.rungs = 1;
        self.reduced = 0;
        let mut is_first = true;
        for candidate in layers {
            let asleep = candidate.asleep;
            if !asleep && std::mem::take(&mut is_first) && !fixed {
                for (temporal, part) in (0_u8..).zip(candidate.temporal.lower()) {
                    self.push(Rung {
                        layer: Some(candidate.layer),
                        temporal,
                        rate: candidate.bitrate.scaled(part),
                        asleep,
                    });
                    self.reduced = self.reduced.saturating_add(1);
                }
            }
            let (layer, rate) = (Some(candidate.layer), candidate.bitrate);
            self.push(Rung { layer, temporal: u8::MAX, rate, asleep });
        }
    }

    fn push(&mut self, rung: Rung) {
        if let Some(place) = self.ladder.get_mut(self.rungs) {
            *place = rung;
            self.rungs = self.rungs.saturating_add(1);
        }
    }

    /// Moves along the ladder.
    fn step(&mut self) {
        if !self.steps() {
            self.standing = self.rungs.saturating_sub(1);
            self.stop_confirming();
            return;
        }
        self.standing = self.standing.max(self.floor());
        let Some(rung) = self.rung(self.standing) else { return };
        if self.fits(&rung, STEP_DOWN) {
            self.unfit_since = None;
            self.hopeless_since = None;
            self.has_fitted |= self.estimate.limiter != Limiter::Start;
        } else if self.only {
            self.thin_out();
            return;
        } else {
            self.step_down();
            return;
        }
        if rung.layer.is_none() && self.step_back() {
            return;
        }
        if let Some(higher) = self.confirm().filter(|_| self.now >= self.waits_until()) {
            self.standing = higher;
            self.stepped_up = Some(self.now);
            self.stop_confirming();
        }
    }

    /// Takes note of the rungs that would fit, and returns the one that has for long enough.
    fn confirm(&mut self) -> Option<usize> {
        let now = self.now;
        let (fitting, near) = (self.highest_that_fits(STEP_UP), self.highest_that_fits(STEP_UP_NEAR));
        self.fits_since = fitting.map(|_| self.fits_since.unwrap_or(now));
        self.near_since = near.map(|rung| match self.near_since {
            Some((known, since)) if rung <= known => (rung, since),
            _ => (rung, now),
        });
        let is_confirmed = |since: MonoTime, after: Duration| now.since(since) >= after;
        let fitting = fitting.zip(self.fits_since).filter(|(_, since)| is_confirmed(*since, CONFIRM));
        let near = self.near_since.filter(|(_, since)| is_confirmed(*since, CONFIRM_NEAR));
        fitting.or(near).map(|(rung, _)| rung)
    }

    const fn stop_confirming(&mut self) {
        self.fits_since = None;
        self.near_since = None;
    }

    const fn is_confirming(&self) -> bool {
        self.fits_since.is_some() || self.near_since.is_some()
    }

    fn step_down(&mut self) {
        self.stop_confirming();
        let below = self.rungs().get(..self.standing).unwrap_or_default();
        let fitting = below.iter().rposition(|rung| !rung.asleep && self.fits(rung, 1.0)).unwrap_or(0);
        let lowest = self.lowest_picture();
        if fitting == 0 && lowest > 0 && self.standing >= lowest {
            // An estimate is wrong by a seventh now and then; a picture is not given up for that.
            if self.is_spared() {
                self.unfit_since = Some(self.now);
            }
            let since = *self.unfit_since.get_or_insert(self.now);
            if self.standing == lowest && self.now.since(since) < GIVE_UP {
                return;
            }
            if self.standing > lowest {
                self.standing = lowest;
                self.note_step_down();
                return;
            }
            self.unfit_since = None;
            self.gave_up = true;
        }
        self.standing = fitting;
        self.note_step_down();
    }

    /// Leaves frames of the only layer out, once it is known that the path does not carry them all; and all of them where
    /// that is not enough by far.
    fn thin_out(&mut self) {
        self.stop_confirming();
        let since = *self.unfit_since.get_or_insert(self.now);
        let is_proved = self.has_fitted && self.estimate.limiter != Limiter::Application;
        if !is_proved && self.now.since(since) < UNPROVED {
            return;
        }
        let below = self.rungs().get(..self.standing).unwrap_or_default();
        let fitting = below.iter().rposition(|rung| self.fits(rung, 1.0)).unwrap_or(0);
        if fitting.max(self.floor()) < self.standing {
            self.standing = fitting.max(self.floor());
            self.note_step_down();
        }
        if !self.is_hopeless() {
            self.hopeless_since = None;
        } else if self.now.since(*self.hopeless_since.get_or_insert(self.now)) >= GIVE_UP {
            self.hopeless_since = None;
            self.unfit_since = None;
            self.gave_up = true;
            self.standing = 0;
            self.note_step_down();
        }
    }

    /// Says whether the path is known to carry too little of the only picture for it to be worth anything, and there is
    /// sound, which would get through without it.
    fn is_hopeless(&self) -> bool {
        let is_known = matches!(self.estimate.limiter, Limiter::Delay | Limiter::Loss | Limiter::Probe);
        let is_known = is_known && self.audio > Bitrate::ZERO;
        let least = self.rung(self.standing).filter(|_| self.standing == self.lowest_picture());
        is_known && !self.is_spared() && least.is_some_and(|rung| !self.fits(&rung, HOPELESS))
    }

    /// Shows the lowest picture again as soon as it fits; true when it does.
    fn step_back(&mut self) -> bool {
        let lowest = self.lowest_picture();
        let enough = if self.only { WORTH_IT } else { STEP_BACK };
        let fits = lowest > 0 && self.rung(lowest).is_some_and(|rung| self.fits(&rung, enough));
        if !fits || self.estimate.limiter == Limiter::Start || self.now < self.retry_at {
            return false;
        }
        self.standing = lowest;
        self.stepped_up = Some(self.now);
        self.gave_up = false;
        self.stop_confirming();
        true
    }

    /// The lowest rung with a picture that is being sent; the one without any, if there is none.
    fn lowest_picture(&self) -> usize {
        let awake = |rung: &Rung| rung.layer.is_some() && !rung.asleep;
        self.rungs().iter().position(awake).unwrap_or(0)
    }

    fn note_step_down(&mut self) {
        if let Some(up) = self.stepped_up.take() {
            let failed = self.now.since(up) < FAILED_WITHIN;
            self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
            if failed {
                self.failed_at = self.estimate.bitrate;
                let (first, most) = if self.standing == 0 {
                    (WAIT_FIRST_DARK, WAIT_MAX_DARK)
                } else {
                    (WAIT_FIRST, WAIT_MAX)
                };
                let doubled = first.saturating_mul(1 << self.failures.saturating_sub(1).min(8));
                self.retry_at = self.now + doubled.min(most);
            }
        }
    }

    /// Until when a step up that failed keeps the next one waiting.
    fn waits_until(&self) -> MonoTime {
        let is_other = self.standing > 0 && self.estimate.bitrate >= self.failed_at.scaled(OTHER_PATH);
        if is_other { self.retry_at.min(self.now) } else { self.retry_at }
    }

    fn highest_that_fits(&self, factor: f64) -> Option<usize> {
        // What nobody has proved is no reason to climb.
        if self.estimate.limiter == Limiter::Start {
            return None;
        }
        let highest = self.rungs().iter().rposition(|rung| !rung.asleep && self.fits(rung, factor))?;
        (highest > self.standing).then_some(highest)
    }

    /// Says whether the ladder is climbed at all.
    fn steps(&self) -> bool {
        let fixed = match self.wish {
            Wish::Fixed(layer) => self.rungs().iter().any(|rung| rung.layer == Some(layer) && !rung.asleep),
            _ => false,
        };
        self.rungs > 1 && !fixed
    }

    /// The lowest rung that a viewer falls to: its only picture is not taken away while it has any worth. And who says
    /// itself what its path takes, or tells its losses alone, cannot be asked for more without a picture.
    fn floor(&self) -> usize {
        let asked = !matches!(self.estimate.limiter, Limiter::Remb | Limiter::Unreported);
        if self.only && !(self.gave_up && asked) { self.lowest_picture() } else { 0 }
    }

    fn fits(&self, rung: &Rung, factor: f64) -> bool {
        rung.layer.is_none() || self.estimate.bitrate >= self.need(rung).scaled(factor)
    }

    fn need(&self, rung: &Rung) -> Bitrate {
        rung.rate.plus(self.audio)
    }

    /// The lowest layer at its full frame rate: where a viewer begins.
    fn lowest_whole(&self) -> usize {
        let is_whole = |rung: &Rung| rung.layer.is_some() && rung.temporal == u8::MAX && !rung.asleep;
        self.rungs().iter().position(is_whole).unwrap_or(0)
    }

    /// The highest rung that the path was proved to carry: where a viewer goes whose rung is gone.
    fn highest_proved(&self) -> usize {
        let is_proved = |rung: &Rung| !rung.asleep && self.fits(rung, 1.0);
        let proved = self.rungs().iter().rposition(is_proved).unwrap_or(0);
        if self.estimate.limiter == Limiter::Start { self.lowest_whole() } else { proved }
    }

    /// Says whether nothing above is being sent.
    fn is_asleep_above(&self) -> bool {
        let above = self.rungs().get(self.standing.saturating_add(1)..).unwrap_or_default();
        above.iter().all(|rung| rung.asleep)
    }

    fn rungs(&self) -> &[Rung] {
        self.ladder.get(..self.rungs).unwrap_or_default()
    }

    fn rung(&self, index: usize) -> Option<Rung> {
        self.rungs().get(index).copied()
    }
}

/// One rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rung {
    layer: Option<LayerIndex>,
    temporal: u8,
    rate: Bitrate,
    asleep: bool,
}

impl Rung {
    const AUDIO_ONLY: Self = Self { layer: None, temporal: 0, rate: Bitrate::ZERO, asleep: false };
}

#[cfg(test)]
mod tests;
