//! Which processes a configuration means, and what changes when it becomes another.
//!
//! Pure: nothing is started here. [`crate::run`] executes a [`Plan`] at the start, and a [`Change`] later; what is the
//! same in both plans is not touched.

mod planner;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use self::planner::Planner;
pub use self::planner::{recording_folder, values};
use crate::{
    camera::Camera,
    config::{Analysis, Config, Limit, Runner},
    process::{Kind, hooks::HookLists},
    template::TemplateError,
};

/// Everything that is to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order of the file.
    pub cameras: Vec<Camera>,
    /// By name.
    pub processes: BTreeMap<String, Planned>,
    /// What the analyser is told of each camera, by the camera's name.
    pub attachments: BTreeMap<String, Attachment>,
}

/// A process that is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// `lobby.capture`: unique.
    pub name: String,
    /// The camera that it works for, if it is only one.
    pub camera: Option<String>,
    pub kind: Kind,
    pub run: Run,
    pub limit: Limit,
    /// That it ends with success is no failure: a file has an end.
    pub may_end: bool,
    pub hooks: HookLists,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Run {
    Pipeline {
        /// In words, as GStreamer's parser wants them. May hold passwords.
        description: Vec<String>,
        runner: Runner,
        /// Whether it may touch few files only.
        sandboxed: bool,
    },
    Program {
        /// Looked for beside `valkka`, then in PATH.
        program: String,
        args: Vec<String>,
    },
}

/// What the analyser is told of a camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    pub camera: String,
    pub channel: String,
    pub analysis: Analysis,
}

/// Parameters that are the analyser's for each camera, and not the detector's.
const OF_THE_CAMERA: [&str; 5] = ["zones", "mask", "tracker", "policy", "queue_size"];

impl Attachment {
    /// As `valkka-analyse` takes it: parameters of its command `attach`, and of its option `--attach`.
    pub fn params(&self) -> serde_json::Value {
        let mut detector = serde_json::Map::new();
        detector.insert("kind".to_owned(), self.analysis.detector.as_str().into());
        let mut params = serde_json::Map::new();
        params.insert("camera".to_owned(), self.camera.as_str().into());
        params.insert("channel".to_owned(), self.channel.as_str().into());
        for (name, value) in &self.analysis.parameters {
            let of_the_camera = OF_THE_CAMERA.contains(&name.as_str());
            if of_the_camera { &mut params } else { &mut detector }.insert(name.clone(), value.clone());
        }
        params.insert("detector".to_owned(), detector.into());
        params.into()
    }
}

/// What has to be done so that one plan becomes another, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    pub detach: Vec<String>,
    /// Processes to stop for good, those first that depend on others.
    pub stop: Vec<String>,
    pub remove_cameras: Vec<String>,
    pub add_cameras: Vec<Camera>,
    /// Cameras that stay, but are shown differently from now on.
    pub change_cameras: Vec<Camera>,
    /// Processes to stop and start as they are to be now.
    pub replace: Vec<Planned>,
    pub start: Vec<Planned>,
    /// Also those that look for something else now.
    pub attach: Vec<Attachment>,
}

pub const ANALYSER: &str = "analyse";
pub const RESTREAM: &str = "restream";

/// Stands in a description for the time at which its process starts, each time anew: as part of a file's name it keeps
/// a process from writing over what the one before has written.
pub const STARTED: &str = "{started}";

/// Why a configuration cannot be planned.
#[derive(Debug, thiserror::Error)]
#[error("{process}: {source}")]
pub struct PlanError {
    process: String,
    source: TemplateError,
}

impl Plan {
    /// What this configuration means for a run that lives in `runtime`.
    pub fn new(config: &Config, runtime: &Path) -> Result<Self, PlanError> {
        Planner::new(config, runtime).plan()
    }

    /// What makes `self` become `next`.
    pub fn change_to(&self, next: &Plan) -> Change {
        let has = |plan: &Plan, name: &str| plan.cameras.iter().find(|camera| camera.name == name).cloned();
        let mut stop: Vec<_> = self.processes.values().filter(|p| !next.processes.contains_key(&p.name)).collect();
        stop.sort_by_key(|process| process.kind.stop_stage());
        let mut change = Change {
            detach: self.attachments.keys().filter(|camera| !next.attachments.contains_key(*camera)).cloned().collect(),
            stop: stop.into_iter().map(|process| process.name.clone()).collect(),
            ..Change::default()
        };
        for camera in self.cameras.iter().filter(|camera| has(next, &camera.name).is_none()) {
            change.remove_cameras.push(camera.name.clone());
        }
        for camera in &next.cameras {
            match has(self, &camera.name) {
                None => change.add_cameras.push(camera.clone()),
                Some(before) if before.source != camera.source => change.change_cameras.push(camera.clone()),
                Some(_) => {}
            }
        }
        for process in next.processes.values() {
            match self.processes.get(&process.name) {
                None => change.start.push(process.clone()),
                Some(before) if before != process => change.replace.push(process.clone()),
                Some(_) => {}
            }
        }
        // A new analyser is told of all its cameras when it starts.
        let attach = |(camera, attachment): &(&String, &Attachment)| self.attachments.get(*camera) != Some(attachment);
        change.attach = next.attachments.iter().filter(attach).map(|(_, attachment)| attachment.clone()).collect();
        change
    }

    /// The elements that all its pipelines name.
    pub fn elements(&self) -> BTreeSet<&str> {
        self.processes.values().flat_map(Planned::elements).collect()
    }
}

impl Planned {
    fn elements(&self) -> Vec<&str> {
        match &self.run {
            Run::Pipeline { description, .. } => crate::template::elements(description),
            Run::Program { .. } => Vec::new(),
        }
    }
}
