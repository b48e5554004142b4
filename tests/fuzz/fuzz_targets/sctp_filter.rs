//! A session's SCTP packets before the library: each behind its length. The checksum is the library's affair.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtp::MonoTime;
use transport::sctp::filter::{Filter, UNDELIVERED_MAX};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut filter = Filter::new();
    let mut now = 0;
    while let [l0, l1, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(after.len());
        let (packet, after) = after.split_at(len);
        now += 10;
        let closed = filter.check(MonoTime::from_millis(now), packet).is_err();
        assert!(closed || filter.undelivered() <= UNDELIVERED_MAX);
        // What the library would answer is as hostile as the input here.
        let _ = filter.check_outgoing(packet);
        rest = after;
    }
});
