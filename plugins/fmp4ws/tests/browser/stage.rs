//! What these tests stand on: the system tests' browser and processes, in a folder of the test's own.

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

#[allow(dead_code, reason = "the system tests use the rest")]
#[path = "../../../../tests/stage/browser.rs"]
mod browser;
#[allow(dead_code, reason = "the system tests use the rest")]
#[path = "../../../../tests/stage/process.rs"]
mod process;

pub use browser::Browser;
use process::Process;

/// Whatever takes longer has failed. Generous: the machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(90);

/// One test's folder.
pub struct Runtime(TempDir);

impl Runtime {
    /// An empty one.
    pub fn new() -> Runtime {
        Runtime(tempfile::Builder::new().prefix("fmp4ws-test-").tempdir().expect("a temporary folder can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path());
        command
    }

    fn start(&self, command: &Command) -> Process {
        Process::start(command, self.0.path())
    }
}

/// Waits for a fact: asks again and again until the answer is there, and fails the test when it never comes.
#[track_caller]
pub fn eventually_or<T>(within: Duration, mut fact: impl FnMut() -> Option<T>, complaint: impl Fn() -> String) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = fact() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {}", complaint());
        thread::sleep(Duration::from_millis(20));
    }
}
