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
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};
use valkka_command::{Event, asynchronous::Frontend};

use super::{
    Afterwards, Order, Spec,
    backoff::Backoff,
    cgroup::{Group, Groups},
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
    pub groups: Arc<Groups>,
    pub orders: mpsc::Receiver<Order>,
    /// Whom commands go to, while it runs and takes some.
    pub frontend: watch::Sender<Option<Frontend>>,
    /// Turns true when the user is tired of waiting.
    pub hurry: watch::Receiver<bool>,
}

/// How a run ended.
enum End {
    Exited {
        status: ExitStatus,
        complaint: Option<String>,
    },
    NotStarted(std::io::Error),
    /// Somebody wanted it so.
    Restart(String),
    /// It had to be: it hung, or took too much.
    Unwell(String),
    Rest,
    Stopped(Afterwards),
}

/// What to do between two runs.
enum Next {
    Start,
    Stop(Afterwards),
}

impl Keeper {
    /// Runs the process again and again until [`Order::Stop`].
    pub async fn keep(mut self) {
        let mut backoff = Backoff::default();
        let mut next = if self.spec.setup.rests { self.rest().await } else { Next::Start };
        let afterwards = loop {
            if let Next::Stop(afterwards) = next {
                break afterwards;
            }
            let started = Instant::now();
            let end = self.run().await;
            next = match end {
                End::Stopped(afterwards) => Next::Stop(afterwards),
                End::Rest => self.rest().await,
                End::Restart(reason) => {
                    self.board.process_waits(&self.spec.name, &reason, false);
                    info!("{}: started again: {reason}", self.spec.name);
                    self.note(&format!("started again: {reason}"));
                    Next::Start
                }
                End::Unwell(reason) => self.failed(&reason, started, &mut backoff, false).await,
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
        };
        self.board.process_stopped(&self.spec.name, afterwards == Afterwards::Nothing);
    }

    async fn run(&mut self) -> End {
        let limited = self.spec.setup.limit.memory_bytes;
        let cgroup = limited.and_then(|bytes| self.groups.make(&self.spec.name, bytes));
        // The command holds the child's ends of what it inherits, and is gone when the child runs.
        let (command, link) = match link::command(&self.spec, cgroup.as_ref().map(Group::path)) {
            Ok(made) => made,
            Err(error) => return End::NotStarted(error),
        };
        match self.spawner.spawn(command).await {
            Ok(child) => self.watch_over(child, link, cgroup).await,
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
        let hopeless = backoff.is_hopeless() && !self.spec.kind.is_tried_for_ever();
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
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Next::Start,
                order = self.orders.recv() => match order {
                    Some(Order::Restart(_)) => return Next::Start,
                    // It does not rest. Viewers who come again and again make no pause shorter.
                    Some(Order::Wake) => {}
                    Some(Order::Rest) => return self.rest().await,
                    Some(Order::Stop(afterwards)) => return Next::Stop(afterwards),
                    None => return Next::Stop(Afterwards::Nothing),
                },
            }
        }
    }

    /// Until it is woken.
    async fn rest(&mut self) -> Next {
        self.board.process_rests(&self.spec.name);
        self.note("rests until somebody looks");
        loop {
            match self.orders.recv().await {
                Some(Order::Wake) => return Next::Start,
                // Whoever wakes it finds it started anew.
                Some(Order::Rest | Order::Restart(_)) => {}
                Some(Order::Stop(afterwards)) => return Next::Stop(afterwards),
                None => return Next::Stop(Afterwards::Nothing),
            }
        }
    }

    async fn wait_for_restart(&mut self) -> Next {
        loop {
            match self.orders.recv().await {
                Some(Order::Restart(_)) => return Next::Start,
                Some(Order::Rest | Order::Wake) => {}
                Some(Order::Stop(afterwards)) => return Next::Stop(afterwards),
                None => return Next::Stop(Afterwards::Nothing),
            }
        }
    }

