//! What the hostile viewers print at their end.
#![expect(clippy::print_stdout, reason = "a command's report is its output")]

use super::{Kind, Report};

/// Prints the report, as one JSON object or for people.
///
/// # Errors
/// When the object cannot be written as JSON.
pub(super) fn print(kind: Kind, report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!("{kind:?}: {} connected, {} ended early", report.connected, report.ended_early);
    println!(
        "sent {} ({:.0}/s), received {} packets",
        report.sent, report.sent_per_s, report.packets_received
    );
    Ok(())
}
