//! `whep`: a crowd of viewers joins, is measured, and leaves.
//!
//! The phases follow one another: joining, settling down, measuring, a last second in which repairs still count,
//! leaving, the report. A signal skips to leaving. Media runs in the crowd's threads; this one only joins and waits.

mod arguments;
mod ledger;
mod run;

pub use arguments::Arguments;

use crate::descriptors;
use crate::link::{Identity, Profile};
use crate::report;
use crate::stop::Stop;
use anyhow::{Context, ensure};
use run::Run;

/// Runs the command.
///
/// # Errors
/// When it cannot begin, and when what was asked was not reached.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = Stop::on_signals()?;
    descriptors::raise(arguments.viewers)?;
    let identity = Identity::generate(&Profile::CHROMIUM)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async { Run::new(arguments, identity, stop).await?.complete().await })?;
    report::print(&report, arguments.json)?;
    judge(&report, arguments)
}

/// Says what of the asked was not reached.
fn judge(report: &report::Report, arguments: &Arguments) -> anyhow::Result<()> {
    let (connected, asked) = (report.viewers_connected, arguments.viewers);
    ensure!(connected == asked, "{connected} of {asked} viewers connected and stayed");
    let silent = report.viewers_without_media;
    ensure!(silent == 0 || arguments.silent, "{silent} viewers got no media (--silent if that is meant)");
    let open = report.data_channels_open;
    ensure!(open == asked || !arguments.data_channel, "{open} of {asked} data channels are open");
    let wrong = report.verify_failures;
    ensure!(wrong == 0, "{wrong} packets were not what they should be");
    let back = report.timestamp_errors;
    ensure!(back == 0, "{back} packets in order had a timestamp that went back");
    let unknown = report.unknown_packets;
    ensure!(unknown == 0, "{unknown} packets belong to no track of the answer");
    if let Some(max_loss) = arguments.max_loss {
        let lost = report.lost_percent.context("no packet came that could have been lost (--max-loss)")?;
        let allowed = max_loss * 100.0;
        ensure!(lost <= allowed, "{lost:.4} % of the packets were lost, {allowed:.4} % are allowed");
    }
    ensure!(report.measured_s > 0.0, "ended before anything was measured");
    Ok(())
}

/// Looks at a process by its number.
fn reading(pid: u32) -> anyhow::Result<crate::process::Reading> {
    crate::process::Reading::of(pid).context("--pid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(more: &[&str]) -> Arguments {
        let line = ["whep", "--url", "http://h/whep/a", "--viewers", "2"].iter().chain(more);
        Line::parse_from(line).arguments
    }

    fn good() -> report::Report {
        report::Report {
            viewers: 2,
            viewers_connected: 2,
            measured_s: 1.0,
            lost_percent: Some(0.0),
            ..report::Report::default()
        }
    }

    #[test]
    fn what_was_asked_and_reached_is_success() {
        assert!(judge(&good(), &arguments(&["--max-loss", "0.01%"])).is_ok());
    }

    #[test]
    fn each_thing_that_was_not_reached_is_said() {
        let with = |change: fn(&mut report::Report)| {
            let mut report = good();
            change(&mut report);
            judge(&report, &arguments(&["--max-loss", "0.01%"])).unwrap_err().to_string()
        };

        assert_eq!(with(|report| report.viewers_connected = 1), "1 of 2 viewers connected and stayed");
        assert!(with(|report| report.viewers_without_media = 1).starts_with("1 viewers got no media"));
        assert!(with(|report| report.verify_failures = 3).starts_with("3 packets"));
        assert!(with(|report| report.lost_percent = Some(0.02)).contains("0.0200 %"));
        assert!(with(|report| report.lost_percent = None).starts_with("no packet came"));
        assert!(with(|report| report.timestamp_errors = 4).starts_with("4 packets in order"));
        assert!(with(|report| report.unknown_packets = 5).starts_with("5 packets belong to no track"));
        assert!(with(|report| report.measured_s = 0.0).contains("before anything"));
    }

    #[test]
    fn silence_may_be_meant() {
        let report = report::Report { viewers_without_media: 2, ..good() };

        assert!(judge(&report, &arguments(&["--silent"])).is_ok());
        assert!(judge(&report, &arguments(&[])).is_err());
    }
}
