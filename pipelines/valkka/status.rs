//! The board on which everything is written that is known now: cameras, processes, what they found.
//!
//! Keepers, the watch and the analyser's messages write here; `/api/status` and `/api/events` read. What is written
//! here is masked already.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tracing::{info, warn};
use valkka_command::Event;

use crate::{
    camera::Camera,
    demand::Flow,
    health::{Health, State, Verdict},
    process::{Kind, Spec},
    web::{control::LogLine, usage::Usage},
};

/// A page that is further behind than this loses events, and gets the whole status instead.
const EVENTS_KEPT: usize = 512;
/// Lines of all processes that are remembered.
const LINES_KEPT: usize = 4096;

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

/// What the analyser says of one frame: the part that the orchestrator looks at. The rest passes through.
#[derive(Debug, Deserialize)]
struct Detections<'a> {
    camera: &'a str,
    age_ms: Option<f64>,
    #[serde(borrow, default)]
    objects: Vec<&'a RawValue>,
}

/// What the analyser says of the life of an object, likewise.
#[derive(Deserialize)]
struct ObjectEvent<'a> {
    #[serde(borrow)]
    after: TrackedObject<'a>,
}

#[derive(Deserialize)]
struct TrackedObject<'a> {
    camera: &'a str,
}

/// Why a source is asked again, as a pipeline tells it.
#[derive(Debug, Deserialize)]
struct Reconnect {
    reason: String,
}

/// A process's name, and what it has told.
pub type Told = (Arc<str>, Arc<Event>);

/// Everything that is known, and those who want to know.
#[derive(Debug)]
pub struct Board {
    known: Mutex<Known>,
    events: broadcast::Sender<Arc<str>>,
    told: broadcast::Sender<Told>,
    logs: Mutex<VecDeque<LogLine>>,
}

#[derive(Debug, Default)]
struct Known {
    cameras: Vec<CameraEntry>,
    processes: Vec<ProcessStatus>,
    channels: Vec<ChannelStatus>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            told: broadcast::Sender::new(EVENTS_KEPT),
            logs: Mutex::default(),
        }
    }
}

#[derive(Debug)]
struct CameraEntry {
    name: String,
    source: String,
    health: Health,
    since: f64,
    viewers: u64,
    objects: usize,
    /// Age of the newest frame when the analyser spoke of it, and when that was.
    age: Option<(f64, Instant)>,
}

impl Board {
    /// Shows a camera, or one that is known already from another source.
    pub fn add_camera(&self, camera: &Camera) {
        let source = camera.source.to_string();
        {
            let cameras = &mut self.lock().cameras;
            match cameras.iter_mut().find(|entry| entry.name == camera.name) {
                Some(entry) => entry.source = source,
                None => cameras.push(CameraEntry {
                    name: camera.name.clone(),
                    source,
                    health: Health::new(),
                    since: unix_now(),
                    viewers: 0,
                    objects: 0,
                    age: None,
                }),
            }
        }
        self.tell_status();
    }

    pub fn remove_camera(&self, name: &str) {
        self.lock().cameras.retain(|camera| camera.name != name);
        self.tell_status();
    }

    /// Each event as the text of one message, from now on.
    pub fn events(&self) -> broadcast::Receiver<Arc<str>> {
        self.events.subscribe()
    }

    /// A `status` event with everything that is known now.
    pub fn status_event(&self) -> Arc<str> {
        event("status", &self.status())
    }

    pub fn status(&self) -> Status {
        let known = self.lock();
        Status {
            cameras: known.cameras.iter().map(CameraEntry::status).collect(),
            processes: known.processes.clone(),
            channels: known.channels.clone(),
        }
    }

    pub fn has_camera(&self, name: &str) -> bool {
        self.lock().cameras.iter().any(|camera| camera.name == name)
    }

    pub fn has_process(&self, name: &str) -> bool {
        self.lock().processes.iter().any(|process| process.name == name)
    }

    pub fn camera_names(&self) -> Vec<String> {
        self.lock().cameras.iter().map(|camera| camera.name.clone()).collect()
    }

    // What happens to processes.

    pub fn add_process(&self, spec: &Spec) {
        self.lock().processes.push(ProcessStatus {
            name: spec.name.clone(),
            camera: spec.camera.clone(),
            kind: spec.kind,
            pid: None,
            state: ProcessState::Starting,
            since: unix_now(),
            reason: None,
            restarts: 0,
            cpu_percent: None,
            pss_bytes: None,
        });
    }

