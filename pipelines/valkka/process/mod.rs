//! One process and its life: started, watched, started again when it ends, stopped for good at last.
//!
//! ```text
//!            spawn                 exit, kill, restart ordered
//! waiting ─────────► running ──────────────────────────────────► waiting (back-off)
//!    │                  │ stop ordered
//!    │ stop ordered     ▼
//!    └────────────► stopping: SIGINT, SIGTERM, SIGKILL, each with a limit ──► stopped
//! ```
//!
//! Signals go to the whole process group. Used by [`crate::supervisor`], which keeps many of these.

pub mod backoff;
pub mod exec;
mod output;
pub mod spawner;

use std::{
    ffi::OsString,
    fmt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde::Serialize;
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use self::{backoff::Backoff, output::LastLines, spawner::Spawner};
use crate::{plan::STARTED, status::Board};

/// The steps of the ladder and how long each may take. `gst-launch-1.0` ends cleanly on SIGINT only.
const LADDER: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(3)),
    (Signal::SIGTERM, Duration::from_secs(1)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

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
    /// That it ends with success is no failure: a file has an end.
    pub may_end: bool,
}

/// Orders from the supervisor.
#[derive(Debug)]
pub enum Order {
    /// Stop it, then start it again at once, for this reason.
    Restart(String),
    /// Stop it for good.
    Stop,
}

/// Keeps one process running. Created by the supervisor, lives in a task of its own.
pub struct Keeper {
    pub spec: Spec,
    pub spawner: Spawner,
    pub board: Arc<Board>,
    pub orders: mpsc::Receiver<Order>,
    /// Turns true when the user is tired of waiting: then the ladder is one step, SIGKILL.
    pub hurry: watch::Receiver<bool>,
}

/// How a run ended.
enum End {
    Exited { status: ExitStatus, complaint: Option<String> },
    NotStarted(std::io::Error),
    Restart(String),
    Stopped,
}

