//! What `valkka` does when it is not the orchestrator: looks at files, prints templates.
//!
//! What goes wrong is told by exit code as well, for scripts.

pub mod file;
pub mod template;

use std::process::ExitCode;

use crate::{camera::CameraError, config::ConfigError, requirements::Missing};

/// How a verb ended, for scripts; `valkka --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Failed = 1,
    /// As clap says it as well.
    WrongUsage = 2,
    /// There is no such camera, process, command or template.
    Unknown = 4,
    NotInstalled = 5,
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

/// What an error means to a script.
pub fn exit_code(error: &anyhow::Error) -> Code {
    if error.is::<CameraError>() || error.is::<ConfigError>() {
        Code::WrongUsage
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
