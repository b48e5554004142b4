//! The whole media plane in virtual time: publishers, the real machines of `sfu`, and viewers on a seeded network.
//!
//! Think of a theatre. A seed decides the play ([`scenario`]): who sends, over which paths, what happens to them.
//! [`world`] runs it a millisecond at a time; the stage is `loadtest`'s network model, the publisher and the viewers
//! are written from the RFCs and share nothing with the server, so that what they find wrong is wrong.
//! [`properties`] says afterwards what was promised and not kept. One seed gives one run, on every machine.
//!
//! Start reading at [`scenario::Scenario`], then [`properties::Property`].
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test may end its process"
)]

mod decoder;
pub mod encoder;
mod feedback;
pub mod kept;
mod ledger;
pub mod properties;
pub mod publisher;
pub mod receiver;
pub mod scenario;
mod server;
pub mod sweep;
pub mod table;
pub mod trace;
mod wire;
pub mod world;

pub use decoder::Shown;
pub use server::Switch;