    pub fn remove_process(&self, name: &str) {
        {
            let mut known = self.lock();
            known.processes.retain(|process| process.name != name);
            known.channels.retain(|channel| channel.process != name);
        }
        self.tell_status();
    }

    /// Those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.lock().processes.iter().filter_map(|process| process.pid).collect()
    }

    /// What they take of the machine.
    pub fn measured(&self, usages: &HashMap<u32, Usage>) {
        for process in &mut self.lock().processes {
            let usage = process.pid.and_then(|pid| usages.get(&pid));
            process.cpu_percent = usage.and_then(|usage| usage.cpu_percent);
            process.pss_bytes = usage.map(|usage| usage.pss_bytes);
        }
    }

    pub fn process_runs(&self, name: &str, pid: u32) {
        self.process(name, ProcessState::Running, |process| process.pid = Some(pid));
        self.capture_of(name, |health| health.capture_runs(Instant::now()));
    }

    /// It is told to stop; `for_good` if neither it nor another comes after it.
    pub fn process_stops(&self, name: &str, for_good: bool) {
        self.process(name, ProcessState::Stopping, |_| ());
        if for_good {
            self.capture_of(name, |health| health.stopped("its capture was told to stop"));
        }
    }

    /// It is not running, and will be started again.
    pub fn process_waits(&self, name: &str, reason: &str, failed: bool) {
        self.process(name, ProcessState::Waiting, |process| {
            process.pid = None;
            process.reason = Some(reason.to_owned());
            process.restarts += 1;
        });
        self.capture_of(name, |health| health.capture_ended(reason, failed));
    }

    /// It has ended too often.
    pub fn process_given_up(&self, name: &str, reason: &str) {
        self.process(name, ProcessState::Failed, |process| {
            process.pid = None;
            process.reason = Some(reason.to_owned());
        });
        self.capture_of(name, |health| health.stopped(reason));
    }

    /// Nobody needs it now.
    pub fn process_rests(&self, name: &str) {
        self.process(name, ProcessState::Resting, |process| process.pid = None);
    }

    /// What a process tells by itself.
    pub fn process_event(&self, name: &str, event: &Event) {
        match event.name.as_str() {
            "detections" => {
                self.analysed(event.value.get());
            }
            "flow" => {
                if let Ok(flow) = event.parse::<Flow>() {
                    self.flows(name, &flow);
                }
            }
            "reconnect" => {
                if let Ok(told) = event.parse::<Reconnect>() {
                    self.capture_of(name, |health| health.reconnects(&told.reason, Instant::now()));
                }
            }
            _ => {}
        }
        // Nobody wants to know: so be it.
        let _ = self.told.send((name.into(), Arc::new(event.clone())));
    }

    /// What a capture counts: frames of its camera, and what it publishes of them.
    fn flows(&self, process: &str, flow: &Flow) {
        {
            let mut known = self.lock();
            let found = known.processes.iter().find(|known| known.name == process);
            let camera = found.and_then(|process| process.camera.clone());
            known.channels.retain(|channel| channel.process != process);
            known.channels.extend(flow.channels.iter().map(|channel| ChannelStatus {
                name: channel.channel.clone(),
                camera: camera.clone(),
                process: process.to_owned(),
                frames: channel.published,
                readers: channel.readers,
                resting: channel.resting,
            }));
            known.channels.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self.capture_of(process, |health| health.captured(Instant::now(), flow.frames));
    }

    /// What processes tell from now on, each with its name.
    pub fn told(&self) -> broadcast::Receiver<Told> {
        self.told.subscribe()
    }

    pub fn process_stopped(&self, name: &str, for_good: bool) {
        self.process(name, ProcessState::Stopped, |process| process.pid = None);
        if for_good {
            self.capture_of(name, |health| health.stopped("its capture was told to stop"));
        }
    }

    /// Why a process has ended, if it is not running any more, or not yet again.
    pub fn failure_of(&self, name: &str) -> Option<String> {
        let known = self.lock();
        let process = known.processes.iter().find(|process| process.name == name)?;
        matches!(process.state, ProcessState::Waiting | ProcessState::Failed).then(|| process.reason.clone()).flatten()
    }

    fn process(&self, name: &str, state: ProcessState, change: impl FnOnce(&mut ProcessStatus)) {
        {
            let known = &mut *self.lock();
            if let Some(process) = known.processes.iter_mut().find(|process| process.name == name) {
                (process.state, process.since) = (state, unix_now());
                change(process);
            }
            if state != ProcessState::Running {
                known.channels.retain(|channel| channel.process != name);
            }
        }
        self.tell_status();
    }

    /// If the process is a capture: its camera's health.
    fn capture_of(&self, process: &str, change: impl FnOnce(&mut Health)) {
        let camera = {
            let known = self.lock();
            let captures = known.processes.iter().find(|p| p.name == process && p.kind == Kind::Capture);
            captures.and_then(|process| process.camera.clone())
        };
        if let Some(camera) = camera {
            self.camera(&camera, |entry| change(&mut entry.health));
        }
    }

    // What is known of frames.

    /// A line of the analyser; `false` if it is not one of its messages.
    pub fn analysed(&self, line: &str) -> bool {
        let Ok(detections) = serde_json::from_str::<Detections>(line) else { return self.lived(line) };
        let now = Instant::now();
        let known = self.camera(detections.camera, |entry| {
            entry.objects = detections.objects.len();
            entry.age = detections.age_ms.map(|age| (age, now));
            entry.health.analysed(now);
        });
        if known {
            let value: &RawValue = serde_json::from_str(line).expect("it was read as JSON above");
            self.tell(|| event("detections", &value));
        }
        known
    }

    /// A line of the analyser about the life of an object; `false` if it is none.
    fn lived(&self, line: &str) -> bool {
        let Ok(ObjectEvent { after }) = serde_json::from_str(line) else { return false };
        let known = self.has_camera(after.camera);
        if known {
            let value: &RawValue = serde_json::from_str(line).expect("it was read as JSON above");
            self.tell(|| event("object", &value));
        }
        known
    }

    /// What the web process counts: frames since it was started, and viewers now.
    pub fn served(&self, camera: &str, frames: u64, viewers: u64) {
        self.camera(camera, |entry| {
            entry.viewers = viewers;
            entry.health.served(Instant::now(), frames);
        });
    }

    /// Once a second: what ought to be done with this camera's capture process.
    pub fn tick(&self, camera: &str) -> Verdict {
        let mut verdict = Verdict::Fine;
        self.camera(camera, |entry| {
            verdict = entry.health.tick(Instant::now());
            if entry.health.state() != State::Live {
                (entry.objects, entry.age) = (0, None);
            }
        });
        verdict
    }

    /// Changes a camera and tells everybody if its state became another. `false` if there is no such camera.
    fn camera(&self, name: &str, change: impl FnOnce(&mut CameraEntry)) -> bool {
        let mut known = self.lock();
        let Some(entry) = known.cameras.iter_mut().find(|camera| camera.name == name) else { return false };
        let before = entry.health.state();
        change(entry);
        let (after, reason) = (entry.health.state(), entry.health.reason().map(str::to_owned));
        if before == after {
            return true;
        }
        entry.since = unix_now();
        drop(known);
        match (after, reason) {
            (State::Live, _) => info!("{name} is live"),
            (State::Stalled, reason) => warn!("{name} has stalled: {}", reason.unwrap_or_default()),
            (State::Lost, reason) => warn!("{name} is lost: {}", reason.unwrap_or_default()),
            (State::Stopped, reason) => info!("{name} is stopped: {}", reason.unwrap_or_default()),
            (State::Connecting, _) => info!("{name} is connecting"),
        }
        self.tell_status();
        true
    }

    /// A line that a process has printed, masked.
    pub fn log(&self, process: &str, line: &str) {
        let line = LogLine { time: unix_now(), process: process.to_owned(), line: line.to_owned() };
        self.tell(|| event("log", &line));
        let mut logs = self.logs.lock().expect("nothing panics under this lock");
        if logs.len() == LINES_KEPT {
            logs.pop_front();
        }
        logs.push_back(line);
    }

    /// The last `count` lines of a process or of a camera's processes, or of all, oldest first.
    pub fn logs(&self, process: Option<&str>, count: usize) -> Vec<LogLine> {
        let logs = self.logs.lock().expect("nothing panics under this lock");
        let wanted = |line: &&LogLine| process.is_none_or(|name| line.is_of(name));
        let mut lines: Vec<_> = logs.iter().rev().filter(wanted).take(count).cloned().collect();
        lines.reverse();
        lines
    }

    pub fn tell_status(&self) {
        self.tell(|| self.status_event());
    }

    fn tell(&self, event: impl FnOnce() -> Arc<str>) {
        if self.events.receiver_count() > 0 {
            // Nobody listens any more: then nobody needs it.
            let _ = self.events.send(event());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics under this lock")
    }
}

impl CameraEntry {
    fn status(&self) -> CameraStatus {
        let since_seen = |at: Instant| at.elapsed().as_secs_f64() * 1000.0;
        let age = match self.age {
            Some((age, at)) => Some(age + since_seen(at)),
            None => self.health.last_frame().map(since_seen),
        };
        CameraStatus {
            name: self.name.clone(),
            state: self.health.state(),
            since: self.since,
            reason: self.health.reason().map(str::to_owned),
            source: self.source.clone(),
            fps: (self.health.fps() * 10.0).round() / 10.0,
            age_ms: age.map(|age| age.max(0.0).round() as u64),
            viewers: self.viewers,
            objects: self.objects,
        }
    }
}

fn event(kind: &str, value: &impl Serialize) -> Arc<str> {
    #[derive(Serialize)]
    struct Event<'a, T> {
        r#type: &'a str,
        value: &'a T,
    }
    serde_json::to_string(&Event { r#type: kind, value }).expect("strings and numbers become JSON").into()
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{camera::Source, process::Setup};

    fn board() -> Board {
        let source = Source::Rtsp("rtsp://u:p@cam/1".into());
        let board = Board::default();
        board.add_camera(&Camera::new("lobby".into(), source));
        for (name, kind) in [("lobby.capture", Kind::Capture), ("lobby.web", Kind::Web)] {
            board.add_process(&Spec {
                name: name.into(),
                camera: Some("lobby".into()),
                kind,
                program: "true".into(),
                args: Vec::new(),
                env: Vec::new(),
                on_line: None,
                setup: Setup::default(),
                may_end: false,
            });
        }
        board.process_runs("lobby.capture", 41);
        board
    }

    #[test]
    fn detections_make_a_camera_live_and_pass_through_unchanged() {
        let board = board();
        let mut events = board.events();
        let line = r#"{"v":1,"camera":"lobby","pts":12345678901234567890,"age_ms":12.5,"objects":[{"id":1}],"new":{}}"#;
        assert!(board.analysed(line));
        let camera = &board.status().cameras[0];
        assert_eq!((camera.state, camera.objects), (State::Live, 1));
        assert!(events.try_recv().unwrap().starts_with(r#"{"type":"status""#));
        assert_eq!(&*events.try_recv().unwrap(), format!(r#"{{"type":"detections","value":{line}}}"#));
    }

    #[test]
    fn lives_of_objects_pass_through_unchanged() {
        let board = board();
        let mut events = board.events();
        let line = r#"{"v":1,"type":"new","before":{},"after":{"camera":"lobby","label":"person"}}"#;
        assert!(board.analysed(line));
        assert_eq!(&*events.try_recv().unwrap(), format!(r#"{{"type":"object","value":{line}}}"#));
        assert!(!board.analysed(&line.replace("lobby", "nobody")));
        assert_eq!(board.status().cameras[0].state, State::Connecting, "it was no frame");
    }

    #[test]
    fn other_lines_are_not_detections() {
        let board = board();
        assert!(!board.analysed("hello"));
        assert!(!board.analysed(r#"{"camera":"nobody","objects":[]}"#));
        assert_eq!(board.status().cameras[0].state, State::Connecting);
    }

    #[test]
    fn only_the_capture_process_loses_a_camera() {
        let board = board();
        board.process_runs("lobby.web", 42);
        board.process_waits("lobby.web", "killed", true);
        assert_eq!(board.status().cameras[0].state, State::Connecting);
        board.process_waits("lobby.capture", "killed", true);
        let status = board.status();
        assert_eq!((status.cameras[0].state, status.cameras[0].reason.as_deref()), (State::Lost, Some("killed")));
        assert_eq!((status.processes[1].restarts, status.processes[1].state), (1, ProcessState::Waiting));
    }

    #[test]
    fn a_camera_whose_capture_is_given_up_or_told_to_stop_is_stopped_until_that_runs_again() {
        for stop in [
            (|board: &Board| board.process_given_up("lobby.capture", "no such element")) as fn(&Board),
            |board| board.process_stops("lobby.capture", true),
            |board| board.process_stopped("lobby.capture", true),
        ] {
            let board = board();
            stop(&board);
            // What was on its way.
            board.served("lobby", 7, 1);
            let camera = &board.status().cameras[0];
            assert!(camera.state == State::Stopped && camera.reason.is_some(), "{camera:?}");
            board.process_runs("lobby.capture", 43);
            assert_eq!(board.status().cameras[0].state, State::Connecting);
        }
        let replaced = board();
        replaced.process_stops("lobby.capture", false);
        assert_eq!(replaced.status().cameras[0].state, State::Connecting);
    }

    #[test]
    fn the_status_holds_no_password() {
        let text = serde_json::to_string(&board().status()).unwrap();
        assert!(text.contains("rtsp://***@cam/1"), "{text}");
    }
}
