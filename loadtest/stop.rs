//! The wish of a person or a program that a command ends: SIGINT or SIGTERM, so that it can leave and report.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};

/// Says whether it is time to end. Cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Begins to listen for SIGINT and SIGTERM. To be called before other threads are started: they take over that the
    /// signals are left to this listener. A second signal ends the process at once.
    ///
    /// # Errors
    /// When the signals cannot be taken.
    pub fn on_signals() -> anyhow::Result<Self> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block().context("cannot take SIGINT and SIGTERM")?;
        let stop = Self::default();
        let asked = stop.clone();
        thread::Builder::new().name("stop".to_owned()).spawn(move || {
            if signals.wait().is_ok() {
                asked.0.store(true, Ordering::Relaxed);
            }
            // Whoever asks twice does not want a report: only here the signal meets a thread that does not block it.
            let _ = signals.thread_unblock();
            loop {
                thread::park();
            }
        })?;
        Ok(stop)
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
