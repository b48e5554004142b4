//! The `whip` command: a publisher of real pictures and sound, or one in each of several rooms, at any
//! WHIP server (RFC 9725).
//!
//! `plan` turns options into an offer and an answer into a publisher, `session` drives it, `burst` hands
//! packets to the kernel. One thread a room, no pacing: all packets of a frame leave together, as a server must expect.

mod burst;
mod plan;
mod report;
mod session;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use reqwest::Url;
use rtp::Codec;

use crate::bench::scenario::parse_duration;
use crate::clock;
use crate::link::{Config, Identity, Link, Profile, Random};
use crate::progress::Progress;
use crate::publisher;
use crate::signal::{self, Http, SessionRequest};
use crate::stop::Stop;
use plan::{Plan, RIDS};
use report::Report;
use session::{Course, Session};

/// `whip`: publish real pictures and sound.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The WHIP endpoint; with --rooms, `{room}` in it stands for the room's number.
    #[arg(long)]
    url: String,
    /// How many rooms to publish in, from one process: `{room}` in the URL counts from 0.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rooms: u32,
    /// The bearer token, if the server wants one.
    #[arg(long)]
    token: Option<String>,
    /// What is published beside the sound; opus is sound alone.
    #[arg(long, value_enum, default_value_t = Publish::H264)]
    codec: Publish,
    /// Bits of video payload a second, such as 600k or 2.5M; with simulcast those of the largest layer, and each
    /// smaller one has a quarter of the next.
    #[arg(long, default_value = "2.5M", value_parser = parse_bitrate)]
    bitrate: u64,
    /// Frames a second.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=240))]
    fps: u32,
    /// How many sizes of the picture: 1280×720 and its halves.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    simulcast: u8,
    /// From a keyframe to the next, when none is asked for.
    #[arg(long, default_value = "4s", value_parser = parse_duration)]
    gop: Duration,
    /// Send no keyframe when one is asked for.
    #[arg(long)]
    ignore_pli: bool,
    /// Publish sound beside the picture. It is what happens without this option too.
    #[arg(long, overrides_with = "no_audio")]
    audio: bool,
    /// Publish no sound beside the picture.
    #[arg(long)]
    no_audio: bool,
    /// Send media to this address, IP:PORT, whatever the answer names: past an emulated network that is there for the
    /// viewers.
    #[arg(long)]
    through: Option<SocketAddr>,
    /// For how long, from the first packet on.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// What can be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Publish {
    /// H.264, constrained baseline.
    H264,
    /// VP8.
    Vp8,
    /// A tone, without a picture.
    Opus,
}

/// Runs the command.
///
/// # Errors
///
/// When the session was not opened with all layers and the sound that were asked for, did not connect, or ended before
/// it was asked to.
pub fn run(arguments: &Arguments) -> Result<()> {
    let stop = Stop::on_signals()?;
    ensure!(arguments.rooms == 1 || arguments.url.contains(ROOM), "several rooms need {ROOM} in --url");
    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let publishers: Vec<_> = (0..arguments.rooms)
            .map(|room| {
                let stop = &stop;
                // One after the other, so that their frames do not all begin at one moment.
                thread::sleep(if room > 0 { STAGGER } else { Duration::ZERO });
                // They all take as long, so that one line says it for all.
                let progress = (room == 0).then(Progress::new);
                scope.spawn(move || publish(&arguments.in_room(room), stop, progress))
            })
            .collect();
        let crashed = || Err(anyhow::anyhow!("a publisher's thread crashed"));
        publishers.into_iter().map(|thread| thread.join().unwrap_or_else(|_| crashed())).collect()
    });

    let reports = outcomes.iter().flatten().map(|outcome| &outcome.report);
    if let Some(mut sum) = reports.cloned().reduce(Report::plus) {
        sum.cpu_s = cpu_s();
        report::print(&sum, arguments.json)?;
    }
    for outcome in outcomes {
        let Outcome { report, ended } = outcome?;
        ended?;
        ensure!(report.connected, "stopped before the session was connected");
    }
    Ok(())
}

