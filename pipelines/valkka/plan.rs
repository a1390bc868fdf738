//! Which processes a configuration means, and what changes when it becomes another.
//!
//! Pure: nothing is started here. [`crate::run`] executes a [`Plan`] at the start, and a [`Change`] later; what is the
//! same in both plans is not touched.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::{
    camera::{Camera, Source},
    config::{Analysis, Config, Limit, Runner, Sandbox, What},
    process::{Kind, hooks::HookLists},
    runtime_dir,
    template::{Template, TemplateError, Value, Values, words_of},
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
        Planner { config, runtime, plan: Self { cameras: config.cameras.clone(), ..Self::default() } }.plan()
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

/// The template that captures a camera, if it does not name one.
pub fn capture_template(camera: &Camera) -> &str {
    match (&camera.template, &camera.source) {
        (Some(template), _) => template,
        (None, Source::Rtsp(_)) if camera.publishes_sound() => "capture-rtsp-audio",
        (None, Source::Rtsp(_)) => "capture-rtsp",
        (None, Source::Usb(_)) => "capture-usb",
        (None, Source::File(_)) => "capture-file",
        (None, Source::Test(_)) => "capture-test",
        (None, Source::Pipeline(_)) => "capture-pipeline",
    }
}

/// What placeholders mean for a camera.
pub fn values(config: &Config, camera: Option<&Camera>, runtime: &Path) -> Result<Values, TemplateError> {
    let mut values = Values::new();
    let mut word = |name: &str, value: String| values.insert(name.to_owned(), Value::Word(value));
    let recording = &config.recording;
    word("segment", (recording.segment_s.saturating_mul(1_000_000_000)).to_string());
    // Becomes the time of each start.
    word("started", STARTED.to_owned());
    if let Some(camera) = camera {
        word("camera", camera.name.clone());
        word("codec", camera.published_codec().name().to_owned());
        word("packed", camera.published_codec().packed().to_owned());
        word("transport", camera.transport.name().to_owned());
        word("latency", camera.latency_ms.to_string());
        word("socket", text(&runtime_dir::web_socket(runtime, &camera.name)));
        word("folder", text(&recording.folder.join(&camera.name)));
        let analysis = camera.analysis.clone().unwrap_or_default();
        word("width", analysis.width.to_string());
        word("fps", analysis.fps.to_string());
        match &camera.source {
            Source::Rtsp(uri) => word("uri", uri.clone()),
            Source::Usb(path) => word("device", text(path)),
            Source::File(path) => word("path", text(path)),
            Source::Test(pattern) => word("pattern", pattern.clone()),
            Source::Pipeline(description) => values.insert("pipeline".to_owned(), Value::Words(words_of(description)?)),
        };
        values.extend(camera.values.iter().map(|(name, value)| (name.clone(), Value::Word(value.clone()))));
    }
    Ok(values)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Where a camera's recordings go.
pub fn recording_folder(config: &Config, camera: &str) -> PathBuf {
    config.recording.folder.join(camera)
}

struct Planner<'a> {
    config: &'a Config,
    runtime: &'a Path,
    plan: Plan,
}

