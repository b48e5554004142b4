//! The body of a trickle or restart PATCH.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../src/transport/tests/exercise/mod.rs"]
#[allow(dead_code, reason = "one target uses one of the functions")]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::sdpfrag(bytes));
