//! Waits for packets, for the time, for lines on stdin and for the signal to end, precisely.
//!
//! The time-out is a `timerfd` with an absolute time: `epoll_wait` itself rounds up to milliseconds. Stdin has a thread
//! of its own, because it may be a file or `/dev/null`, which epoll refuses.

use std::io::{self, BufRead, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rtp::MonoTime;

use crate::clock;

/// What the waiter woke up for, beside the time.
#[derive(Debug, Default)]
pub(super) struct Wake {
    /// Tokens of what can be read.
    pub(super) readable: Vec<u64>,
    /// Lines from stdin, raw.
    pub(super) lines: Vec<String>,
    /// Whether the process was asked to end.
    pub(super) ends: bool,
}

/// The one place where the emulator sleeps.
#[derive(Debug)]
pub(super) struct Waiter {
    epoll: Epoll,
    timer: TimerFd,
    armed: Option<MonoTime>,
    signals: SignalFd,
    lines: Receiver<String>,
    lines_came: Arc<EventFd>,
}

/// Tokens from here on are the waiter's own.
const OWN_TOKENS: u64 = u64::MAX - 3;
const TIMER: u64 = OWN_TOKENS;
const SIGNAL: u64 = OWN_TOKENS + 1;
const LINES: u64 = OWN_TOKENS + 2;
/// Events taken at once; the rest is taken the next time round.
const EVENTS_MAX: usize = 64;
/// A longer line is no command.
const LINE_BYTES_MAX: u64 = 4096;
/// Lines read ahead; the thread waits beyond that.
const LINES_MAX: usize = 16;

impl Waiter {
    /// Takes over SIGINT, SIGTERM and stdin. Call it before other threads are started: they would get the signals.
    pub(super) fn new() -> io::Result<Self> {
        let mut ends = SigSet::empty();
        ends.add(Signal::SIGINT);
        ends.add(Signal::SIGTERM);
        ends.thread_block()?;
        let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let timer_flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, timer_flags)?;
        let lines_came = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNAL))?;
        epoll.add(&*lines_came, EpollEvent::new(EpollFlags::EPOLLIN, LINES))?;
        let lines = read_stdin(Arc::clone(&lines_came))?;
        Ok(Self { epoll, timer, armed: None, signals, lines, lines_came })
    }

    /// Wakes up whenever this can be read, with this token.
    pub(super) fn watch(&self, what: impl AsFd, token: u64) -> io::Result<()> {
        debug_assert!(token < OWN_TOKENS, "the waiter's own token");
        Ok(self.epoll.add(what, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Sleeps until `until` or until something else happens, and says what.
    pub(super) fn wait(&mut self, until: Option<MonoTime>, wake: &mut Wake) -> io::Result<()> {
        wake.readable.clear();
        wake.lines.clear();
        let timeout = self.arm(until)?;
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in events.iter().take(count) {
            match event.data() {
                TIMER => {
                    self.armed = None;
                    // It stays readable otherwise, and where nothing is due any more, nothing would set it anew.
                    let _: nix::Result<()> = self.timer.wait();
                }
                SIGNAL => wake.ends = self.signals.read_signal()?.is_some(),
                LINES => {
                    // Non-blocking: it may be read empty already.
                    let _: nix::Result<u64> = self.lines_came.read();
                    wake.lines.extend(self.lines.try_iter().take(LINES_MAX));
                }
                token => wake.readable.push(token),
            }
        }
        Ok(())
    }

    /// Sets the timer, unless it is set so already; a time that has come needs none.
    fn arm(&mut self, until: Option<MonoTime>) -> io::Result<EpollTimeout> {
        let Some(until) = until else {
            return Ok(EpollTimeout::NONE);
        };
        if until <= clock::now() {
            return Ok(EpollTimeout::ZERO);
        }
        if self.armed != Some(until) {
            let time = Duration::from_nanos(until.as_nanos()).into();
            self.timer.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.armed = Some(until);
        }
        Ok(EpollTimeout::NONE)
    }
}

/// Starts the thread that reads lines until stdin ends.
fn read_stdin(came: Arc<EventFd>) -> io::Result<Receiver<String>> {
    let (sender, lines) = sync_channel(LINES_MAX);
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || pass_lines(&sender, &came))?;
    Ok(lines)
}

fn pass_lines(sender: &SyncSender<String>, came: &EventFd) {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        match stdin.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() || came.write(1).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_has_come_wakes_once() {
        let mut waiter = Waiter::new().unwrap();
        let mut wake = Wake::default();
        waiter.wait(Some(clock::now() + Duration::from_millis(1)), &mut wake).unwrap();
        let came = Arc::clone(&waiter.lines_came);
        let begun = clock::now();

        let later = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            came.write(1).unwrap();
        });
        waiter.wait(None, &mut wake).unwrap();

        assert!(clock::now().since(begun) >= Duration::from_millis(50), "nothing else has happened");
        later.join().unwrap();
    }
}