impl Planner<'_> {
    fn plan(mut self) -> Result<Plan, PlanError> {
        for camera in &self.config.cameras {
            self.camera(camera)?;
        }
        self.analyser();
        self.restream()?;
        self.pipelines()?;
        for worker in &self.config.workers {
            let (program, args) = worker.command.split_first().expect("a configuration has no empty command");
            let run = Run::Program { program: program.clone(), args: args.to_vec() };
            let name = &worker.name;
            self.add(name.clone(), worker.camera.clone(), Kind::Worker, run).hooks = worker.hooks.clone();
        }
        Ok(self.plan)
    }

    fn camera(&mut self, camera: &Camera) -> Result<(), PlanError> {
        let capture = self.of_camera(camera, "capture", Kind::Capture, capture_template(camera))?;
        capture.may_end = matches!(camera.source, Source::File(_));
        capture.hooks = camera.hooks.clone();
        let web = if camera.publishes_sound() { "web-audio" } else { "web" };
        self.of_camera(camera, "web", Kind::Web, web)?;
        if camera.record {
            let template = if camera.publishes_sound() { "record-audio" } else { "record" };
            self.of_camera(camera, "record", Kind::Record, template)?;
        }
        if let Some(analysis) = &camera.analysis {
            let channel = format!("{}.rgb", camera.name);
            let attachment = Attachment { camera: camera.name.clone(), channel, analysis: analysis.clone() };
            self.plan.attachments.insert(camera.name.clone(), attachment);
        }
        Ok(())
    }

    fn of_camera(
        &mut self,
        camera: &Camera,
        role: &str,
        kind: Kind,
        template: &str,
    ) -> Result<&mut Planned, PlanError> {
        let name = format!("{}.{role}", camera.name);
        let failed = |source| PlanError { process: name.clone(), source };
        let values = values(self.config, Some(camera), self.runtime).map_err(failed)?;
        let template = self.template(template);
        let description = template.fill(&values).map_err(failed)?;
        let foreign = kind == Kind::Capture && matches!(camera.source, Source::Pipeline(_));
        let run = self.pipeline(description, template.file.is_none() && !foreign);
        Ok(self.add(name, Some(camera.name.clone()), kind, run))
    }

    fn analyser(&mut self) {
        if self.plan.attachments.is_empty() {
            return;
        }
        // It is told of its cameras by commands: one that comes or goes is no reason to start it again.
        let run = Run::Program { program: self.config.analyser.program.clone(), args: Vec::new() };
        self.add(ANALYSER.to_owned(), None, Kind::Analyse, run);
    }

    /// One server for all cameras that are served on: they share its port.
    fn restream(&mut self) -> Result<(), PlanError> {
        let mut args = vec!["restream".to_owned(), "--listen".to_owned(), self.config.restream.listen.to_string()];
        let template = self.template(RESTREAM);
        let cameras = self.config.cameras.iter().filter(|camera| camera.restream);
        for camera in cameras.clone() {
            let failed = |source| PlanError { process: RESTREAM.to_owned(), source };
            let values = values(self.config, Some(camera), self.runtime).map_err(failed)?;
            let description = template.fill(&values).map_err(failed)?;
            args.extend(["--mount".to_owned(), format!("{}={}", camera.name, description.join(" "))]);
        }
        if cameras.count() > 0 {
            let run = Run::Program { program: "valkka".to_owned(), args };
            self.add(RESTREAM.to_owned(), None, Kind::Restream, run);
        }
        Ok(())
    }

    fn pipelines(&mut self) -> Result<(), PlanError> {
        for pipeline in &self.config.pipelines {
            let failed = |source| PlanError { process: pipeline.name.clone(), source };
            let camera = pipeline.camera.as_deref();
            let camera = camera.and_then(|name| self.config.cameras.iter().find(|camera| camera.name == name));
            let mut values = values(self.config, camera, self.runtime).map_err(failed)?;
            values.insert("name".to_owned(), Value::Word(pipeline.name.clone()));
            values.extend(pipeline.values.iter().map(|(name, value)| (name.clone(), Value::Word(value.clone()))));
            let (description, built_in) = match &pipeline.what {
                What::Template(name) => {
                    let template = self.template(name);
                    (template.fill(&values).map_err(failed)?, template.file.is_none())
                }
                What::Description(text) => (words_of(text).map_err(failed)?, false),
            };
            let run = self.pipeline(description, built_in);
            let name = &pipeline.name;
            self.add(name.clone(), pipeline.camera.clone(), Kind::Pipeline, run).hooks = pipeline.hooks.clone();
        }
        Ok(())
    }

    fn template(&self, name: &str) -> Template {
        self.config.templates.get(name).expect("a configuration names templates that there are").clone()
    }

    fn pipeline(&self, description: Vec<String>, built_in: bool) -> Run {
        let sandboxed = match self.config.sandbox {
            Sandbox::BuiltIn => built_in,
            Sandbox::All => true,
            Sandbox::None => false,
        };
        Run::Pipeline { description, runner: self.config.runner, sandboxed }
    }

    fn add(&mut self, name: String, camera: Option<String>, kind: Kind, run: Run) -> &mut Planned {
        let limit = self.config.limits.get(&kind).cloned().unwrap_or_default();
        let hooks = HookLists::default();
        let planned = Planned { name: name.clone(), camera, kind, run, limit, may_end: false, hooks };
        self.plan.processes.entry(name).insert_entry(planned).into_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cameras: &[(&str, &str)]) -> Config {
        let camera = |(name, pattern): &(&str, &str)| Camera::new((*name).into(), Source::Test((*pattern).into()));
        Config { cameras: cameras.iter().map(camera).collect(), ..Config::default() }
    }

    fn plan(config: &Config) -> Plan {
        Plan::new(config, Path::new("/run")).unwrap()
    }

    fn names(processes: &[Planned]) -> Vec<&str> {
        processes.iter().map(|process| process.name.as_str()).collect()
    }

    #[test]
    fn nothing_changes_between_equal_configurations() {
        let config = config(&[("a", "ball"), ("b", "snow")]);
        assert_eq!(plan(&config).change_to(&plan(&config)), Change::default());
    }

    #[test]
    fn a_camera_that_comes_touches_no_other() {
        let (before, after) = (plan(&config(&[("a", "ball")])), plan(&config(&[("a", "ball"), ("b", "snow")])));
        let change = before.change_to(&after);
        assert_eq!(names(&change.start), ["b.capture", "b.web"]);
        assert_eq!(change.add_cameras.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(change.attach.iter().map(|a| a.channel.as_str()).collect::<Vec<_>>(), ["b.rgb"]);
        assert!(change.stop.is_empty() && change.remove_cameras.is_empty() && change.detach.is_empty());
    }

    #[test]
    fn a_camera_that_goes_stops_its_readers_first() {
        let (before, after) = (plan(&config(&[("a", "ball"), ("b", "snow")])), plan(&config(&[("a", "ball")])));
        let change = before.change_to(&after);
        assert_eq!(change.stop, ["b.web", "b.capture"]);
        assert_eq!((change.remove_cameras, change.detach), (vec!["b".to_owned()], vec!["b".to_owned()]));
        assert!(change.start.is_empty());
    }

    #[test]
    fn another_source_replaces_the_capture_and_keeps_viewers() {
        let (before, after) = (plan(&config(&[("a", "ball")])), plan(&config(&[("a", "snow")])));
        let change = before.change_to(&after);
        assert_eq!(names(&change.replace), ["a.capture"]);
        assert_eq!(change.change_cameras.len(), 1);
        assert!(change.start.is_empty() && change.stop.is_empty() && change.attach.is_empty());
    }

    #[test]
    fn parameters_go_where_the_analyser_looks_for_them() {
        let mut config = config(&[("a", "ball")]);
        let analysis = config.cameras[0].analysis.as_mut().unwrap();
        analysis.parameters.insert("threshold".into(), 20.into());
        analysis.parameters.insert("zones".into(), serde_json::json!([{ "name": "door" }]));
        let expected = serde_json::json!({
            "camera": "a", "channel": "a.rgb", "detector": { "kind": "motion", "threshold": 20 },
            "zones": [{ "name": "door" }],
        });
        assert_eq!(plan(&config).attachments["a"].params(), expected);
    }

    #[test]
    fn limits_are_part_of_a_process() {
        let before = config(&[("a", "ball")]);
        let mut after = before.clone();
        after.limits.insert(Kind::Web, Limit { nice: Some(5), ..Limit::default() });
        assert_eq!(names(&plan(&before).change_to(&plan(&after)).replace), ["a.web"]);
    }

    #[test]
    fn only_pipelines_that_we_wrote_are_sandboxed_by_default() {
        let mut config = config(&[("a", "ball")]);
        config.cameras.push(Camera::new("mine".into(), Source::Pipeline("videotestsrc ! queue".into())));
        let plan = plan(&config);
        let sandboxed = |name: &str| matches!(plan.processes[name].run, Run::Pipeline { sandboxed: true, .. });
        assert!(sandboxed("a.capture") && sandboxed("mine.web") && !sandboxed("mine.capture"));
    }

    #[test]
    fn elements_are_those_of_all_pipelines() {
        let mut config = config(&[("a", "ball")]);
        config.cameras.push(Camera::new("b".into(), Source::Rtsp("rtsp://cam/1".into())));
        let plan = plan(&config);
        let elements = plan.elements();
        for element in
            ["videotestsrc", "rtspsrc", "rtph264depay", "h264parse", "decodebin3", "valkkashmsink", "fmp4wssink"]
        {
            assert!(elements.contains(element), "{element} is not in {elements:?}");
        }
    }
}
