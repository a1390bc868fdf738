//! Commands and events between a program and the processes that it has started.
//!
//! The program that starts another is the *frontend*; what it has started is the *backend*. The frontend calls a command by its
//! name, with JSON parameters; the backend runs the handler of that name and answers once, with a result or an error. Events
//! flow the other way, whenever there is something to tell.
//!
//! ```text
//!   frontend                                    backend
//!      │ {"call":7,"command":"zones","params":…}   │
//!      ├──────────────────────────────────────────►│ handler "zones"
//!      │              {"answer":7,"result":…}      │
//!      │◄──────────────────────────────────────────┤
//!      │              {"event":"detections",…}     │
//!      │◄──────────────────────────────────────────┤
//! ```
//!
//! What travels is defined in [`message`] and [`framing`], and drawn in `docs/commands.md` so that it can be implemented in any
//! language. The socket is inherited: [`ENVIRONMENT`] holds the number of its descriptor.
//!
//! - A worker uses [`Backend`]: its descriptor fits into any event loop, or [`Backend::serve`] is the loop.
//!   With the feature `tokio` there is `asynchronous::Backend`.
//! - Whoever starts workers uses [`Frontend`], or `asynchronous::Frontend`; [`pair`] and [`pass`] give a child its end.
//!
//! What must hold: every call is answered or fails within its time limit, also when the backend dies; neither side
//! waits for the other to read; what a peer sends is bounded ([`MAX_MESSAGE`]) and never trusted.
//!
//! ```no_run
//! use serde::Deserialize;
//! use valkka_command::{Backend, Handlers};
//!
//! #[derive(Deserialize)]
//! struct Zone { camera: String, corners: Vec<[f64; 2]> }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut zones: Vec<Zone> = Vec::new();
//! let mut handlers = Handlers::new();
//! handlers.on("zone", |zones: &mut Vec<Zone>, zone: Zone| {
//!     if zone.corners.len() < 3 {
//!         return Err(format!("{}: a zone has three corners or more", zone.camera));
//!     }
//!     zones.push(zone);
//!     Ok(zones.len())
//! });
//! if let Some(mut backend) = Backend::inherited()? {
//!     backend.events().send("started", &"ready for zones")?;
//!     backend.serve(&mut handlers, &mut zones)?;
//! }
//! # Ok(()) }
//! ```

#[cfg(feature = "tokio")]
pub mod asynchronous;
mod backend;
pub mod framing;
mod frontend;
mod handlers;
mod inherited;
pub mod message;
mod outbox;

pub use backend::{Backend, Closed, PendingCall, Refusal};
pub use framing::{MAX_MESSAGE, ProtocolError};
pub use frontend::{CallError, Frontend};
pub use handlers::Handlers;
pub use inherited::{ENVIRONMENT, InheritedError, inherit, pair, pass, take};
pub use message::{Answer, Call, Event, Message};
pub use outbox::{EventError, Events};

/// The command that every backend answers, by itself: whether it is alive and turns its loop.
pub const PING: &str = "ping";