impl Keeper {
    /// Runs the process again and again until [`Order::Stop`].
    pub async fn keep(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let started = Instant::now();
            let end = match self.spawner.spawn(self.command()).await {
                Ok(child) => self.watch_over(child).await,
                Err(error) => End::NotStarted(error),
            };
            let (reason, failed) = match end {
                End::Stopped => break,
                End::Restart(reason) => {
                    self.board.process_waits(&self.spec.name, &reason, false);
                    info!("{}: started again: {reason}", self.spec.name);
                    continue;
                }
                End::NotStarted(error) => (format!("cannot be started: {error}"), true),
                End::Exited { status, complaint } => {
                    (tell(status, complaint), !(status.success() && self.spec.may_end))
                }
            };
            if !failed {
                backoff = Backoff::default();
            }
            let pause = backoff.after(started.elapsed());
            self.board.process_waits(&self.spec.name, &reason, failed);
            let (name, pause_s) = (&self.spec.name, pause.as_secs_f32());
            if failed {
                warn!("{name}: {reason}; started again in {pause_s} s");
            } else {
                info!("{name}: {reason}; started again in {pause_s} s");
            }
            tokio::select! {
                () = sleep(pause) => {}
                order = self.orders.recv() => if !matches!(order, Some(Order::Restart(_))) { break },
            }
        }
        self.board.process_stopped(&self.spec.name);
    }

    /// The process by way of `valkka exec`, in a group of its own: Ctrl-C at the terminal reaches the orchestrator only.
    fn command(&self) -> Command {
        // This very binary, even if it has been replaced on disk since.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("valkka").arg(exec::SUBCOMMAND);
        command.arg("--parent").arg(std::process::id().to_string());
        let now = gst::glib::DateTime::now_local().and_then(|now| now.format("%Y%m%dT%H%M%S"));
        let now = now.map(|now| now.to_string()).unwrap_or_default();
        let args = self.spec.args.iter().map(|arg| arg.replace(STARTED, &now));
        command.arg("--").arg(&self.spec.program).args(args);
        command.envs(self.spec.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Here rather than in `exec`, so that the group exists before anybody can send a signal to it.
        command.process_group(0);
        command
    }

    async fn watch_over(&mut self, mut child: Child) -> End {
        let pid = child.id().expect("a child that was not waited for has an id");
        let group = Pid::from_raw(i32::try_from(pid).expect("process ids are positive"));
        self.board.process_runs(&self.spec.name, pid);
        debug!("{}: process {pid}: {} {}", self.spec.name, self.spec.program.display(), self.spec.args.join(" "));
        let lines = Arc::new(LastLines::default());
        let readers = self.read_output(&mut child, &lines);
        let end = tokio::select! {
            status = child.wait() => Ok(status),
            order = self.orders.recv() => Err(order),
        };
        let end = match end {
            Ok(status) => End::Exited { status: status.unwrap_or_default(), complaint: None },
            Err(order) => {
                self.board.process_stops(&self.spec.name);
                self.climb_down(group, &mut child).await;
                match order {
                    Some(Order::Restart(reason)) => End::Restart(reason),
                    Some(Order::Stop) | None => End::Stopped,
                }
            }
        };
        // Whatever the process has left of its group. The leader has just been waited for, so its number is free
        // again, but numbers are handed out in turn: nobody else has it yet.
        let _ = killpg(group, Signal::SIGKILL);
        // A grandchild may hold the pipes open for as long as it takes to die.
        let _ = timeout(Duration::from_millis(500), readers).await;
        match end {
            End::Exited { status, .. } => End::Exited { status, complaint: lines.complaint() },
            other => other,
        }
    }

    /// Reads both pipes to their ends.
    fn read_output(&self, child: &mut Child, lines: &Arc<LastLines>) -> impl Future<Output = ()> + use<> {
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let Spec { name, on_line, .. } = self.spec.clone();
        let (out_lines, board, out_name) = (lines.clone(), self.board.clone(), name.clone());
        let out = tokio::spawn(output::for_each_line(stdout, move |line| {
            if !on_line.as_ref().is_some_and(|understands| understands(line)) {
                let line = out_lines.remember(line);
                debug!("{out_name}: {line}");
                board.log(&out_name, &line);
            }
        }));
        let (err_lines, board) = (lines.clone(), self.board.clone());
        let err = tokio::spawn(output::for_each_line(stderr, move |line| {
            let line = err_lines.remember(line);
            // An error ends the process and is told then, as the reason.
            if line.starts_with("WARNING") {
                warn!("{name}: {line}");
            } else {
                debug!("{name}: {line}");
            }
            board.log(&name, &line);
        }));
        async move {
            let _ = tokio::join!(out, err);
        }
    }

    /// One signal after the other, each with its time, until the process has ended.
    async fn climb_down(&mut self, group: Pid, child: &mut Child) {
        for (signal, limit) in LADDER {
            if *self.hurry.borrow() && signal != Signal::SIGKILL {
                continue;
            }
            // ESRCH: it has just ended by itself.
            let _ = killpg(group, signal);
            let hurried = async {
                if signal == Signal::SIGKILL || self.hurry.wait_for(|&hurry| hurry).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                _ = child.wait() => return,
                () = sleep(limit) => debug!("{}: does not heed {signal}", self.spec.name),
                () = hurried => {}
            }
        }
        warn!("{}: cannot be killed; it is probably waiting for a device", self.spec.name);
    }
}

/// "Could not connect." or, of those that say nothing, "exit code 1" or "killed by SIGSEGV".
fn tell(status: ExitStatus, complaint: Option<String>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(0), _) => "ended by itself".to_owned(),
        (Some(code), _) => complaint.unwrap_or_else(|| format!("exit code {code}")),
        (None, Some(Ok(signal))) => format!("killed by {signal}"),
        (None, _) => "ended for an unknown reason".to_owned(),
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the arguments: they may hold a password.
        f.debug_struct("Spec").field("name", &self.name).field("program", &self.program).finish_non_exhaustive()
    }
}
