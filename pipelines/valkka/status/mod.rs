//! What is known now: cameras, processes, channels, and what they found.
//!
//! Keepers, the watch and the analyser's messages write it on the [`Board`]; `/api/status` and `/api/events` read. What
//! is written there is masked already.

mod board;
mod processes;
mod seen;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::{health::State, process::Kind};

pub use self::board::Board;

/// Answer of `/api/status`, and value of a `status` event.
#[derive(Debug, Serialize)]
pub struct Status {
    pub cameras: Vec<CameraStatus>,
    pub processes: Vec<ProcessStatus>,
    pub channels: Vec<ChannelStatus>,
}

/// What is published for whoever wants to read it.
#[derive(Clone, Debug, Serialize)]
pub struct ChannelStatus {
    pub name: String,
    pub camera: Option<String>,
    /// The process that writes it.
    pub process: String,
    /// Frames since that was started.
    pub frames: u64,
    pub readers: u32,
    /// Nothing is published, because nobody reads.
    pub resting: bool,
}

#[derive(Debug, Serialize)]
pub struct CameraStatus {
    pub name: String,
    pub state: State,
    /// Since when, in seconds of Unix time.
    pub since: f64,
    /// Why it is not live.
    pub reason: Option<String>,
    /// Where its picture comes from, without credentials.
    pub source: String,
    /// Frames a second.
    pub fps: f64,
    /// How old the newest frame is that somebody has seen.
    pub age_ms: Option<u64>,
    /// Browsers that watch it.
    pub viewers: u64,
    /// How many objects the newest analysed frame shows.
    pub objects: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProcessStatus {
    pub name: String,
    pub camera: Option<String>,
    pub kind: Kind,
    pub pid: Option<u32>,
    pub state: ProcessState,
    /// Since when, in seconds of Unix time.
    pub since: f64,
    /// Why it was started again the last time.
    pub reason: Option<String>,
    pub restarts: u64,
    /// Of one processor, lately.
    pub cpu_percent: Option<f64>,
    /// Memory; what processes share is counted to each in part.
    pub pss_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    Starting,
    Running,
    /// Has ended, and is started again after a pause.
    Waiting,
    /// Is not needed at the moment.
    Resting,
    /// Has ended too often, and is not started again before somebody says so.
    Failed,
    Stopping,
    Stopped,
}
