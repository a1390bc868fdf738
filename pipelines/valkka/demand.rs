//! What nobody looks at rests: web processes without viewers, branches of captures without readers.
//!
//! ```text
//! a viewer comes ──► its web process is woken ──► reads the encoded channel ──► the branch that encodes is opened
//! an analyser attaches ───────────────────────► reads the raw channel ────────► the branch that decodes is opened
//! nobody any more, for a while ──► the branch is shut, the process stopped
//! ```
//!
//! Branches are known by the `flow` of captures ([`crate::pipeline`]): a channel says how many read it and which valve leads to it.
//! Pipelines of one's own without valves, and those that plain gst-launch runs, never rest.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tracing::debug;

use crate::{status::Board, supervisor::Reach};

/// So long nobody must have read before a branch rests: a reader that is started again finds it open.
const BRANCH_RESTS_AFTER: Duration = Duration::from_secs(5);
/// So long nobody must have watched before a web process rests: a page that is loaded again finds it awake.
const WEB_RESTS_AFTER: Duration = Duration::from_secs(15);
/// A channel that somebody reads and that brings nothing while the camera does stands still.
const STANDSTILL: Duration = Duration::from_secs(20);
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Value of a `flow` event.
#[derive(Debug, Deserialize)]
pub struct Flow {
    pub frames: u64,
    pub channels: Vec<Channel>,
}

/// One channel of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Channel {
    pub channel: String,
    pub published: u64,
    pub readers: u32,
    pub branch: Option<String>,
    pub resting: bool,
}

/// What is to be done for a capture.
#[derive(Debug, PartialEq, Eq)]
enum Deed {
    Open(String),
    Shut(String),
    Restart(String),
}

/// What is remembered of one process's channels.
#[derive(Debug, Default)]
struct Memory {
    frames: u64,
    channels: BTreeMap<String, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    published: u64,
    /// When it brought something, had no reader, or rested; or the camera itself brought nothing. One that never brought
    /// anything does not stand still: the sound of a camera that has none.
    excused: Instant,
    read: Instant,
}

impl Memory {
    /// Learns what flows now.
    fn learn(&mut self, flow: &Flow, now: Instant) -> Vec<Deed> {
        let camera_flows = flow.frames > self.frames;
        self.frames = flow.frames;
        let mut wanted: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        let mut deeds = Vec::new();
        for channel in &flow.channels {
            let fresh = || Remembered { published: channel.published, excused: now, read: now };
            let known = self.channels.entry(channel.channel.clone()).or_insert_with(fresh);
            if channel.readers > 0 {
                known.read = now;
            }
            let idle = channel.readers == 0 || channel.resting || channel.published == 0;
            if channel.published != known.published || idle || !camera_flows {
                (known.published, known.excused) = (channel.published, now);
            }
            if now.duration_since(known.excused) > STANDSTILL {
                known.excused = now;
                let seconds = STANDSTILL.as_secs();
                deeds.push(Deed::Restart(format!("{} has stood still for {seconds} seconds", channel.channel)));
            }
            if let Some(branch) = &channel.branch {
                // Several channels behind one valve: it is open while one of them is read.
                let (needed, resting) = wanted.entry(branch).or_insert((false, channel.resting));
                *needed |= now.duration_since(known.read) < BRANCH_RESTS_AFTER;
                *resting = channel.resting;
            }
        }
        deeds.extend(wanted.into_iter().filter_map(|(branch, state)| match state {
            (true, true) => Some(Deed::Open(branch.to_owned())),
            (false, false) => Some(Deed::Shut(branch.to_owned())),
            _ => None,
        }));
        deeds
    }
}

