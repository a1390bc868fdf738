//! Where requests of the API arrive, and what becomes of them.

use std::{io, path::Path, sync::Arc};

use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tracing::warn;

use crate::{
    config::{Config, edit},
    crew::{Configured, Crew},
    status::Board,
    web::control::{Answer, Changes, Control, LogLine, Refusal, Watching, Zone},
};

/// Gets a process's name and the reason, and says whether there is such a process.
pub type Restart = Box<dyn Fn(&str, String) -> bool + Send + Sync>;

/// [`Control`] for a run.
pub struct Desk {
    board: Arc<Board>,
    restart: Restart,
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
        restart: impl Fn(&str, String) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { board, restart: Box::new(restart), crew, configured }
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

impl Control for Desk {
    fn cameras(&self) -> Vec<Map<String, Value>> {
        self.configured.lock().expect("nothing panics under this lock").clone()
    }

    fn add_camera(&self, camera: Map<String, Value>) -> Answer<'_, Map<String, Value>> {
        Box::pin(async move {
            let mut crew = self.crew.lock().await;
            let name = camera.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            if self.board.has_camera(&name) {
                return Err(Refusal::Conflict(format!("there is a camera {name:?} already")));
            }
            let table = camera.clone();
            let camera = crew.config.camera_of_json(&Value::Object(camera)).map_err(Refusal::Wrong)?;
            let answer = camera.shown();
            crew.add(camera).await.map_err(|error| Refusal::NotNow(format!("{error:#}")))?;
            if let Some(file) = &crew.config.file {
                kept(file, edit::add_camera(file, &name, &table));
            }
            Ok(answer)
        })
    }

    fn remove_camera<'a>(&'a self, name: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut crew = self.crew.lock().await;
            let known = crew.remove(name).await.map_err(|error| Refusal::NotNow(format!("{error:#}")))?;
            if !known {
                return Err(Refusal::Unknown(format!("there is no camera {name:?}")));
            }
            if let Some(file) = &crew.config.file {
                kept(file, edit::remove_camera(file, name));
            }
            Ok(())
        })
    }

    fn set_zones<'a>(&'a self, name: &'a str, zones: Vec<Zone>) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut crew = self.crew.lock().await;
            let mut next = crew.config.clone();
            let unknown = || Refusal::Unknown(format!("there is no camera {name:?}"));
            let camera = next.cameras.iter_mut().find(|camera| camera.name == name).ok_or_else(unknown)?;
            let nobody = || Refusal::Conflict(format!("nobody looks at {name}: its analysis is not enabled"));
            let analysis = camera.analysis.as_mut().ok_or_else(nobody)?;
            analysis.set_zones(&zones);
            let zones = analysis.parameters.get("zones").cloned().unwrap_or_default();
            crew.become_what(next).await.map_err(|error| Refusal::NotNow(format!("{error:#}")))?;
            if let Some(file) = &crew.config.file {
                kept(file, edit::set_zones(file, name, &zones));
            }
            Ok(())
        })
    }

    fn reload(&self) -> Answer<'_, Changes> {
        Box::pin(async move {
            let mut crew = self.crew.lock().await;
            let Some(file) = crew.config.file.clone() else {
                let message = "the cameras of this run were named on the command line: there is no file to read again";
                return Err(Refusal::NotNow(message.into()));
            };
            let next = Config::load(&file).map_err(|error| Refusal::Wrong(error.to_string()))?;
            crew.become_what(next).await.map_err(|error| Refusal::NotNow(format!("{error:#}")))
        })
    }

    fn restart<'a>(&'a self, process: &'a str) -> Answer<'a, ()> {
        let known = (self.restart)(process, "asked for".into());
        let unknown = move || Refusal::Unknown(format!("there is no process {process:?}: GET /api/status lists them"));
        Box::pin(async move { known.then_some(()).ok_or_else(unknown) })
    }

    fn call<'a>(&'a self, process: &'a str, command: &'a str, _: Value) -> Answer<'a, Value> {
        let message = format!("{process} is a plain pipeline, and takes no command {command}");
        Box::pin(async move { Err(Refusal::Unknown(message)) })
    }

    fn logs(&self, process: Option<&str>, count: usize) -> Vec<LogLine> {
        self.board.logs(process, count)
    }

    fn watch<'a>(&'a self, _: &'a str) -> Answer<'a, Watching> {
        Box::pin(async { Ok(Box::new(()) as Watching) })
    }
}
