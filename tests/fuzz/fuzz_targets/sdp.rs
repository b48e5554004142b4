//! The body of a POST to a WHIP or WHEP endpoint: read, and answered as either.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/transport/tests/exercise/mod.rs"]
#[allow(dead_code, reason = "one target uses one of the functions")]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::sdp(bytes));
