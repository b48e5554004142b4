//! Brings the memory of sessions into the cache before they are served. Packet path.
//!
//! Between two packets of one session those of a thousand others go out, and its memory leaves the cache. One session
//! after the other, each read of it would be waited for; several in a row are fetched at once. What is read here is
//! what serving them reads first.

use std::hint;

use rtp::MonoTime;
use transport::path::Path;

use super::table::{Route, SessionKey, Table};

/// Enough for the processor to fetch from many places at once, few enough that the first is still there for its turn.
pub(super) const WARM_SESSIONS: usize = 8;

/// Warms what sending media to the next viewers reads: first what hangs at a session itself, then what that leads to.
pub(super) fn for_media(table: &Table, keys: &[SessionKey]) {
    let sessions = || keys.iter().take(WARM_SESSIONS).filter_map(|key| table.get(*key));
    hint::black_box(sessions().fold(0, |read, session| read ^ session.warm_link()));
    hint::black_box(sessions().fold(0, |read, session| read ^ session.warm_media()));
}

/// As many as one call to the kernel brings.
pub(super) const WARM_REPORTS: usize = 64;

/// Warms what reading reports reads: the sources of a crowd's reports are as cold as its viewers.
pub(super) fn for_reports(table: &Table, paths: impl Iterator<Item = Path>) {
    let mut keys = [None; WARM_REPORTS];
    let mut count = 0;
    for (place, path) in keys.iter_mut().zip(paths) {
        *place = match table.route(&path) {
            Some(Route::Here(key)) => Some(key),
            Some(Route::There(_)) | None => None,
        };
        count += 1;
    }
    let keys = keys.get(..count).unwrap_or_default();
    // First where they lead, then the sessions, then what those lead to: each step waits for all at once.
    let sessions = || keys.iter().flatten().filter_map(|key| table.get(*key));
    hint::black_box(sessions().fold(0, |read, session| read ^ session.warm_inbound()));
    hint::black_box(sessions().fold(0, |read, session| read ^ session.warm_report()));
}

/// Warms what telling sessions the time reads.
pub(super) fn for_deadlines(table: &Table, due: &[Option<(MonoTime, SessionKey)>]) {
    let sessions = due.iter().flatten().filter_map(|(_, key)| table.get(*key));
    hint::black_box(sessions.fold(None, |next, session| next.max(session.next_timeout())));
}
