#![no_main]
#[path = "../../../src/transport/tests/exercise/mod.rs"]
#[allow(dead_code, reason = "each target runs one of its functions")]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::sdp(bytes));