/// How the publisher of one room fared.
struct Outcome {
    report: Report,
    ended: Result<()>,
}

/// Publishes in one room until the time has come.
fn publish(arguments: &Arguments, stop: &Stop, mut progress: Option<Progress>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begin = clock::now();
    let (mut session, signaled) = runtime.block_on(open(arguments))?;

    let ended = session.run(arguments.duration, stop, progress.as_mut());
    progress.iter_mut().for_each(Progress::clear);
    let deleted = runtime.block_on(signaled.delete()).context("the session could not be deleted");
    session.close();
    Ok(Outcome { report: report(begin, &session.course()), ended: ended.and(deleted.map(drop)) })
}

async fn open(arguments: &Arguments) -> Result<(Session, signal::Session)> {
    let plan = arguments.plan()?;
    let url = Url::parse(&arguments.url).context("the URL is malformed")?;
    let host = url.host_str().context("the URL has no host")?;
    let port = url.port_or_known_default().context("the URL has no port")?;
    let (socket, candidate) = session::bind(host, port)?;
    let mut random = Random::from_machine();
    let cname = random.letters(CNAME_CHARS);
    let mut link = Link::new(Config { identity: Identity::generate(&Profile::CHROMIUM)?, random });
    let offer = plan.offer(cname.clone(), candidate).to_sdp(link.local());
    let request = SessionRequest { url: arguments.url.clone(), token: arguments.token.clone(), offer };
    let mut signaled = Http::new()?.open(request).await?;

    if let Some(through) = arguments.through {
        signaled.answer.candidates = vec![through];
    }
    signaled.answer.keep_reachable(socket.local());
    let config = match arguments.publisher(&plan, &signaled.answer, cname) {
        Ok(config) => config,
        Err(error) => {
            // What was opened must not stay; why it is of no use matters more than whether that succeeds.
            let _ = signaled.delete().await;
            return Err(error);
        }
    };
    link.set_remote(clock::now(), &signaled.answer);
    Ok((Session::new(socket, link, config)?, signaled))
}

impl Arguments {
    fn in_room(&self, room: u32) -> Self {
        Self { url: self.url.replace(ROOM, &room.to_string()), ..self.clone() }
    }

    fn plan(&self) -> Result<Plan> {
        let video = match self.codec {
            Publish::H264 => Some(Codec::H264),
            Publish::Vp8 => Some(Codec::Vp8),
            Publish::Opus => None,
        };
        let audio = self.audio || !self.no_audio;
        ensure!(video.is_some() || audio, "opus without sound leaves nothing to publish");
        Ok(Plan {
            video,
            audio,
            bitrate_bps: self.bitrate,
            frames_per_second: self.fps,
            layers: usize::from(self.simulcast).min(RIDS.len()),
            gop: self.gop,
            seed: Random::from_machine().number(),
        })
    }

    fn publisher(&self, plan: &Plan, answer: &signal::Answer, cname: String) -> Result<publisher::Config> {
        let accepted = plan.accepted(answer)?;
        Ok(publisher::Config {
            layers: accepted.layers,
            sound: accepted.sound,
            frames_per_second: self.fps,
            ignore_pli: self.ignore_pli,
            cname,
            clock: session::media_clock(),
        })
    }
}

fn report(begin: rtp::MonoTime, course: &Course) -> Report {
    let Course { began, profile, tally, stats } = *course;
    let now = clock::now();
    Report {
        connected: began.is_some(),
        join_ms: began.map_or(Duration::ZERO, |began| began.since(begin)).as_secs_f64() * 1e3,
        measured_s: began.map_or(Duration::ZERO, |began| now.since(began)).as_secs_f64(),
        packets_sent: tally.packets,
        bytes_sent: tally.bytes,
        send_errors: tally.errors,
        frames_sent: stats.frames_sent,
        keyframes_sent: stats.keyframes_sent,
        plis_received: stats.plis_received,
        plis_of_one_layer: stats.plis_of_one_layer,
        pli_gap_ms: stats.pli_gap_min.map(|gap| gap.as_secs_f64() * 1e3),
        nacks_received: stats.nacks_received,
        retransmissions_sent: stats.retransmissions_sent,
        cpu_s: 0.0,
        srtp_profile: profile.map(Profile::name),
    }
}

