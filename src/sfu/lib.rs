//! The SFU without its network: what arrives from a publisher, and what each viewer gets of it.
//!
//! Two state machines and the store between them. [`publisher::Publisher`] takes a publisher's decrypted
//! packets, finds their layer, repairs loss and writes them into the layer's packet ring ([`ring`]).
//! [`viewer`] reads the rings and decides, for one viewer, what goes out and under which numbers. Both are
//! sans-IO: they are told the time, given the dice, and hand back what to do; they know no socket, thread or
//! lock.
//!
//! Beside them stand, for each viewer, the estimate of its path ([`bwe`]), the choice of a layer by it
//! ([`allocator`]) and the pacing of what leaves ([`pacer`]).
//!
//! Start reading at [`packet`] and [`ring`], then [`publisher`].
#![forbid(unsafe_code)]

pub mod allocator;
pub mod bitrate;
pub mod bwe;
pub mod drop_reason;
pub mod pacer;
pub mod packet;
pub mod publisher;
pub mod ring;
pub mod track;
pub mod viewer;

pub use bitrate::Bitrate;
pub use drop_reason::{DropCounts, DropReason};
pub use packet::Packet;
pub use publisher::{Publisher, PublisherConfig, PublisherOutput, PublisherStats};
pub use ring::{Page, Ring, Rings};
pub use track::{Arrival, Epoch, LayerIndex, LayerInfo, Timing, TrackInfo};
