//! The board on which everything is written that is known now, and whoever wants to know is told what changes.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tracing::{info, warn};
use valkka_command::Event;

use super::{CameraStatus, ChannelStatus, ProcessStatus, Status, seen::Seen};
use crate::{
    camera::Camera,
    health::{Health, State, Verdict},
    web::control::LogLine,
};

/// A page that is further behind than this loses events, and gets the whole status instead.
const EVENTS_KEPT: usize = 512;
/// Lines of all processes that are remembered.
const LINES_KEPT: usize = 4096;

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
    #[serde(borrow, default)]
    id: Cow<'a, str>,
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
    /// The last objects.
    pub seen: Seen,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    cameras: Vec<CameraEntry>,
    pub(super) processes: Vec<ProcessStatus>,
    pub(super) channels: Vec<ChannelStatus>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            told: broadcast::Sender::new(EVENTS_KEPT),
            logs: Mutex::default(),
            seen: Seen::default(),
        }
    }
}

#[derive(Debug)]
pub(super) struct CameraEntry {
    name: String,
    source: String,
    pub(super) health: Health,
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
        self.seen.forget(name);
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

    /// Passes on what a process has told.
    pub(super) fn pass_on(&self, process: &str, event: &Event) {
        // Nobody wants to know: so be it.
        let _ = self.told.send((process.into(), Arc::new(event.clone())));
    }

    /// What processes tell from now on, each with its name.
    pub fn told(&self) -> broadcast::Receiver<Told> {
        self.told.subscribe()
    }

    // What is known of frames.

    /// A line of the analyser; `false` if it is not one of its messages.
    pub fn analysed(&self, line: &str) -> bool {
        let Ok(detections) = serde_json::from_str::<Detections>(line) else { return self.lived(line) };
        let now = Instant::now();
        // The camera may be a client of the analyser's that stands between it and one of ours.
        self.camera(detections.camera, |entry| {
            entry.objects = detections.objects.len();
            entry.age = detections.age_ms.map(|age| (age, now));
            entry.health.analysed(now);
        });
        let value: &RawValue = serde_json::from_str(line).expect("it was read as JSON above");
        self.tell(|| event("detections", &value));
        true
    }

    /// A line of the analyser about the life of an object; `false` if it is none.
    fn lived(&self, line: &str) -> bool {
        let Ok(ObjectEvent { after }) = serde_json::from_str(line) else { return false };
        let value: &RawValue = serde_json::from_str(line).expect("it was read as JSON above");
        if self.has_camera(after.camera) {
            self.seen.note(after.camera, &after.id, value);
        }
        self.tell(|| event("object", &value));
        true
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
    pub(super) fn camera(&self, name: &str, change: impl FnOnce(&mut CameraEntry)) -> bool {
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

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
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

pub(super) fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
