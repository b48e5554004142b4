//! Printing: the tables for people, the JSON object for programs.
#![expect(clippy::print_stdout, reason = "a command's report is its output")]

use serde_json::json;

use super::limit::{Config, Limit, Receiver};

/// Prints bare limits, one line each or as one JSON object.
///
/// # Errors
/// When the object cannot be written as JSON.
pub fn print_limits(limits: &[(Config, Limit)], json: bool) -> anyhow::Result<()> {
    if json {
        let objects: Vec<_> = limits.iter().map(limit_object).collect();
        println!("{}", serde_json::to_string(&json!({ "limits": objects }))?);
        return Ok(());
    }
    for measured in limits {
        println!("{}", limit_line(measured));
    }
    Ok(())
}

/// One bare limit as a sentence.
pub fn limit_line((config, limit): &(Config, Limit)) -> String {
    format!(
        "bare limit: {} packets/s a core, {} CPU ns a packet (runs of {} x {} B to {} {}, core {})",
        whole(limit.packets_per_core_s()),
        whole(limit.cpu_ns_per_packet()),
        config.run,
        config.size_bytes,
        config.addresses,
        match config.receiver {
            Receiver::Gro => "sockets with UDP_GRO",
            Receiver::Plain => "plain sockets",
        },
        config.core,
    )
}

fn limit_object((config, limit): &(Config, Limit)) -> serde_json::Value {
    json!({
        "addresses": config.addresses,
        "run": config.run,
        "size_bytes": config.size_bytes,
        "receiver": match config.receiver { Receiver::Gro => "gro", Receiver::Plain => "plain" },
        "packets": limit.packets,
        "cpu_s": limit.cpu_time.as_secs_f64(),
        "cpu_ns_per_packet": limit.cpu_ns_per_packet(),
        "packets_per_core_s": limit.packets_per_core_s(),
    })
}

/// A number without decimals, in groups of three.
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if number <= -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_grouped_by_three_from_its_end() {
        assert_eq!(whole(0.4), "0");
        assert_eq!(whole(999.0), "999");
        assert_eq!(whole(1_000.0), "1 000");
        assert_eq!(whole(-1_234_567.8), "-1 234 568");
    }
}
