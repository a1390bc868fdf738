//! What the API may ask of the orchestrator: the seam between HTTP and everything else.
//!
//! The server knows the [board](crate::status::Board) for what *is*, and this trait for what is to *happen*. Whoever
//! implements it never blocks a thread; time limits of what it asks of processes are its own.

use std::pin::Pin;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What comes of a request, later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'a>>;

/// Kept by whoever watches a camera, for as long as they do.
pub type Watching = Box<dyn Send>;

/// Why something was not done. The text goes to the user, and says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(dead_code, reason = "not every implementation has every reason")]
pub enum Refusal {
    /// There is no such camera, process or command.
    #[error("{0}")]
    Unknown(String),
    /// It contradicts what there is: a name that is taken, for instance.
    #[error("{0}")]
    Conflict(String),
    /// It could be read, but means nothing: an unknown field, a value out of range.
    #[error("{0}")]
    Wrong(String),
    /// It is right, but cannot be done at the moment.
    #[error("{0}")]
    NotNow(String),
    /// The process that had to do it answered with an error, or died.
    #[error("{0}")]
    Failed(String),
    /// The process that had to do it did not answer in time.
    #[error("{0}")]
    TooLate(String),
}

/// What a reload of the configuration did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Cameras that are new.
    pub added: Vec<String>,
    /// Cameras that are gone.
    pub removed: Vec<String>,
    /// Cameras whose processes were started anew.
    pub changed: Vec<String>,
    /// Tables of the configuration that say something else than when the run started, and hold from its next start on.
    pub next_start: Vec<String>,
}

/// A line that a process has printed, or the orchestrator itself has logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, in seconds of Unix time.
    pub time: f64,
    /// Who.
    pub process: String,
    /// What, without credentials.
    pub line: String,
}

impl LogLine {
    /// Whether this process has printed it, or one of the camera of this name.
    pub fn is_of(&self, name: &str) -> bool {
        self.process.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// A polygon in a camera's picture in which comings and goings are told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// Its name, unique in its camera.
    pub name: String,
    /// Its corners in order, each `[x, y]` from 0 to 1 of the picture.
    pub points: Vec<[f64; 2]>,
}

/// The orchestrator, as the API sees it.
pub trait Control: Send + Sync {
    /// The cameras as they are configured, without credentials.
    fn cameras(&self) -> Vec<Map<String, Value>>;

    /// Starts a camera, given as in the configuration's table of that camera, and writes it there if there is a file.
    /// The answer is the camera as [`Control::cameras`] shows it, its name chosen if none was given.
    fn add_camera(&self, camera: Map<String, Value>) -> Answer<'_, Map<String, Value>>;

    /// Stops a camera and takes it out of the configuration.
    fn remove_camera<'a>(&'a self, name: &'a str) -> Answer<'a, ()>;

    /// Replaces the zones of a camera, in its analyser and in the configuration.
    fn set_zones<'a>(&'a self, name: &'a str, zones: Vec<Zone>) -> Answer<'a, ()>;

    /// Reads the configuration again, and changes what is different.
    fn reload(&self) -> Answer<'_, Changes>;

    /// Stops a process and starts it again, also one that was given up.
    fn restart<'a>(&'a self, process: &'a str) -> Answer<'a, ()>;

    /// Has a process run a command; its result.
    fn call<'a>(&'a self, process: &'a str, command: &'a str, params: Value) -> Answer<'a, Value>;

    /// The last `count` lines of one process or of one camera's processes, or of all, oldest first.
    fn logs(&self, process: Option<&str>, count: usize) -> Vec<LogLine>;

    /// Somebody is about to watch a camera: comes back when its web process can be asked, and counts them as a viewer
    /// until the answer is dropped.
    fn watch<'a>(&'a self, camera: &'a str) -> Answer<'a, Watching>;
}
