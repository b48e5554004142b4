//! Runs the machines: shards on their threads, the mesh between them, the registry above them.
//!
//! Think of a node as a few threads that never wait for each other. A *shard* owns UDP sockets and sessions and does
//! everything that happens to a packet; the *mesh* carries slot references and rare messages between shards; the
//! *registry* knows which shard owns what, and is the only thing behind a lock. [`NodeHandle`] is the door for
//! signaling. Invariant: nothing a shard does for a packet waits, locks or allocates.
//!
//! Start reading at [`Node::start`], then `shard`.

mod admission;
mod advertise;
pub mod api;
mod clock;
pub mod explain;
pub mod handle;
mod mesh;
mod metrics;
mod name;
mod node;
mod registry;
mod shard;

pub use admission::Overload;
pub use api::{
    JoinError, JoinRequest, Joined, LayerBrief, LayerStatus, Restarted, Role, RoomStatus, SessionError,
    SessionStatus,
};
pub use explain::Explanation;
pub use handle::NodeHandle;
pub use name::RoomName;
pub use node::{AdvertisedAddress, Node, NodeConfig, StartError};
pub use sfu::viewer::LayerRequest;
pub use shard::ICE_TCP_SOCKETS_MAX;
pub use transport::sdp::{OfferClass, OfferError};
pub use transport::udp::GsoMode;
