//! The publisher session as a whole, through its public API.

mod bench;
mod binding;
mod hostile;
mod payloads;
mod repair;
mod reports;
mod tracks;
