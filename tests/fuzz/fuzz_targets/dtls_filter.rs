//! A session's datagrams before DTLS: the first byte chooses our side, then each datagram behind its length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transport::dtls::{Filter, Role};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let mut filter = Filter::new(if first & 1 == 0 { Role::Server } else { Role::Client });
    while let [l0, l1, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(after.len());
        let (datagram, after) = after.split_at(len);
        let _ = filter.handle_datagram(datagram);
        assert!(filter.held_bytes() <= 65_536, "held {} bytes", filter.held_bytes());
        while let Some(record) = filter.poll_record() {
            assert!(!record.is_empty());
        }
        rest = after;
    }
});
