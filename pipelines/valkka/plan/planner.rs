//! From a configuration to the processes that it means.

use std::path::{Path, PathBuf};

use super::{ANALYSER, Attachment, Plan, PlanError, Planned, RESTREAM, Run, STARTED};
use crate::{
    camera::{Camera, Source},
    config::{Config, Sandbox, What},
    process::{Kind, hooks::HookLists},
    runtime_dir,
    template::{Template, TemplateError, Value, Values, words_of},
};

/// The template that captures a camera, if it does not name one.
fn capture_template(camera: &Camera) -> &str {
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

pub struct Planner<'a> {
    config: &'a Config,
    runtime: &'a Path,
    plan: Plan,
}

impl<'a> Planner<'a> {
    pub fn new(config: &'a Config, runtime: &'a Path) -> Self {
        Self { config, runtime, plan: Plan { cameras: config.cameras.clone(), ..Plan::default() } }
    }

    pub fn plan(mut self) -> Result<Plan, PlanError> {
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
        let threads = self.config.analyser.threads.map(|threads| ["--threads".to_owned(), threads.to_string()]);
        let args = threads.into_iter().flatten().collect();
        let run = Run::Program { program: self.config.analyser.program.clone(), args };
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