/// Opens and shuts branches, and has captures started again of which a channel stands still. Runs until it is dropped.
pub async fn attend(board: Arc<Board>, reach: Reach) {
    let mut told = board.told();
    let mut memories: HashMap<Arc<str>, Memory> = HashMap::new();
    loop {
        let (process, event) = match told.recv().await {
            Ok(told) => told,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if event.name == "state" {
            // It has been started anew: everything begins again.
            memories.remove(&process);
        }
        let Some(flow) = (event.name == "flow").then(|| event.parse::<Flow>().ok()).flatten() else { continue };
        if !memories.contains_key(&process) {
            // Of processes that are gone nothing is remembered.
            memories.retain(|name, _| board.has_process(name));
        }
        for deed in memories.entry(process.clone()).or_default().learn(&flow, Instant::now()) {
            let (command, branch) = match deed {
                Deed::Restart(reason) => {
                    reach.restart(&process, reason);
                    continue;
                }
                Deed::Open(branch) => ("activate", branch),
                Deed::Shut(branch) => ("deactivate", branch),
            };
            debug!("{process}: {command} {branch}");
            let (reach, process) = (reach.clone(), process.clone());
            tokio::spawn(async move {
                if let Err(error) = reach.call(&process, command, &json!({ "branch": branch }), CALL_LIMIT).await {
                    debug!("{process}: {command} {branch}: {error}");
                }
            });
        }
    }
}

/// Who watches which process now. Clones share it.
#[derive(Clone, Debug)]
pub struct Viewers {
    counts: Arc<Mutex<HashMap<String, u32>>>,
    reach: Reach,
}

/// Somebody who watches, until it is dropped.
#[derive(Debug)]
pub struct Viewer {
    viewers: Viewers,
    process: String,
}

impl Viewers {
    pub fn new(reach: Reach) -> Self {
        Self { counts: Arc::default(), reach }
    }

    /// Wakes a process, and keeps it awake for one viewer more. Returns when it can be called.
    pub async fn watch(&self, process: &str) -> Viewer {
        *self.lock().entry(process.to_owned()).or_insert(0) += 1;
        let viewer = Viewer { viewers: self.clone(), process: process.to_owned() };
        // After the order to rest of whoever has just found it without viewers.
        self.reach.wake(process);
        self.reach.answers(process).await;
        viewer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.counts.lock().expect("nothing panics under this lock")
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let (viewers, process) = (self.viewers.clone(), std::mem::take(&mut self.process));
        let left = {
            let mut counts = viewers.lock();
            let count = counts.entry(process.clone()).or_insert(1);
            *count = count.saturating_sub(1);
            *count
        };
        // Outside of a runtime everything is about to end anyway.
        if let (0, Ok(runtime)) = (left, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(WEB_RESTS_AFTER).await;
                let mut counts = viewers.lock();
                if counts.get(&process) == Some(&0) {
                    counts.remove(&process);
                    viewers.reach.rest(&process);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn flow(frames: u64, published: u64, readers: u32, resting: bool) -> Flow {
        let channel = Channel { channel: "a.rgb".into(), published, readers, branch: Some("analyse".into()), resting };
        Flow { frames, channels: vec![channel] }
    }

    #[test]
    fn a_branch_rests_after_its_last_reader_and_wakes_with_the_next() {
        let (mut memory, start) = (Memory::default(), Instant::now());
        assert_eq!(memory.learn(&flow(1, 1, 1, false), start), []);
        assert_eq!(memory.learn(&flow(25, 25, 0, false), start + SECOND), []);
        assert_eq!(memory.learn(&flow(200, 200, 0, false), start + SECOND * 8), [Deed::Shut("analyse".into())]);
        assert_eq!(memory.learn(&flow(300, 200, 0, true), start + SECOND * 9), []);
        assert_eq!(memory.learn(&flow(350, 200, 1, true), start + SECOND * 10), [Deed::Open("analyse".into())]);
    }

    #[test]
    fn only_a_channel_that_is_read_while_its_camera_flows_stands_still() {
        for (readers, camera, resting, restarts) in
            [(1, true, false, true), (0, true, false, false), (1, false, false, false), (1, true, true, false)]
        {
            let (mut memory, start) = (Memory::default(), Instant::now());
            let mut restarted = false;
            for second in 0..30_u32 {
                let frames = if camera { u64::from(second) + 1 } else { 1 };
                let deeds = memory.learn(&flow(frames, 7, readers, resting), start + SECOND * second);
                restarted |= deeds.iter().any(|deed| matches!(deed, Deed::Restart(_)));
            }
            assert_eq!(restarted, restarts, "{readers} readers, camera {camera}, resting {resting}");
        }
    }
}
