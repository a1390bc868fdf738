//! Keeps one process running, in a task of its own.

use std::{
    future::pending,
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::Child,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};
use valkka_command::{Event, asynchronous::Frontend};

use super::{
    Kind, Order, Spec,
    backoff::Backoff,
    ladder::Stop,
    link::{self, Link},
    output::{self, LastLines},
    spawner::Spawner,
    watchdog,
};
use crate::{pipeline::UNUSABLE, status::Board};

/// Created by the supervisor.
pub struct Keeper {
    pub spec: Spec,
    pub spawner: Spawner,
    pub board: Arc<Board>,
    pub orders: mpsc::Receiver<Order>,
    /// Whom commands go to, while it runs and takes some.
    pub frontend: watch::Sender<Option<Frontend>>,
    /// Turns true when the user is tired of waiting.
    pub hurry: watch::Receiver<bool>,
}

/// How a run ended.
enum End {
    Exited { status: ExitStatus, complaint: Option<String> },
    NotStarted(std::io::Error),
    Restart(String),
    Rest,
    Stopped,
}

/// What to do between two runs.
enum Next {
    Start,
    Stop,
}

impl Keeper {
    /// Runs the process again and again until [`Order::Stop`].
    pub async fn keep(mut self) {
        let mut backoff = Backoff::default();
        let mut next = if self.spec.setup.rests { self.rest().await } else { Next::Start };
        while let Next::Start = next {
            let started = Instant::now();
            let end = self.run().await;
            self.frontend.send_replace(None);
            next = match end {
                End::Stopped => Next::Stop,
                End::Rest => self.rest().await,
                End::Restart(reason) => {
                    self.board.process_waits(&self.spec.name, &reason, false);
                    info!("{}: started again: {reason}", self.spec.name);
                    self.note(&format!("started again: {reason}"));
                    Next::Start
                }
                End::NotStarted(error) => {
                    self.failed(&format!("cannot be started: {error}"), started, &mut backoff, false).await
                }
                End::Exited { status, .. } if status.success() && self.spec.may_end => {
                    backoff = Backoff::default();
                    self.ended(tell(status, None), backoff.after(started.elapsed())).await
                }
                End::Exited { status, complaint } => {
                    let unusable = status.code() == Some(UNUSABLE) && self.spec.setup.description.is_some();
                    self.failed(&tell(status, complaint), started, &mut backoff, unusable).await
                }
            };
        }
        self.board.process_stopped(&self.spec.name);
    }

    async fn run(&mut self) -> End {
        // The command holds the child's ends of what it inherits, and is gone when the child runs.
        let (command, link) = match link::command(&self.spec) {
            Ok(made) => made,
            Err(error) => return End::NotStarted(error),
        };
        match self.spawner.spawn(command).await {
            Ok(child) => self.watch_over(child, link).await,
            Err(error) => End::NotStarted(error),
        }
    }

    /// It ended as it may, and begins anew.
    async fn ended(&mut self, reason: String, pause: Duration) -> Next {
        self.board.process_waits(&self.spec.name, &reason, false);
        debug!("{}: {reason}; started again in {:.2} s", self.spec.name, pause.as_secs_f32());
        self.note(&reason);
        self.pause(pause).await
    }

    async fn failed(&mut self, reason: &str, started: Instant, backoff: &mut Backoff, unusable: bool) -> Next {
        let pause = backoff.after(started.elapsed());
        let name = &self.spec.name;
        // A camera may be switched off for days: whoever waits for it does not give up. It is told as lost all the while.
        let hopeless = backoff.is_hopeless() && self.spec.kind != Kind::Capture;
        if unusable || hopeless {
            let times = if unusable { String::new() } else { format!(" after {} times in a row", backoff.failures()) };
            let reason = format!("{reason}; given up{times}: `valkka restart {name}` tries again");
            warn!("{name}: {reason}");
            self.note(&reason);
            self.board.process_given_up(name, &reason);
            *backoff = Backoff::default();
            return self.wait_for_restart().await;
        }
        self.board.process_waits(name, reason, true);
        let told = format!("{reason}; started again in {:.2} s", pause.as_secs_f32());
        warn!("{name}: {told}");
        self.note(&told);
        self.pause(pause).await
    }

    /// Between the process's own lines in its log: what became of it.
    fn note(&self, text: &str) {
        self.board.log(&self.spec.name, &format!("valkka: {text}"));
    }

