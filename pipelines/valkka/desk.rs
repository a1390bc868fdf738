//! Where requests of the API arrive, and what becomes of them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::{
    net::UnixStream,
    sync::Mutex,
    time::{sleep, timeout},
};
use tracing::warn;
use valkka_command::CallError;

use crate::{
    config::{Config, edit},
    crew::{Configured, Crew},
    demand::Viewers,
    runtime_dir,
    status::Board,
    supervisor::{Reach, Unreached},
    web::control::{Answer, Changes, Control, LogLine, Refusal, Watching, Zone},
};

/// Gets a process's name and the reason, and says whether there is such a process.
pub type Restart = Box<dyn Fn(&str, String) -> bool + Send + Sync>;

/// A command that takes longer is not waited for.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Whoever watches waits no longer for a process that rested.
const WAKE_LIMIT: Duration = Duration::from_secs(15);

/// [`Control`] for a run.
pub struct Desk {
    board: Arc<Board>,
    restart: Restart,
    reach: Reach,
    viewers: Viewers,
    /// The run's folder.
    runtime: PathBuf,
    /// One change at a time.
    crew: Arc<Mutex<Crew>>,
    /// The cameras as they are configured, also while one changes.
    configured: Configured,
}

impl Desk {
    pub fn new(
        board: Arc<Board>,
        crew: Arc<Mutex<Crew>>,
        configured: Configured,
        reach: Reach,
        runtime: PathBuf,
    ) -> Self {
        let by_reach = reach.clone();
        let restart = Box::new(move |name: &str, reason| by_reach.restart(name, reason));
        Self { board, restart, viewers: Viewers::new(reach.clone()), reach, runtime, crew, configured }
    }
}

/// A file that cannot be written (of another user, in a container) keeps nobody from changing what runs.
fn kept(file: &Path, written: io::Result<()>) {
    if let Err(error) = written {
        warn!("{} is not changed, so that this holds until it is read again: {error}", file.display());
    }
}

impl Desk {
    /// Whether there is a configuration to read again.
    pub async fn has_file(&self) -> bool {
        self.crew.lock().await.config.file.is_some()
    }
}

/// Carries a change out to its end, also when the client that wanted it does not wait any more.
fn carry_out<T: Send + 'static>(
    change: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Answer<'static, T> {
    Box::pin(async {
        let failed = |error| Refusal::Failed(format!("it was not carried out to its end: {error}"));
        tokio::spawn(change).await.unwrap_or_else(|error| Err(failed(error)))
    })
}

fn not_now(error: anyhow::Error) -> Refusal {
    Refusal::NotNow(crate::told(&error))
}

impl Control for Desk {
    fn cameras(&self) -> Vec<Map<String, Value>> {
        self.configured.lock().expect("nothing panics under this lock").clone()
    }

    fn add_camera(&self, camera: Map<String, Value>) -> Answer<'_, Map<String, Value>> {
        let (crew, board) = (self.crew.clone(), self.board.clone());
        carry_out(async move {
            let mut crew = crew.lock().await;
            let name = camera.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if board.has_camera(&name) {
                return Err(Refusal::Conflict(format!("there is a camera {name:?} already")));
            }
            let table = camera.clone();
            let camera = crew.config.camera_of_json(&Value::Object(camera)).map_err(Refusal::Wrong)?;
            let answer = camera.shown();
            crew.add(camera).await.map_err(not_now)?;
            if let Some(file) = &crew.config.file {
                kept(file, edit::add_camera(file, &name, &table));
            }
            Ok(answer)
        })
    }

    fn remove_camera<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        let (crew, name) = (self.crew.clone(), name.to_owned());
        carry_out(async move {
            let mut crew = crew.lock().await;
            if !crew.remove(&name).await.map_err(not_now)? {
                return Err(Refusal::Unknown(format!("there is no camera {name:?}")));
            }
            if let Some(file) = &crew.config.file {
                kept(file, edit::remove_camera(file, &name));
            }
            Ok(())
        })
    }

    fn set_zones<'a>(&'a self, name: &'a str, zones: Vec<Zone>) -> Answer<'a, ()> {
        let (crew, name) = (self.crew.clone(), name.to_owned());
        carry_out(async move {
            let mut crew = crew.lock().await;
            let mut next = crew.config.clone();
            let unknown = || Refusal::Unknown(format!("there is no camera {name:?}"));
            let camera = next.cameras.iter_mut().find(|camera| camera.name == name).ok_or_else(unknown)?;
            let nobody = || Refusal::Conflict(format!("nobody looks at {name}: its analysis is not enabled"));
            let analysis = camera.analysis.as_mut().ok_or_else(nobody)?;
            analysis.set_zones(&zones);
            let zones = analysis.parameters.get("zones").cloned().unwrap_or_default();
            crew.become_what(next).await.map_err(not_now)?;
            if let Some(file) = &crew.config.file {
                kept(file, edit::set_zones(file, &name, &zones));
            }
            Ok(())
        })
    }

    fn reload(&self) -> Answer<'_, Changes> {
        let crew = self.crew.clone();
        carry_out(async move {
            let mut crew = crew.lock().await;
            let Some(file) = crew.config.file.clone() else {
                let message = "the cameras of this run were named on the command line: there is no file to read again";
                return Err(Refusal::NotNow(message.into()));
            };
            let next = Config::load(&file).map_err(|error| Refusal::Wrong(error.to_string()))?;
            crew.become_what(next).await.map_err(not_now)
        })
    }

    fn restart<'a>(&'a self, process: &'a str) -> Answer<'a, ()> {
        let known = (self.restart)(process, "asked for".into());
        let unknown = move || Refusal::Unknown(format!("there is no process {process:?}: GET /api/status lists them"));
        Box::pin(async move { known.then_some(()).ok_or_else(unknown) })
    }

    fn call<'a>(&'a self, process: &'a str, command: &'a str, params: Value) -> Answer<'a, Value> {
        let reach = self.reach.clone();
        Box::pin(async move {
            reach.call(process, command, &params, CALL_LIMIT).await.map_err(|unreached| {
                let said = unreached.to_string();
                match unreached {
                    Unreached::Unknown(_) => Refusal::Unknown(said),
                    Unreached::NotNow(_) => Refusal::NotNow(said),
                    Unreached::Failed(_, CallError::TimedOut { .. }) => Refusal::TooLate(said),
                    Unreached::Failed(_, _) => Refusal::Failed(said),
                }
            })
        })
    }

    fn logs(&self, process: Option<&str>, count: usize) -> Vec<LogLine> {
        self.board.logs(process, count)
    }

    fn watch<'a>(&'a self, camera: &'a str) -> Answer<'a, Watching> {
        Box::pin(async move {
            let viewer = timeout(WAKE_LIMIT, async {
                let viewer = self.viewers.watch(&format!("{camera}.web")).await;
                // It answers commands before its socket is there.
                let socket = runtime_dir::web_socket(&self.runtime, camera);
                while UnixStream::connect(&socket).await.is_err() {
                    sleep(Duration::from_millis(50)).await;
                }
                viewer
            });
            match viewer.await {
                Ok(viewer) => Ok(Box::new(viewer) as Watching),
                Err(_) => Err(Refusal::NotNow(format!("{camera}.web does not start in time"))),
            }
        })
    }
}
