//! Tests of the estimator against a seeded, simulated path: real feedback bytes, a real pacer.

mod application;
mod feedback;
mod link;
mod path;
mod steady;
mod steps;
