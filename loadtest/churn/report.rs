//! What a churn came to.
#![expect(clippy::print_stdout, reason = "a command's report is its output")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::process::Reading;

/// Joins, failures, and what the server did not give back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Guests who joined, stayed and left.
    pub joined: u64,
    /// Guests who did not, by reason.
    pub failures: BTreeMap<String, u64>,
    /// From the offer to a connected link.
    pub join_times: Vec<Duration>,
    /// The server before and after, if its process was named.
    pub memory: Option<Memory>,
}

/// The server's memory and descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    before: Reading,
    after: Reading,
    cpu: Duration,
}

impl Report {
    /// Counts a guest who came, stayed and left.
    pub fn note_joined(&mut self, after: Duration) {
        self.joined = self.joined.saturating_add(1);
        self.join_times.push(after);
    }

    /// Counts one who did not.
    pub fn note_failed(&mut self, error: &anyhow::Error) {
        let count = self.failures.entry(format!("{error:#}")).or_default();
        *count = count.saturating_add(1);
    }

    /// How many did not.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Says in a line who came and who failed.
    pub fn so_far(&self) -> String {
        format!("{} joined, stayed and left; {} failed", self.joined, self.failed())
    }

    /// Prints it, for people or as one JSON object.
    ///
    /// # Errors
    /// When the object cannot be written as JSON.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(&self.object())?);
        } else {
            print!("{}", self.text());
        }
        Ok(())
    }

    fn percentile_ms(&self, share: f64) -> Option<f64> {
        let mut times = self.join_times.clone();
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        // A place inside of a vector.
        let place = (last as f64 * share).round() as usize;
        times.get(place).map(|time| time.as_secs_f64() * 1_000.0)
    }

    fn object(&self) -> serde_json::Value {
        let percentiles = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)]
            .map(|(name, share)| (name, self.percentile_ms(share)));
        let mut object = json!({
            "viewers_connected": self.joined,
            "viewers_failed": self.failed(),
            "failures": self.failures,
            "join_ms": BTreeMap::from(percentiles),
        });
        if let (Some(memory), Some(members)) = (self.memory, object.as_object_mut()) {
            let Memory { before, after, cpu } = memory;
            let figures = [
                ("server_rss_kb_before", json!(before.rss_kb)),
                ("server_rss_kb_after", json!(after.rss_kb)),
                ("server_leaked_kb_per_join", json!(memory.leaked_kb_per_join(self.joined))),
                ("server_descriptors_before", json!(before.descriptors)),
                ("server_descriptors_after", json!(after.descriptors)),
                ("server_threads_before", json!(before.threads)),
                ("server_threads_after", json!(after.threads)),
                ("server_cpu_s", json!(cpu.as_secs_f64())),
            ];
            members.extend(figures.map(|(name, value)| (name.to_owned(), value)));
        }
        object
    }

    fn text(&self) -> String {
        let mut lines = vec![self.so_far()];
        lines.extend(self.failures.iter().map(|(reason, count)| format!("  {count} x {reason}")));
        if let [Some(p50), Some(p95), Some(p99)] = [0.5, 0.95, 0.99].map(|share| self.percentile_ms(share)) {
            lines.push(format!("joined after p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms"));
        }
        if let Some(memory) = self.memory {
            let Memory { before, after, .. } = memory;
            lines.push(format!(
                "server memory {} kB before, {} kB after: {:.3} kB a join",
                before.rss_kb,
                after.rss_kb,
                memory.leaked_kb_per_join(self.joined)
            ));
            lines.push(format!(
                "server descriptors {} before, {} after; threads {} before, {} after",
                before.descriptors, after.descriptors, before.threads, after.threads
            ));
        }
        lines.join("\n") + "\n"
    }
}

impl Memory {
    /// Compares the server before a round, when the last guest had left, and settled.
    pub fn between(before: Reading, after: Reading, full: Reading) -> Self {
        Self { before, after, cpu: full.cpu.saturating_sub(before.cpu) }
    }

    /// Descriptors that are more than before; negative when they are fewer.
    pub fn leaked_descriptors(&self) -> i64 {
        self.after.descriptors.cast_signed().saturating_sub(self.before.descriptors.cast_signed())
    }

    /// Memory that is more than before, for each join; zero when it is less.
    pub fn leaked_kb_per_join(&self, joined: u64) -> f64 {
        self.after.rss_kb.saturating_sub(self.before.rss_kb) as f64 / joined.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        for time_ms in [30, 10, 20] {
            report.note_joined(Duration::from_millis(time_ms));
        }
        report.note_failed(&anyhow::anyhow!("http 503"));
        let before = Reading { cpu: Duration::from_secs(1), rss_kb: 1_000, threads: 4, descriptors: 20 };
        let after = Reading { cpu: Duration::from_secs(9), rss_kb: 1_030, threads: 4, descriptors: 22 };
        let full = Reading { cpu: Duration::from_secs(3), ..after };
        report.memory = Some(Memory::between(before, after, full));
        report
    }

    #[test]
    fn what_the_server_has_more_than_before_is_leaked() {
        let memory = report().memory.unwrap();

        assert_eq!(memory.leaked_descriptors(), 2);
        assert!((memory.leaked_kb_per_join(3) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn the_object_has_joins_failures_and_the_server() {
        let object = report().object();

        assert_eq!(object["viewers_connected"], 3);
        assert_eq!(object["failures"]["http 503"], 1);
        assert_eq!(object["join_ms"]["p50"], 20.0);
        assert_eq!(object["server_cpu_s"], 2.0);
        assert_eq!(object["server_descriptors_after"], 22);
    }

    #[test]
    fn without_joins_there_is_no_percentile() {
        assert!(Report::default().object()["join_ms"]["p50"].is_null());
        assert!(Report::default().text().starts_with("0 joined"));
    }
}
