//! What a test stands on: processes that end with it, folders of its own, and waiting for facts.

pub mod browser;
pub mod guide;
pub mod http;
pub mod kernel;
pub mod orchestrator;
pub mod pipeline;
pub mod process;
pub mod runtime;
pub mod scene;
pub mod viewer;

use std::thread;
use std::time::{Duration, Instant};

pub use process::Process;
pub use runtime::Runtime;
pub use viewer::Viewer;

/// How long a test waits for what should take a moment. Generous: the machine may be busy with other tests.
pub const SOON: Duration = Duration::from_secs(30);

/// How long a test waits for a process that has to look at every plug-in of GStreamer first.
pub const SCAN: Duration = Duration::from_secs(120);

/// Waits for a fact: asks again and again until the answer is there, and fails the test when it never comes.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, fact: impl FnMut() -> Option<T>) -> T {
    eventually_or(within, fact, || what.to_owned())
}

/// As [`eventually`], for those who can tell more about it when the fact never comes.
#[track_caller]
pub fn eventually_or<T>(within: Duration, mut fact: impl FnMut() -> Option<T>, complaint: impl Fn() -> String) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = fact() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {}", complaint());
        thread::sleep(Duration::from_millis(5));
    }
}
