//! The report on stdout: a table for people, JSON for programs.
#![expect(clippy::print_stdout, reason = "the report is what the command is for")]

use super::{Percentiles, Report};

/// Prints a report.
///
/// # Errors
/// When it cannot be written as JSON, which no finite number causes.
pub fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        for (name, value) in rows(report) {
            println!("{name:<22} {value}");
        }
    }
    Ok(())
}

fn rows(report: &Report) -> Vec<(&'static str, String)> {
    let mut rows = vec![("viewers", format!("{} of {} connected", report.viewers_connected, report.viewers))];
    rows.extend(report.failures.iter().map(|(reason, count)| ("  failed", format!("{count} × {reason}"))));
    if report.viewers_without_media > 0 {
        rows.push(("  without media", report.viewers_without_media.to_string()));
    }
    if let Some(frozen) = report.viewers_frozen.filter(|frozen| *frozen > 0) {
        rows.push(("  frozen over 1 s", frozen.to_string()));
    }
    rows.extend(report.joins_per_s.map(|joins| ("joins", format!("{joins:.1}/s"))));
    rows.extend(percentiles("  to first packet", report.join_ms.as_ref()));
    rows.extend(percentiles("  to first keyframe", report.first_keyframe_ms.as_ref()));
    rows.extend(percentiles("added delay", report.added_delay_ms.as_ref()));
    let runs = report.packets_per_receive.map(|packets| format!(" in runs of {packets:.1}"));
    rows.push((
        "received",
        format!(
            "{} packets in {:.1} s: {:.0}/s{}, {:.1} Mbit/s",
            report.packets_received,
            report.measured_s,
            report.packets_per_s,
            runs.unwrap_or_default(),
            report.mbit_per_s
        ),
    ));
    let share = report.lost_percent.map(|percent| format!(" ({percent:.4} %)"));
    rows.push(("  lost", format!("{}{}", report.packets_lost, share.unwrap_or_default())));
    let (late, twice) = (report.out_of_order, report.duplicates);
    rows.push(("  out of order", format!("{late}, {twice} twice")));
    let (right, wrong) = (report.verified_packets, report.verify_failures);
    rows.push(("  verified", format!("{right}, {wrong} wrong, {} times back", report.timestamp_errors)));
    rows.push(("  asked again", format!("{}, {} came by RTX", report.nacks_sent, report.rtx_packets)));
    rows.extend(
        report.nacks_answered_percent.map(|percent| ("  on purpose", format!("{percent:.1} % came again"))),
    );
    rows.push(("load", per_packet(report.load_cpu_s, report.load_cpu_ns_per_packet)));
    if let Some(server) = &report.server {
        rows.push(("server", per_packet(server.server_cpu_s, server.server_cpu_ns_per_packet)));
        rows.extend(server.join_cpu_ms.map(|ms| ("  per join", format!("{ms:.3} ms CPU, media included"))));
        rows.extend(server.server_rss_kb_per_viewer.map(|kb| ("  per viewer", format!("{kb:.1} kB"))));
        rows.push(("  threads", server.server_threads.to_string()));
    }
    rows
}

fn percentiles(name: &'static str, percentiles: Option<&Percentiles>) -> Option<(&'static str, String)> {
    let Percentiles { p50, p95, p99 } = percentiles?;
    Some((name, format!("p50 {p50:.2} ms, p95 {p95:.2} ms, p99 {p99:.2} ms")))
}

fn per_packet(cpu_s: f64, ns: Option<f64>) -> String {
    let each = ns.map(|ns| format!(", {ns:.0} ns a packet")).unwrap_or_default();
    format!("{cpu_s:.2} s CPU{each}")
}

#[cfg(test)]
mod tests {
    use super::super::{Histogram, Server};
    use super::*;
    use std::time::Duration;

    fn report() -> Report {
        let mut histogram = Histogram::new();
        histogram.note(Duration::from_millis(20));
        Report {
            viewers: 3,
            viewers_connected: 2,
            viewers_failed: 1,
            failures: [("http 503: busy".to_owned(), 1)].into(),
            viewers_frozen: Some(1),
            join_ms: Percentiles::of(&histogram),
            server: Some(Server { server_cpu_s: 1.5, server_threads: 4, ..Server::default() }),
            ..Report::default()
        }
    }

    #[test]
    fn the_names_of_the_json_are_those_that_others_read() {
        let json = serde_json::to_value(report()).unwrap();

        for name in [
            "viewers_connected",
            "viewers_failed",
            "failures",
            "join_ms",
            "packets_received",
            "packets_lost",
            "packets_per_s",
            "mbit_per_s",
            "server_cpu_s",
            "server_threads",
            "measured_s",
            "verified_packets",
            "verify_failures",
            "out_of_order",
            "nacks_sent",
            "viewers_frozen",
        ] {
            assert!(json.get(name).is_some(), "{name} in {json}");
        }
        assert_eq!(json["failures"]["http 503: busy"], 1);
        assert!(json["join_ms"]["p99"].as_f64().is_some_and(|ms| (19.0..21.0).contains(&ms)));
        assert!(json.get("added_delay_ms").is_none(), "nothing was measured");
        assert!(json.get("server_rss_kb_per_viewer").is_none());
    }

    #[test]
    fn a_share_of_nothing_is_left_out() {
        let json = serde_json::to_value(report()).unwrap();

        for name in ["lost_percent", "joins_per_s", "packets_per_receive"] {
            assert!(json.get(name).is_none(), "{name} in {json}");
        }
        assert!(rows(&report()).contains(&("  lost", "0".to_owned())));
    }

    #[test]
    fn the_table_says_why_viewers_failed() {
        let rows = rows(&report());

        assert!(rows.contains(&("  failed", "1 × http 503: busy".to_owned())));
        assert!(rows.contains(&("viewers", "2 of 3 connected".to_owned())));
        assert!(rows.contains(&("  frozen over 1 s", "1".to_owned())));
        assert!(rows.iter().any(|(name, _)| *name == "server"));
    }
}
