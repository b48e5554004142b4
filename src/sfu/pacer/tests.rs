//! Tests of the pacer through its public API.
