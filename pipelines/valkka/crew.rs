//! Whatever runs for the cameras now, and how it becomes what the configuration says.
//!
//! ```text
//! configuration ──► plan ──► change ──► supervisor (processes), board (cameras)
//!                    ▲         │
//!                    └─ now ◄──┘
//! ```
//!
//! One change at a time: whoever wants one holds the crew ([`crate::desk`]).

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use tracing::{info, warn};
use valkka_command::CallError;

use crate::{
    camera::Camera,
    config::{Config, Lasting, Runner},
    plan::{ANALYSER, Attachment, Change, Plan, Planned, Run, recording_folder},
    process::{
        Afterwards, Kind, LineReader, Setup, Spec,
        exec::OURSELVES,
        hooks::{Hook, Hooks},
        sandbox::Sandbox,
    },
    requirements::{self, GST_LAUNCH},
    status::Board,
    supervisor::{Supervisor, Unreached},
    web::control::Changes,
};

/// Cameras as everybody may see them, for those who cannot wait until a change is done.
pub type Configured = Arc<Mutex<Vec<Map<String, Value>>>>;

/// An analyser may have to load a model.
const ATTACH_LIMIT: Duration = Duration::from_secs(30);

/// The processes of a run, and the configuration that they come from.
pub struct Crew {
    board: Arc<Board>,
    supervisor: Supervisor,
    /// The run's folder.
    runtime: PathBuf,
    pub config: Config,
    /// Of the configuration that the run began with.
    lasting: Option<Lasting>,
    /// What runs now.
    plan: Plan,
    /// Elements that have been looked for and found: looking takes a process and a moment.
    present: BTreeSet<String>,
    configured: Configured,
    /// The analyser is told of its cameras whenever it starts.
    analyser: Hooks,
    /// Nothing is started any more.
    stopped: bool,
}

impl Crew {
    pub fn new(board: Arc<Board>, supervisor: Supervisor, runtime: PathBuf, configured: Configured) -> Self {
        Self {
            board,
            supervisor,
            runtime,
            config: Config::default(),
            lasting: None,
            plan: Plan::default(),
            present: BTreeSet::new(),
            configured,
            analyser: Hooks::default(),
            stopped: false,
        }
    }

    /// Makes what runs into what `next` says. Touches nothing else, and nothing at all if that cannot be.
    ///
    /// Once begun it must come to its end, whoever wanted it: call it where nobody drops it ([`crate::desk`]).
    pub async fn become_what(&mut self, next: Config) -> Result<Changes> {
        ensure!(!self.stopped, "valkka is about to end");
        let plan = Plan::new(&next, &self.runtime)?;
        let elements = plan.elements();
        if elements.iter().any(|element| !self.present.contains(*element)) {
            requirements::check(&elements.iter().copied().collect::<Vec<_>>()).await?;
            self.present = elements.into_iter().map(str::to_owned).collect();
        }
        for camera in next.cameras.iter().filter(|camera| camera.record) {
            let folder = recording_folder(&next, &camera.name);
            fs::create_dir_all(&folder).with_context(|| format!("recordings cannot go to {}", folder.display()))?;
        }
        let change = self.plan.change_to(&plan);
        let changes = Changes { next_start: self.next_start(&next), ..tell(&change, &plan) };
        *self.configured.lock().expect("nothing panics under this lock") =
            next.cameras.iter().map(Camera::shown).collect();
        self.analyser.set_start(plan.attachments.values().map(attach).collect());
        (self.config, self.plan) = (next, plan);
        self.carry_out(change).await;
        Ok(changes)
    }

    /// What `next` says in vain until somebody starts the run anew.
    fn next_start(&mut self, next: &Config) -> Vec<String> {
        let Some(lasting) = &next.lasting else { return Vec::new() };
        self.lasting.get_or_insert_with(|| lasting.clone()).tables_unlike(lasting)
    }

    /// Adds a camera to what runs.
    pub async fn add(&mut self, camera: Camera) -> Result<()> {
        let mut next = self.config.clone();
        next.cameras.push(camera);
        self.become_what(next).await.map(drop)
    }

    /// Takes a camera out of what runs. `false` if there is none of that name.
    pub async fn remove(&mut self, name: &str) -> Result<bool> {
        let mut next = self.config.clone();
        next.cameras.retain(|camera| camera.name != name);
        if next.cameras.len() == self.config.cameras.len() {
            return Ok(false);
        }
        next.pipelines.retain(|pipeline| pipeline.camera.as_deref() != Some(name));
        next.workers.retain(|worker| worker.camera.as_deref() != Some(name));
        self.become_what(next).await.map(|_| true)
    }

