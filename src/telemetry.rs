//! Logs: structured events to stderr, text for people, JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process; a second call changes nothing.
pub(crate) fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let outcome = if wants_json(log.format, stderr().is_terminal()) {
        subscriber.json().flatten_event(true).try_init()
    } else {
        subscriber.with_ansi(is_colourful(stderr().is_terminal())).with_target(false).compact().try_init()
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "logging was started before");
    }
}

const fn wants_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// Says whether to colour what goes to a terminal. `NO_COLOR` with any text in it means no.
#[must_use]
pub(crate) fn is_colourful(terminal: bool) -> bool {
    terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_for_people_unless_asked_otherwise() {
        assert!(!wants_json(LogFormat::Auto, true));
        assert!(wants_json(LogFormat::Auto, false));
        assert!(!wants_json(LogFormat::Text, false));
        assert!(wants_json(LogFormat::Json, true));
    }
}
