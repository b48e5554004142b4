//! A publisher as a state machine: real pictures and sound, brought to a bitrate, as RTP packets at their time.
pub mod budget;
pub mod clip;
#[cfg(test)]
mod depacketise;
pub mod h264;
pub mod layer;
pub mod payloads;
pub mod vp8;
