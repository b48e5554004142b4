//! One run: the phases from the first offer to the last DELETE.

use super::arguments::Arguments;
use super::ledger::Ledger;
use super::reading;
use crate::clock;
use crate::link::Identity;
use crate::process::Reading;
use crate::progress::Progress;
use crate::report::{Percentiles, Report, Server};
use crate::signal::Session;
use crate::stop::Stop;
use crate::viewer::crowd::{Crowd, Number, Snapshot};
use crate::viewer::joiner::{JoinError, Joiner};
use crate::viewer::{Event, Totals};
use rtp::MonoTime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

/// One run.
pub(super) struct Run<'a> {
    arguments: &'a Arguments,
    joiner: Arc<Joiner>,
    crowd: Arc<Crowd>,
    events: UnboundedReceiver<(Number, Event)>,
    joins: JoinSet<(Number, Result<Session, JoinError>)>,
    sessions: Vec<(Number, Session)>,
    ledger: Ledger,
    stop: Stop,
    progress: Progress,
}

/// A moment: what was received until then, and what both processes used.
struct Moment {
    at: MonoTime,
    totals: Totals,
    load: Reading,
    server: Option<Reading>,
}

impl<'a> Run<'a> {
    pub(super) async fn new(
        arguments: &'a Arguments,
        identity: Arc<Identity>,
        stop: Stop,
    ) -> anyhow::Result<Self> {
        let (url, token) = (arguments.url.clone(), arguments.token.clone());
        let joiner = Joiner::new(identity, (url, arguments.rooms), token, arguments.wishes()).await?;
        let (sender, events) = unbounded_channel();
        let threads = usize::try_from(arguments.threads).unwrap_or(1);
        Ok(Self {
            arguments,
            joiner: Arc::new(joiner),
            crowd: Arc::new(Crowd::start(threads, arguments.behaviour(), &sender)?),
            events,
            joins: JoinSet::new(),
            sessions: Vec::new(),
            ledger: Ledger::default(),
            stop,
            progress: Progress::new(),
        })
    }

    /// Goes through all phases and returns what they came to.
    pub(super) async fn complete(mut self) -> anyhow::Result<Report> {
        let before = self.server()?;
        self.join_all().await;
        let joined = self.server()?;
        self.wait(self.arguments.warmup, "warming up").await;
        let begin = self.moment().await?;
        self.wait(self.arguments.duration, "measuring").await;
        let end = self.moment().await?;
        // What was missing at either moment is given up or repaired within a second.
        self.wait(REPAIR_TIME, "waiting for repairs").await;
        let last = self.crowd.snapshot().await?;
        let mut report = self.report(&begin, &end, &last);
        report.server = self.server_used([before, joined, begin.server, end.server], report.packets_received);
        self.leave_all().await;
        self.progress.clear();
        Ok(report)
    }

    async fn join_all(&mut self) {
        let begin = clock::now();
        let mut asked = 0_u64;
        while asked < self.arguments.viewers && !self.stop.is_asked() {
            let due = clock::now().since(begin).as_secs_f64() * self.arguments.join_rate;
            // The first joins at once; then as many as the rate has made due.
            while asked < self.arguments.viewers && asked as f64 <= due && self.joins.len() < JOINS_AT_ONCE {
                self.join(asked);
                asked = asked.saturating_add(1);
            }
            self.pass(clock::now() + JOIN_TICK).await;
            self.show("joining", asked, self.arguments.viewers);
        }
        let deadline = clock::now() + CONNECT_LIMIT;
        let is_waiting = |run: &Self| !run.joins.is_empty() || !run.ledger.is_settled();
        while is_waiting(self) && clock::now() < deadline && !self.stop.is_asked() {
            self.pass(clock::now() + WAIT_TICK).await;
        }
        self.ledger.give_up("not connected in time");
    }

    fn join(&mut self, number: Number) {
        self.ledger.begin(clock::now(), number);
        let (joiner, crowd) = (Arc::clone(&self.joiner), Arc::clone(&self.crowd));
        self.joins.spawn(async move { (number, joiner.join(number, &crowd).await) });
    }

    /// Waits in a phase, and keeps the books meanwhile.
    async fn wait(&mut self, duration: Duration, what: &str) {
        let begin = clock::now();
        let until = begin + duration;
        while clock::now() < until && !self.stop.is_asked() {
            self.pass(until.min(clock::now() + WAIT_TICK)).await;
            let text = self.so_far(what);
            self.progress.show_time(clock::now(), begin, duration, &text);
        }
    }

