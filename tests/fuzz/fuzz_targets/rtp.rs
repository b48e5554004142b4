//! A received packet, as it comes out of SRTP.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/rtp/tests/exercise/mod.rs"]
#[allow(dead_code, reason = "one target uses one of the functions")]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::rtp(bytes));
