//! What `valkka` does when it is not the orchestrator: looks at files and at the machine, prints templates, and has a
//! running orchestrator do something.
//!
//! What goes wrong is told by exit code as well, for scripts.

mod client;
mod doctor;
pub mod file;
mod remote;
mod status;
pub mod template;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use hyper::StatusCode;

use self::client::{Client, NoOrchestrator, Refused};
use crate::{
    camera::CameraError,
    cli,
    config::{self, Config, ConfigError},
    pipeline::description::Unusable,
    plan::PlanError,
    requirements::Missing,
    template::TemplateError,
};

/// How a verb ended, for scripts; `valkka --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Failed = 1,
    /// As clap says it as well.
    WrongUsage = 2,
    NoOrchestrator = 3,
    /// There is no such camera, process, command or template.
    Unknown = 4,
    NotInstalled = 5,
    /// A pipeline description that cannot be run.
    Unusable = 6,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code as u8)
    }
}

/// A name that nothing has.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(pub String);

/// Arguments that say nothing, told later than clap does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A verb that talks to a running orchestrator.
pub async fn remote(command: &cli::Remote, run: Option<&str>) -> Result<()> {
    let client = Client::find(run)?;
    match command {
        cli::Remote::Status(options) => status::status(&client, options).await,
        cli::Remote::Camera(options) => remote::camera(&client, options).await,
        cli::Remote::Restart { name } => remote::restart(&client, name).await,
        cli::Remote::Logs(options) => remote::logs(&client, options).await,
        cli::Remote::Call { process, command, params } => {
            remote::call(&client, process, command, params.as_deref()).await
        }
        cli::Remote::Snapshot { camera, file } => remote::snapshot(&client, camera, file).await,
        cli::Remote::Reload => remote::reload(&client).await,
    }
}

/// `valkka doctor`, with the configuration that was named, or the one that is there.
pub async fn doctor(path: Option<PathBuf>) -> Result<()> {
    let config = match path {
        Some(path) => Some(Config::load(&path)?),
        None => config::find().ok().map(|path| Config::load(&path)).transpose()?,
    };
    doctor::doctor(config.as_ref()).await
}

/// What an error means to a script.
pub fn exit_code(error: &anyhow::Error) -> Code {
    let refused = error.downcast_ref::<Refused>().map(|refused| refused.status);
    // What a configuration means, and cannot mean.
    let unplanned = error.is::<PlanError>() || error.is::<TemplateError>();
    if unplanned || error.is::<CameraError>() || error.is::<ConfigError>() || error.is::<Usage>() {
        Code::WrongUsage
    } else if error.is::<NoOrchestrator>() {
        Code::NoOrchestrator
    } else if refused == Some(StatusCode::NOT_FOUND) {
        Code::Unknown
    } else if refused == Some(StatusCode::UNPROCESSABLE_ENTITY) || refused == Some(StatusCode::BAD_REQUEST) {
        Code::WrongUsage
    } else if error.is::<Unusable>() {
        Code::Unusable
    } else if error.is::<Unknown>() {
        Code::Unknown
    } else if error.is::<Missing>() {
        Code::NotInstalled
    } else {
        Code::Failed
    }
}

/// Standard output, for text that somebody asked for: that nobody reads it to its end is no failure.
pub fn print(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