/// The CPU time of this process so far.
fn cpu_s() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0.0 };
    [usage.user_time(), usage.system_time()].iter().map(|time| time.num_microseconds() as f64 / 1e6).sum()
}

/// Reads a bitrate such as `800000`, `600k` or `2.5M`.
fn parse_bitrate(text: &str) -> Result<u64> {
    let complaint = || format!("not a bitrate: {text:?}; write it as 600k or 2.5M");
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 'k')) => (text.get(..at), 1e3),
        Some((at, 'M')) => (text.get(..at), 1e6),
        _ => (Some(text), 1.0),
    };
    let number: f64 = number.unwrap_or_default().parse().with_context(complaint)?;
    let bits = number * unit;
    if !(BITRATE_MIN..=BITRATE_MAX).contains(&bits) {
        bail!("a bitrate is {BITRATE_MIN:.0} to {BITRATE_MAX:.0} bits a second, not {text}");
    }
    Ok(bits.round() as u64)
}

/// What stands for a room's number in a URL.
const ROOM: &str = "{room}";
/// Between two publishers of one process: no divisor of a frame's time, and the keyframes of eighty of them are spread
/// over four seconds as those of strangers would be.
const STAGGER: Duration = Duration::from_millis(47);
const CNAME_CHARS: usize = 16;
/// Less than the smallest picture takes by itself.
const BITRATE_MIN: f64 = 1_000.0;
/// A frame of it is still a burst that a socket takes.
const BITRATE_MAX: f64 = 100_000_000.0;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn bitrates_are_read_with_their_unit() {
        for (text, bits) in [("2.5M", 2_500_000), ("600k", 600_000), ("64000", 64_000)] {
            assert_eq!(parse_bitrate(text).unwrap(), bits);
        }
        for bad in ["", "M", "2.5m", "-1M", "1", "nan", "1e12", "2.5Mbps"] {
            assert!(parse_bitrate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sound_is_published_unless_it_is_refused() {
        for (options, audio) in [(&[][..], true), (&["--no-audio"], false), (&["--audio"], true)] {
            assert_eq!(parse(options).plan().unwrap().audio, audio, "{options:?}");
        }
        assert!(parse(&["--codec", "opus"]).plan().unwrap().video.is_none());
        assert!(parse(&["--codec", "opus", "--no-audio"]).plan().is_err());
    }

    #[test]
    fn each_room_has_its_own_address() {
        let arguments = Arguments { url: "http://h/whip/show-{room}".to_owned(), ..parse(&["--rooms", "3"]) };

        assert_eq!(arguments.in_room(2).url, "http://h/whip/show-2");
    }

    #[test]
    fn keyframes_of_many_rooms_are_spread_over_their_interval_and_frames_over_theirs() {
        let interval = parse(&[]).gop;
        let frame = Duration::from_secs(1) / 30;
        for (period, part) in [(interval, interval / 10), (frame, frame / 10)] {
            let moments = (0..80).map(|room| (STAGGER * room).as_nanos() % period.as_nanos());
            let moments: Vec<u128> = moments.collect();

            let in_part =
                |tenth: u128| moments.iter().filter(|moment| **moment / part.as_nanos() == tenth).count();
            let most = (0..10).map(in_part).max().unwrap();
            assert!(most <= 12, "{most} of 80 in a tenth of {period:?}");
        }
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for options in [["--simulcast", "4"], ["--simulcast", "0"], ["--fps", "0"], ["--gop", "4"]] {
            assert!(Line::try_parse_from(line(&options)).is_err(), "{options:?}");
        }
    }

    fn parse(options: &[&str]) -> Arguments {
        Line::try_parse_from(line(options)).ok().unwrap().arguments
    }

    fn line<'a>(options: &[&'a str]) -> Vec<&'a str> {
        [&["test", "--url", "http://127.0.0.1/whip/room"], options].concat()
    }
}
