//! Tests of the viewer through its public API.