    async fn carry_out(&mut self, change: Change) {
        for name in &change.stop {
            self.supervisor.remove(name, Afterwards::Nothing).await;
        }
        for camera in &change.remove_cameras {
            self.board.remove_camera(camera);
            info!("{camera} is removed");
        }
        for camera in change.add_cameras.iter().chain(&change.change_cameras) {
            self.board.add_camera(camera);
        }
        for planned in change.replace {
            self.supervisor.remove(&planned.name, Afterwards::Successor).await;
            self.start_planned(planned);
        }
        for planned in change.start {
            self.start_planned(planned);
        }
        let detach = |camera: String| Hook { command: "detach".to_owned(), params: json!({ "camera": camera }) };
        self.tell_analyser(change.detach.into_iter().map(detach).chain(change.attach.iter().map(attach)).collect());
    }

    /// Has an analyser that runs already do this, in this order. Making a detector may take its time.
    fn tell_analyser(&self, hooks: Vec<Hook>) {
        let reach = self.supervisor.reach();
        tokio::spawn(async move {
            for Hook { command, params } in hooks {
                match reach.call(ANALYSER, &command, &params, ATTACH_LIMIT).await {
                    Ok(_) => {}
                    // It is told when it starts.
                    Err(Unreached::Unknown(_) | Unreached::NotNow(_) | Unreached::Failed(_, CallError::Gone(_))) => {}
                    Err(error) => warn!("{command} {}: {error}", params["camera"]),
                }
            }
        });
    }

    fn start_planned(&mut self, planned: Planned) {
        if let Some(spec) = self.spec(planned) {
            self.start(spec);
        }
    }

    /// What the supervisor has to know; `None` if the program is not there.
    fn spec(&self, planned: Planned) -> Option<Spec> {
        let mut setup = Setup { limit: planned.limit, hooks: Hooks::new(planned.hooks), ..Setup::default() };
        if planned.kind == Kind::Analyse {
            setup.hooks = self.analyser.clone();
        }
        let (program, args) = match planned.run {
            Run::Pipeline { description, runner, sandboxed } => {
                let writes_files = planned.kind == Kind::Record;
                setup.sandbox = sandboxed.then(|| Sandbox::of_description(&description, writes_files));
                match runner {
                    Runner::Valkka => {
                        // Woken by the first who watches.
                        setup.rests = planned.kind == Kind::Web;
                        setup.description = Some(description);
                        (OURSELVES.into(), Vec::new())
                    }
                    Runner::GstLaunch => {
                        let args = std::iter::once("--no-position".to_owned()).chain(description).collect();
                        (PathBuf::from(GST_LAUNCH), args)
                    }
                }
            }
            Run::Program { program, args } if program == "valkka" => {
                (std::env::current_exe().unwrap_or_else(|_| program.into()), args)
            }
            Run::Program { program, args } => match requirements::find_program(&program) {
                Some(program) => (program, args),
                None if planned.kind == Kind::Analyse => {
                    warn!("{program} is neither beside valkka nor in PATH: the cameras are shown, but not analysed");
                    return None;
                }
                // Started all the same: then it is visible, with its reason.
                None => (program.into(), args),
            },
        };
        let board = self.board.clone();
        let on_line: Option<LineReader> =
            (planned.kind == Kind::Analyse).then(|| Arc::new(move |line: &str| board.analysed(line)) as LineReader);
        Some(Spec {
            name: planned.name,
            camera: planned.camera,
            kind: planned.kind,
            program,
            args,
            env: Vec::new(),
            on_line,
            setup,
            may_end: planned.may_end,
        })
    }

    /// Starts a process that lives in this run's folder.
    pub fn start(&mut self, mut spec: Spec) {
        spec.env.push(("VALKKA_RUNTIME_DIR", OsString::from(&self.runtime)));
        self.supervisor.start(spec);
    }

    /// Stops all of it. When this returns, no process is left.
    pub async fn stop(&mut self) {
        self.stopped = true;
        self.supervisor.stop_all().await;
    }
}

fn attach(of: &Attachment) -> Hook {
    Hook { command: "attach".to_owned(), params: of.params() }
}

/// In names of cameras.
fn tell(change: &Change, next: &Plan) -> Changes {
    let added: Vec<_> = change.add_cameras.iter().map(|camera| camera.name.clone()).collect();
    let of_a_camera = change.replace.iter().chain(&change.start).filter_map(|process| process.camera.clone());
    let mut changed: Vec<_> = of_a_camera.chain(change.attach.iter().map(|of| of.camera.clone())).collect();
    changed.retain(|camera| !added.contains(camera) && next.cameras.iter().any(|known| known.name == *camera));
    changed.sort();
    changed.dedup();
    Changes { added, removed: change.remove_cameras.clone(), changed, ..Changes::default() }
}