    async fn watch_over(&mut self, mut child: Child, link: Option<Link>, cgroup: Option<Group>) -> End {
        let pid = child.id().expect("a child that was not waited for has an id");
        let group = Pid::from_raw(i32::try_from(pid).expect("process ids are positive"));
        self.board.process_runs(&self.spec.name, pid);
        self.note(&format!("runs as process {pid}"));
        debug!("{}: process {pid}: {}", self.spec.name, self.spec.program.display());
        let lines = Arc::new(LastLines::default());
        let readers = self.read_output(&mut child, &lines);
        let (frontend, events) = link.map(|link| (link.frontend, link.events)).unzip();
        self.frontend.send_replace(frontend.clone());
        // The kernel looks after it where there is a control group.
        let watched_memory = self.spec.setup.limit.memory_bytes.filter(|_| cgroup.is_none());
        let left = self.attend(&mut child, pid, frontend.clone(), events, watched_memory).await;
        // From here on nobody else calls it: what comes next is its end.
        self.frontend.send_replace(None);
        if !matches!(left, Left::Ended(_)) {
            self.stop(&mut child, group, frontend.as_ref(), &left).await;
        }
        // Whatever the process has left of its group. The leader has just been waited for, so its number is free
        // again, but numbers are handed out in turn: nobody else has it yet.
        let _ = killpg(group, Signal::SIGKILL);
        // A grandchild may hold the pipes open for as long as it takes to die, or for ever if it has left the group.
        readers.finish(Duration::from_millis(500)).await;
        let mut too_much = None;
        if let Some(cgroup) = cgroup {
            too_much = self.spec.setup.limit.memory_bytes.filter(|_| cgroup.killed_for_memory());
            cgroup.remove().await;
        }
        match (left, too_much) {
            (Left::Ended(status), Some(allowed)) if !status.success() => End::Unwell(format!(
                "it wanted more memory than the {} MiB that it may have",
                allowed.div_ceil(1 << 20)
            )),
            (Left::Ended(status), _) => End::Exited { status, complaint: lines.complaint() },
            (Left::Unwell(reason), _) => End::Unwell(reason),
            (Left::Ordered(Some(Order::Restart(reason))), _) => End::Restart(reason),
            (Left::Ordered(Some(Order::Rest)), _) => End::Rest,
            (Left::Ordered(Some(Order::Stop(afterwards))), _) => End::Stopped(afterwards),
            (Left::Ordered(Some(Order::Wake) | None), _) => End::Stopped(Afterwards::Nothing),
        }
    }

    /// Has it stop: hooks first, then the ladder.
    async fn stop(&mut self, child: &mut Child, group: Pid, frontend: Option<&Frontend>, left: &Left) {
        self.board.process_stops(&self.spec.name, left.is_final());
        // Whoever hangs does not answer hooks either.
        if let Some(frontend) = frontend.filter(|_| !matches!(left, Left::Unwell(_))) {
            tokio::select! {
                () = self.spec.setup.hooks.stop(&self.spec.name, frontend) => {}
                _ = self.hurry.wait_for(|&hurry| hurry) => {}
            }
        }
        let stop = Stop {
            name: &self.spec.name,
            child,
            group,
            frontend: frontend.filter(|_| self.spec.setup.description.is_some()),
            ends_stream: !(left.has_successor() && self.spec.publishes()),
        };
        stop.climb_down(&mut self.hurry).await;
    }

    /// Stays with the process until it ends, or is to be stopped.
    async fn attend(
        &mut self,
        child: &mut Child,
        pid: u32,
        frontend: Option<Frontend>,
        mut events: Option<mpsc::Receiver<Event>>,
        watched_memory: Option<u64>,
    ) -> Left {
        let Spec { name, setup, .. } = self.spec.clone();
        let watched = watchdog::watch(pid, frontend.clone(), self.spec.must_answer(), watched_memory);
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
                status = child.wait() => return Left::Ended(status.unwrap_or_default()),
                order = self.orders.recv() => if !matches!(order, Some(Order::Wake)) { return Left::Ordered(order) },
                reason = &mut watched => return Left::Unwell(reason),
                () = &mut begin => {}
                event = next(&mut events) => match event {
                    Some(event) => self.board.process_event(&name, &event),
                    None => events = None,
                },
            }
        }
    }

    /// Reads both pipes to their ends.
    fn read_output(&self, child: &mut Child, lines: &Arc<LastLines>) -> Readers {
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
        Readers([out, err])
    }
}

/// Those who read what a process prints.
struct Readers([JoinHandle<()>; 2]);

impl Readers {
    /// Lets them read to the end, but not for longer than this.
    async fn finish(self, limit: Duration) {
        let [mut out, mut err] = self.0;
        let _ = timeout(limit, async { tokio::join!(&mut out, &mut err) }).await;
        out.abort();
        err.abort();
    }
}

/// Why the keeper does not stay with a process any more.
enum Left {
    Ended(ExitStatus),
    /// `None` if the supervisor is gone.
    Ordered(Option<Order>),
    Unwell(String),
}

impl Left {
    /// Whether whoever reads its channels is to wait for another process.
    fn has_successor(&self) -> bool {
        let replaced = |order: &Order| matches!(order, Order::Restart(_) | Order::Stop(Afterwards::Successor));
        match self {
            Left::Ended(_) => false,
            Left::Unwell(_) => true,
            Left::Ordered(order) => order.as_ref().is_some_and(replaced),
        }
    }

    /// Whether nothing comes after it.
    fn is_final(&self) -> bool {
        matches!(self, Left::Ordered(None | Some(Order::Stop(Afterwards::Nothing))))
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