    async fn pause(&mut self, pause: Duration) -> Next {
        tokio::select! {
            () = sleep(pause) => Next::Start,
            order = self.orders.recv() => match order {
                Some(Order::Restart(_) | Order::Wake) => Next::Start,
                Some(Order::Rest) => self.rest().await,
                Some(Order::Stop) | None => Next::Stop,
            },
        }
    }

    /// Until it is woken.
    async fn rest(&mut self) -> Next {
        self.board.process_rests(&self.spec.name);
        self.note("rests until somebody looks");
        loop {
            match self.orders.recv().await {
                Some(Order::Wake | Order::Restart(_)) => return Next::Start,
                Some(Order::Rest) => {}
                Some(Order::Stop) | None => return Next::Stop,
            }
        }
    }

    async fn wait_for_restart(&mut self) -> Next {
        loop {
            match self.orders.recv().await {
                Some(Order::Restart(_)) => return Next::Start,
                Some(Order::Rest | Order::Wake) => {}
                Some(Order::Stop) | None => return Next::Stop,
            }
        }
    }

    async fn watch_over(&mut self, mut child: Child, link: Option<Link>) -> End {
        let pid = child.id().expect("a child that was not waited for has an id");
        let group = Pid::from_raw(i32::try_from(pid).expect("process ids are positive"));
        self.board.process_runs(&self.spec.name, pid);
        self.note(&format!("runs as process {pid}"));
        debug!("{}: process {pid}: {}", self.spec.name, self.spec.program.display());
        let lines = Arc::new(LastLines::default());
        let readers = self.read_output(&mut child, &lines);
        let (frontend, events) = link.map(|link| (link.frontend, link.events)).unzip();
        self.frontend.send_replace(frontend.clone());
        let order = self.attend(&mut child, pid, frontend.clone(), events).await;
        let end = match order {
            Err(status) => End::Exited { status, complaint: None },
            Ok(order) => {
                self.board.process_stops(&self.spec.name);
                let restarts = matches!(order, Some(Order::Restart(_)));
                if let Some(frontend) = frontend.as_ref().filter(|_| !*self.hurry.borrow()) {
                    self.spec.setup.hooks.stop(&self.spec.name, frontend).await;
                }
                let stop = Stop {
                    name: &self.spec.name,
                    child: &mut child,
                    group,
                    frontend: frontend.as_ref().filter(|_| self.spec.setup.description.is_some()),
                    ends_stream: !(restarts && self.spec.kind == Kind::Capture),
                };
                stop.climb_down(&mut self.hurry).await;
                match order {
                    Some(Order::Restart(reason)) => End::Restart(reason),
                    Some(Order::Rest) => End::Rest,
                    Some(Order::Stop | Order::Wake) | None => End::Stopped,
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

    /// Stays with the process until it ends (`Err`), or is to be stopped.
    async fn attend(
        &mut self,
        child: &mut Child,
        pid: u32,
        frontend: Option<Frontend>,
        mut events: Option<mpsc::Receiver<Event>>,
    ) -> Result<Option<Order>, ExitStatus> {
        let Spec { name, setup, .. } = self.spec.clone();
        let watched = watchdog::watch(pid, frontend.clone(), self.spec.must_answer(), setup.limit.memory_bytes);
        tokio::pin!(watched);
        let begin = async {
            if let Some(frontend) = &frontend {
                setup.hooks.start(&name, frontend).await;
            }
            pending::<()>().await;
        };
        tokio::pin!(begin);
        loop {
            tokio::select! {
                status = child.wait() => return Err(status.unwrap_or_default()),
                order = self.orders.recv() => if !matches!(order, Some(Order::Wake)) { return Ok(order) },
                reason = &mut watched => return Ok(Some(Order::Restart(reason))),
                () = &mut begin => {}
                event = next(&mut events) => match event {
                    Some(event) => self.board.process_event(&name, &event),
                    None => events = None,
                },
            }
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
}

async fn next(events: &mut Option<mpsc::Receiver<Event>>) -> Option<Event> {
    match events {
        Some(events) => events.recv().await,
        None => pending().await,
    }
}

/// "Could not connect." or, of those that say nothing, "exit code 1" or "killed by SIGSEGV".
fn tell(status: ExitStatus, complaint: Option<String>) -> String {
    match (status.code(), status.signal().map(Signal::try_from)) {
        (Some(0), _) => "ended by itself".to_owned(),
        (Some(code), _) => complaint.unwrap_or_else(|| format!("exit code {code}")),
        (None, Some(Ok(signal))) => format!("killed by {signal}"),
        (None, _) => "ended for an unknown reason".to_owned(),
    }
}