    /// Keeps the books until a moment.
    async fn pass(&mut self, until: MonoTime) {
        let sleep = tokio::time::sleep(until.since(clock::now()));
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return,
                Some((number, event)) = self.events.recv() => self.ledger.note(clock::now(), number, event),
                Some(Ok((number, outcome))) = self.joins.join_next() => match outcome {
                    Ok(session) => self.sessions.push((number, session)),
                    Err(error) => self.ledger.fail(number, error.to_string()),
                },
            }
        }
    }

    async fn moment(&self) -> anyhow::Result<Moment> {
        let Snapshot { totals, .. } = self.crowd.snapshot().await?;
        Ok(Moment { at: clock::now(), totals, load: Reading::of_self()?, server: self.server()? })
    }

    fn server(&self) -> anyhow::Result<Option<Reading>> {
        self.arguments.pid.map(reading).transpose()
    }

    fn report(&self, begin: &Moment, end: &Moment, last: &Snapshot) -> Report {
        let (from, to) = (&begin.totals, &end.totals);
        let measured_s = end.at.since(begin.at).as_secs_f64();
        let packets = to.packets.saturating_sub(from.packets);
        // A loss counts when it is given up, a second after it happened: those of the second before the measurement are in
        // it, so that it may be too many and is never too few.
        let lost = last.totals.lost.saturating_sub(from.lost);
        let rate = |count: u64| if measured_s > 0.0 { count as f64 / measured_s } else { 0.0 };
        let load_cpu = end.load.cpu.saturating_sub(begin.load.cpu);
        let all = lost.saturating_add(packets);
        let joining = self.ledger.joining_time().filter(|time| !time.is_zero());
        let connected = self.ledger.connected();
        let on_purpose = to.nacks_on_purpose.saturating_sub(from.nacks_on_purpose);
        let answered = to.nacks_answered.saturating_sub(from.nacks_answered);
        Report {
            viewers: self.arguments.viewers,
            viewers_connected: connected,
            viewers_failed: self.ledger.failed(),
            failures: self.ledger.failures().clone(),
            viewers_without_media: connected.saturating_sub(last.with_media),
            viewers_frozen: (!self.arguments.silent && measured_s > 0.0)
                .then(|| to.frozen.saturating_sub(from.frozen)),
            data_channels_open: last.with_channel,
            join_ms: Percentiles::of(&self.ledger.join),
            first_keyframe_ms: Percentiles::of(&self.ledger.first_keyframe),
            added_delay_ms: Percentiles::of(&to.delay),
            added_delay_frames: to.delay.count(),
            joins_per_s: joining.map(|time| connected as f64 / time.as_secs_f64()),
            measured_s,
            packets_received: packets,
            packets_lost: lost,
            lost_percent: per(lost as f64 * 100.0, all),
            packets_per_s: rate(packets),
            mbit_per_s: rate(to.bytes.saturating_sub(from.bytes)) * 8.0 / 1e6,
            packets_per_receive: per(packets as f64, to.receives.saturating_sub(from.receives)),
            out_of_order: to.out_of_order.saturating_sub(from.out_of_order),
            duplicates: to.surplus.saturating_sub(from.surplus),
            // What is wrong is wrong, whenever it came.
            verified_packets: to.verified.saturating_sub(from.verified),
            verify_failures: last.totals.verify_failures,
            timestamp_errors: last.totals.timestamp_errors,
            unknown_packets: last.totals.strangers,
            rtx_packets: to.rtx_packets.saturating_sub(from.rtx_packets),
            nacks_sent: to.nacks_sent.saturating_sub(from.nacks_sent),
            nacks_on_purpose: on_purpose,
            nacks_answered: answered,
            nacks_answered_percent: per(answered as f64 * 100.0, on_purpose),
            plis_sent: last.totals.plis_sent,
            feedbacks_sent: to.feedbacks_sent.saturating_sub(from.feedbacks_sent),
            send_errors: last.totals.send_errors,
            load_cpu_ns_per_packet: per(load_cpu.as_secs_f64() * 1e9, packets),
            load_cpu_s: load_cpu.as_secs_f64(),
            server: None,
        }
    }

    /// Compares the server before the first join, after the last, and at both ends of the measurement.
    fn server_used(&self, readings: [Option<Reading>; 4], packets: u64) -> Option<Server> {
        let [Some(before), Some(joined), Some(begin), Some(end)] = readings else { return None };
        let cpu_s = end.cpu.saturating_sub(begin.cpu).as_secs_f64();
        let joining_s = joined.cpu.saturating_sub(before.cpu).as_secs_f64();
        let connected = self.ledger.connected();
        Some(Server {
            server_cpu_s: cpu_s,
            server_cpu_ns_per_packet: per(cpu_s * 1e9, packets),
            join_cpu_ms: per(joining_s * 1e3, connected),
            server_rss_kb_per_viewer: per(end.rss_kb.saturating_sub(before.rss_kb) as f64, connected),
            server_rss_kb: end.rss_kb,
            server_threads: end.threads,
            server_descriptors: end.descriptors,
        })
    }

    /// Ends all sessions, few at a time, at the asked rate.
    async fn leave_all(&mut self) {
        let begin = clock::now();
        let mut leaving = JoinSet::new();
        let mut left = 0_u64;
        let all = u64::try_from(self.sessions.len()).unwrap_or(0);
        for (number, session) in std::mem::take(&mut self.sessions) {
            if let Some(rate) = self.arguments.leave_rate.filter(|_| !self.stop.is_asked()) {
                let due = begin + Duration::from_secs_f64(left as f64 / rate);
                tokio::time::sleep(due.since(clock::now())).await;
            }
            if leaving.len() >= DELETES_AT_ONCE {
                leaving.join_next().await;
            }
            leaving.spawn(session.delete());
            // A crowd that is gone needs no goodbye.
            let _ = self.crowd.leave(number);
            left = left.saturating_add(1);
            self.show("leaving", left, all);
        }
        while leaving.join_next().await.is_some() {}
    }

    fn so_far(&self, what: &str) -> String {
        let (connected, failed) = (self.ledger.connected(), self.ledger.failed());
        format!("{what}: {connected} connected, {failed} failed")
    }

    fn show(&mut self, what: &str, done: u64, all: u64) {
        let text = self.so_far(what);
        self.progress.show(clock::now(), done, all, &text);
    }
}

fn per(amount: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| amount / count as f64)
}

/// How often joins are looked after: at 300 a second three are due each time.
const JOIN_TICK: Duration = Duration::from_millis(10);
const WAIT_TICK: Duration = Duration::from_millis(50);
/// More offers than this in flight say that the server does not keep up.
const JOINS_AT_ONCE: usize = 256;
const DELETES_AT_ONCE: usize = 64;
/// Longer than ICE and DTLS wait.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// A little longer than a viewer waits for a repair.
const REPAIR_TIME: Duration = Duration::from_millis(1_100);
