//! The analyser as its users meet it: the program, fed by writers in this process and by pipelines in others.

mod analyser;
mod camera;
mod chain;
mod commands;
mod detectors;
mod lines;
mod objects;
mod pipeline;
mod refusal;
mod relay;
mod schema;
mod stop;

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should take a moment. Generous: the machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(90);

/// Waits for a fact, and fails the test when it never comes.
#[track_caller]
pub fn eventually<T>(what: &str, fact: impl FnMut() -> Option<T>) -> T {
    eventually_or(fact, || what.to_owned())
}

/// As [`eventually`], for those who can say more about it when the fact never comes.
#[track_caller]
pub fn eventually_or<T>(mut fact: impl FnMut() -> Option<T>, what: impl Fn() -> String) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(answer) = fact() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {SOON:?}: {}", what());
        thread::sleep(Duration::from_millis(5));
    }
}

/// A runtime folder of the test's own. Short: socket paths may have 107 characters.
pub fn runtime_dir() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("valkka-").tempdir().expect("a temporary folder can be made")
}
