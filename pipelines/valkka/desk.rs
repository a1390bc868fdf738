//! Where requests of the API arrive, and what becomes of them.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{
    status::Board,
    web::control::{Answer, Changes, Control, LogLine, Refusal, Watching, Zone},
};

/// Gets a process's name and the reason, and says whether there is such a process.
type Restart = Box<dyn Fn(&str, String) -> bool + Send + Sync>;

/// [`Control`] for a run whose cameras were named on the command line.
pub struct Desk {
    board: Arc<Board>,
    restart: Restart,
}

impl Desk {
    pub fn new(board: Arc<Board>, restart: impl Fn(&str, String) -> bool + Send + Sync + 'static) -> Self {
        Self { board, restart: Box::new(restart) }
    }
}

fn not_by_command_line<T: Send + 'static>() -> Answer<'static, T> {
    let message = "the cameras of this run were named on the command line, and stay as they are";
    Box::pin(async move { Err(Refusal::NotNow(message.into())) })
}

impl Control for Desk {
    fn cameras(&self) -> Vec<Map<String, Value>> {
        let camera = |camera: crate::status::CameraStatus| {
            Map::from_iter([("name".into(), camera.name.into()), ("uri".into(), camera.source.into())])
        };
        self.board.status().cameras.into_iter().map(camera).collect()
    }

    fn add_camera(&self, _: Map<String, Value>) -> Answer<'_, Map<String, Value>> {
        not_by_command_line()
    }

    fn remove_camera<'a>(&'a self, _: &'a str) -> Answer<'a, ()> {
        not_by_command_line()
    }

    fn set_zones<'a>(&'a self, _: &'a str, _: Vec<Zone>) -> Answer<'a, ()> {
        not_by_command_line()
    }

    fn reload(&self) -> Answer<'_, Changes> {
        not_by_command_line()
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
