//! What a publisher prints at its end.
#![expect(clippy::print_stdout, reason = "a command's report is its output")]

use serde::Serialize;

/// The report; its names are what `--json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Report {
    /// Whether media flowed.
    pub(super) connected: bool,
    /// From the offer to the first packet of media.
    pub(super) join_ms: f64,
    /// From the first packet of media to the end.
    pub(super) measured_s: f64,
    /// Packets that the kernel took: media and reports.
    pub(super) packets_sent: u64,
    /// Their bytes, sealed.
    pub(super) bytes_sent: u64,
    /// Packets that the kernel did not take.
    pub(super) send_errors: u64,
    /// Frames of all layers.
    pub(super) frames_sent: u64,
    /// Keyframes of all layers.
    pub(super) keyframes_sent: u64,
    /// Requests for a keyframe, PLI or FIR.
    pub(super) plis_received: u64,
    /// Of those, how many the layer had that had most.
    pub(super) plis_of_one_layer: u64,
    /// The shortest time between two of them for one layer.
    pub(super) pli_gap_ms: Option<f64>,
    /// Packets that the server asked for again.
    pub(super) nacks_received: u64,
    /// Packets that were sent again.
    pub(super) retransmissions_sent: u64,
    /// CPU time of this process.
    pub(super) cpu_s: f64,
    /// The agreed protection.
    pub(super) srtp_profile: Option<&'static str>,
}

impl Report {
    /// Adds another publisher's: sums, the slower join, the longer time, the layer that was asked
    /// most.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            connected: self.connected && other.connected,
            join_ms: self.join_ms.max(other.join_ms),
            measured_s: self.measured_s.max(other.measured_s),
            packets_sent: self.packets_sent + other.packets_sent,
            bytes_sent: self.bytes_sent + other.bytes_sent,
            send_errors: self.send_errors + other.send_errors,
            frames_sent: self.frames_sent + other.frames_sent,
            keyframes_sent: self.keyframes_sent + other.keyframes_sent,
            plis_received: self.plis_received + other.plis_received,
            plis_of_one_layer: self.plis_of_one_layer.max(other.plis_of_one_layer),
            pli_gap_ms: self.pli_gap_ms.into_iter().chain(other.pli_gap_ms).reduce(f64::min),
            nacks_received: self.nacks_received + other.nacks_received,
            retransmissions_sent: self.retransmissions_sent + other.retransmissions_sent,
            cpu_s: self.cpu_s + other.cpu_s,
            srtp_profile: self.srtp_profile.or(other.srtp_profile),
        }
    }
}

/// Prints the report, as one JSON object or for people.
///
/// # Errors
///
/// When the object cannot be written as JSON.
pub(super) fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    let Report { measured_s, packets_sent, bytes_sent, frames_sent, .. } = report;
    let seconds = measured_s.max(f64::MIN_POSITIVE);
    let profile = report.srtp_profile.unwrap_or("not connected");
    println!("connected in     {:>10.1} ms   {profile}", report.join_ms);
    println!("published for    {measured_s:>10.1} s    {:.2} s of CPU", report.cpu_s);
    println!("frames           {frames_sent:>10}      {:.1}/s", *frames_sent as f64 / seconds);
    println!("packets          {packets_sent:>10}      {:.1}/s", *packets_sent as f64 / seconds);
    println!("bytes            {bytes_sent:>10}      {:.3} Mbit/s", *bytes_sent as f64 * 8e-6 / seconds);
    println!("keyframes        {:>10}      {} asked for", report.keyframes_sent, report.plis_received);
    println!("sent again       {:>10}      {} asked for", report.retransmissions_sent, report.nacks_received);
    println!("not sent         {:>10}", report.send_errors);
    Ok(())
}
