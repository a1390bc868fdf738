//! One process and its life: started, watched, started again when it ends, stopped for good at last.
//!
//! ```text
//!            spawn                 exit, kill, restart ordered
//! waiting ─────────► running ──────────────────────────────────► waiting (back-off)
//!    │  ▲               │ stop ordered         rest ordered        │ too many in a row
//!    │  │ restart       ▼                      (stopped, until     ▼
//!    │  └─────────── stopping ──► resting       it is woken)     failed (until a restart is ordered)
//!    │ stop ordered     ▼
//!    └────────────► end of stream, SIGINT, SIGTERM, SIGKILL, each with a limit ──► stopped
//! ```
//!
//! [`keeper`] is that life, [`link`] the start and the socket for commands, [`ladder`] the end, [`watchdog`] what is looked after in
//! between; [`cgroup`] has the kernel limit its memory; [`exec`], [`limits`] and [`sandbox`] are what the child does to itself. Signals go to the whole process
//! group. Used by [`crate::supervisor`], which keeps many of these.

pub mod backoff;
pub mod cgroup;
pub mod exec;
pub mod hooks;
mod keeper;
mod ladder;
mod limits;
mod link;
mod output;
pub mod sandbox;
pub mod spawner;
pub mod watchdog;

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc};

use serde::Serialize;

use self::{hooks::Hooks, sandbox::Sandbox};
use crate::config::Limit;

pub use self::keeper::Keeper;

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The demo's cameras.
    RtspServer,
    /// Publishes one camera's channels.
    Capture,
    /// Serves one camera to browsers.
    Web,
    /// Looks at the frames of many cameras.
    Analyse,
    /// Writes a camera's video to files.
    Record,
    /// Serves cameras on by RTSP.
    Restream,
    /// A further pipeline of the user's.
    Pipeline,
    /// A program of the user's.
    Worker,
}

impl Kind {
    /// What ends these is outside, and may pass by itself: a camera is switched off for days, a disk is full or away, the machine has no
    /// descriptors. Nobody is there to start them again then.
    pub fn is_tried_for_ever(self) -> bool {
        matches!(self, Self::Capture | Self::Web | Self::Record | Self::Restream)
    }

    /// Whoever depends on others is stopped before them: stages are stopped from 0 upwards.
    pub fn stop_stage(self) -> usize {
        match self {
            Kind::Web | Kind::Analyse | Kind::Record | Kind::Restream | Kind::Pipeline | Kind::Worker => 0,
            Kind::Capture => 1,
            Kind::RtspServer => 2,
        }
    }

    /// How many stages there are.
    pub const STOP_STAGES: usize = 3;
}

/// Looks at a line of standard output; `false` if it is nothing but a line for the log.
pub type LineReader = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What to run.
#[derive(Clone)]
pub struct Spec {
    /// `lobby.capture`: unique.
    pub name: String,
    /// The camera that it works for, if it is only one.
    pub camera: Option<String>,
    pub kind: Kind,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, OsString)>,
    pub on_line: Option<LineReader>,
    pub setup: Setup,
    /// That it ends with success is no failure: a file has an end.
    pub may_end: bool,
}

/// What else there is to say about a process.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// It is a pipeline, run by `valkka pipeline` in place of a program: these words, which nobody else sees.
    pub description: Option<Vec<String>>,
    pub limit: Limit,
    /// Which files it may touch; all, if there is none.
    pub sandbox: Option<Sandbox>,
    pub hooks: Hooks,
    /// Not started before somebody wakes it.
    pub rests: bool,
}

impl Spec {
    /// Whether it gets the socket for commands.
    pub fn takes_commands(&self) -> bool {
        self.setup.description.is_some() || matches!(self.kind, Kind::Analyse | Kind::Worker)
    }

    /// Whether others read channels that it writes.
    pub fn publishes(&self) -> bool {
        let mut words = self.setup.description.iter().flatten().chain(&self.args);
        self.kind == Kind::Capture || words.any(|word| word == "valkkashmsink")
    }

    /// Whether it answers pings for sure. Workers may, or may be any program.
    pub fn must_answer(&self) -> bool {
        self.setup.description.is_some()
    }
}

/// Orders from the supervisor.
#[derive(Debug)]
pub enum Order {
    /// Stop it, then start it again at once, for this reason. Also if it was given up; one that rests goes on to rest.
    Restart(String),
    /// Stop it, and leave it so until it is woken.
    Rest,
    /// Start it if it rests.
    Wake,
    /// Stop it for good.
    Stop(Afterwards),
}

/// What comes after a process that is stopped for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    Nothing,
    /// Another process that does the same: whoever reads its channels waits for that one.
    Successor,
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the arguments: they may hold a password.
        f.debug_struct("Spec").field("name", &self.name).field("program", &self.program).finish_non_exhaustive()
    }
}
