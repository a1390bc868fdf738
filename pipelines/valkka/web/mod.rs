//! One page, one port.
//!
//! | path | what it answers |
//! | --- | --- |
//! | `/` and its files | the page: all cameras, live, with what moves in them ([`files`]) |
//! | `/api/...`, `/metrics`, `/healthz` | the API, described in `docs/openapi.json`: `routes.rs` has the list |
//!
//! The same API is served on a Unix socket in the runtime folder, for the command line. On the port every request passes
//! [`access`] first; the socket has its file mode instead.
//!
//! What is known comes from the [`Board`]; what is to happen goes to the orchestrator through [`control::Control`].
//! The caller binds, and the caller stops.

pub mod access;
mod body;
mod cameras;
pub mod control;
mod events;
mod files;
mod login;
mod logs;
mod metrics;
mod problem;
mod processes;
mod query;
mod routes;
pub mod server;
mod snapshot;
/// The sink's own: a renewed certificate counts with the next connection.
#[path = "../../../plugins/fmp4ws/src/tls.rs"]
pub mod tls;
mod tunnel;
pub mod unix_http;
pub mod usage;

use std::{path::PathBuf, sync::Arc};

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::{control::Control, problem::Problem};
pub use self::{
    routes::{on_port, on_socket},
    snapshot::Photographer,
};
use crate::status::Board;

/// Name of the control socket in a run's folder.
pub const CONTROL_SOCKET: &str = "valkka.sock";
/// Clients that listen to events or follow a log at once: pages, and programs.
const LISTENERS: usize = 256;
/// Videos that are watched at once, through all cameras: each takes two descriptors.
const VIEWERS: usize = 1024;

/// What the handlers know.
#[derive(Clone)]
pub struct App {
    board: Arc<Board>,
    control: Arc<dyn Control>,
    photographer: Photographer,
    /// Where the web process of a camera serves.
    web_socket: Arc<dyn Fn(&str) -> PathBuf + Send + Sync>,
    /// Turns true when the server is to end.
    ending: watch::Receiver<bool>,
    listeners: Arc<Semaphore>,
    viewers: Arc<Semaphore>,
}

impl App {
    pub fn new(
        board: Arc<Board>,
        control: Arc<dyn Control>,
        photographer: Photographer,
        web_socket: Arc<dyn Fn(&str) -> PathBuf + Send + Sync>,
        ending: watch::Receiver<bool>,
    ) -> Self {
        let (listeners, viewers) = (Arc::new(Semaphore::new(LISTENERS)), Arc::new(Semaphore::new(VIEWERS)));
        Self { board, control, photographer, web_socket, ending, listeners, viewers }
    }

    /// A place among those who listen, until it is dropped.
    fn listen(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.listeners.clone().try_acquire_owned().map_err(|_| {
            let message = "too many clients listen to events or follow logs: close some";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })
    }
}
