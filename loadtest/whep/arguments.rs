//! What `whep` can be told.

use crate::bench::scenario::parse_duration;
use crate::viewer::Behaviour;
use crate::viewer::joiner::Wishes;
use anyhow::{Context, ensure};
use std::time::Duration;

/// A crowd of viewers joins, is measured, and leaves.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The WHEP endpoint; with --rooms, `{room}` in it stands for the room's number.
    #[arg(long)]
    pub url: String,
    /// Over how many rooms the viewers spread, one after the other: `{room}` in the URL counts from 0.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub rooms: u64,
    /// The bearer token, if the server wants one.
    #[arg(long)]
    pub token: Option<String>,
    /// How many viewers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub viewers: u64,
    /// How many join in a second.
    #[arg(long, default_value = "100/s", value_name = "RATE", value_parser = parse_rate)]
    pub join_rate: f64,
    /// How many leave in a second at the end; at once when not given.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub leave_rate: Option<f64>,
    /// How long to measure.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub duration: Duration,
    /// How long to wait after the last join before measuring.
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    pub warmup: Duration,
    /// Ask for audio too.
    #[arg(long)]
    pub audio: bool,
    /// Open a data channel too, and keep it.
    #[arg(long)]
    pub data_channel: bool,
    /// The server's process on this machine, to measure its CPU and memory.
    #[arg(long)]
    pub pid: Option<u32>,
    /// The share of packets that is opened and checked; the first viewers check everything, unless it is 0%.
    #[arg(long, default_value = "1%", value_name = "SHARE", value_parser = parse_share)]
    pub verify: f64,
    /// The share of packets that is asked for again although it came, to load retransmission.
    #[arg(long, default_value = "0%", value_name = "SHARE", value_parser = parse_share)]
    pub nack: f64,
    /// Fail when more than this share of packets is lost after repair.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub max_loss: Option<f64>,
    /// Between two transport-wide feedbacks of a viewer.
    #[arg(long, default_value = "100ms", value_name = "DURATION", value_parser = parse_duration)]
    pub feedback_interval: Duration,
    /// Threads that receive.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub threads: u64,
    /// The room is silent: viewers without media are no failure.
    #[arg(long)]
    pub silent: bool,
    /// One JSON object on stdout instead of a table.
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// Returns what each viewer asks for.
    #[must_use]
    pub const fn wishes(&self) -> Wishes {
        Wishes { audio: self.audio, data_channel: self.data_channel }
    }

    /// Returns how the viewers behave.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        Behaviour {
            verify_one_in: one_in(self.verify),
            nack_one_in: one_in(self.nack),
            feedback_interval: self.feedback_interval.max(FEEDBACK_INTERVAL_MIN),
            thorough: if self.verify > 0.0 { THOROUGH } else { 0 },
        }
    }
}

/// Turns a share into the mean distance of what it takes; `None` for nothing.
fn one_in(share: f64) -> Option<u64> {
    // Shares are checked to lie in 0..=1, and below one in a billion is nothing.
    (share > 1e-9).then(|| (1.0 / share).round() as u64)
}

/// Reads `100/s`.
fn parse_rate(text: &str) -> anyhow::Result<f64> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate: f64 = number.parse().with_context(|| format!("not a rate: {text:?}; write it as 100/s"))?;
    ensure!(rate.is_finite() && (0.01..=1e6).contains(&rate), "a rate lies between 0.01/s and 1000000/s");
    Ok(rate)
}

/// Reads `0.5%` or `0.005`.
fn parse_share(text: &str) -> anyhow::Result<f64> {
    let complaint = || format!("not a share: {text:?}; write it as 0.5% or 0.005");
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().with_context(complaint)? / 100.0,
        None => text.parse().with_context(complaint)?,
    };
    ensure!((0.0..=1.0).contains(&share), complaint());
    Ok(share)
}

/// How many viewers check every packet.
const THOROUGH: u64 = 4;
const FEEDBACK_INTERVAL_MIN: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_are_read_as_people_write_them() {
        assert!((parse_share("0.5%").unwrap() - 0.005).abs() < 1e-12);
        assert!((parse_share("0.01").unwrap() - 0.01).abs() < 1e-12);
        assert!((parse_rate("100/s").unwrap() - 100.0).abs() < 1e-12);
        for bad in ["", "%", "101%", "-1%", "x", "nan"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
        for bad in ["", "0/s", "/s", "inf", "5/m"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_becomes_the_mean_distance_of_what_it_takes() {
        assert_eq!(
            (one_in(0.01), one_in(1.0), one_in(0.0), one_in(0.005)),
            (Some(100), Some(1), None, Some(200))
        );
    }
}
