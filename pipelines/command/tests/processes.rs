//! Workers as processes of their own, in Rust and in Python.

use std::{
    env,
    path::Path,
    process::{Child, Command},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use valkka_command::{CallError, Event, Frontend, pair, pass};

const SOON: Duration = Duration::from_secs(30);

struct Worker {
    child: Child,
    /// None when it was hung up on.
    frontend: Option<Frontend>,
    events: mpsc::Receiver<Event>,
}

impl Worker {
    fn start(mut command: Command) -> Self {
        let (ours, childs) = pair().unwrap();
        pass(&mut command, childs);
        let child = command.spawn().unwrap();
        // It holds the child's end.
        drop(command);
        let (told, events) = mpsc::channel();
        let frontend = Frontend::new(ours, move |event| drop(told.send(event))).unwrap();
        Self { child, frontend: Some(frontend), events }
    }

    fn rust() -> Self {
        let tests = env::current_exe().unwrap();
        let built = tests.parent().and_then(Path::parent).unwrap().join("examples/worker");
        Self::start(Command::new(built))
    }

    fn python() -> Self {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/worker.py"));
        Self::start(command)
    }

    fn add(&self, number: i64) -> Result<i64, CallError> {
        self.frontend().call_as("add", &json!({ "number": number }), SOON)
    }

    fn frontend(&self) -> &Frontend {
        self.frontend.as_ref().expect("it was not hung up on")
    }

    /// Waits until it has ended; whether it ended well.
    fn ended(&mut self) -> bool {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn workers_in_any_language_count_tell_and_end_with_their_frontend() {
    for mut worker in [Worker::rust(), Worker::python()] {
        assert_eq!(worker.frontend().call_as("ping", &(), SOON), Ok("pong".to_owned()));
        assert_eq!(worker.add(2), Ok(2));
        assert_eq!(worker.add(40), Ok(42));
        let sums: Vec<i64> = (0..2).map(|_| worker.events.recv_timeout(SOON).unwrap().parse().unwrap()).collect();
        assert_eq!(sums, [2, 42]);
        let Err(CallError::Refused(why)) = worker.frontend().call("subtract", &(), SOON) else { panic!("unknown") };
        assert!(why.contains("subtract"), "{why}");
        worker.frontend = None;
        assert!(worker.ended());
    }
}

#[test]
fn a_worker_that_dies_in_a_call_fails_the_call_at_once() {
    let mut worker = Worker::rust();
    let begun = Instant::now();
    assert_eq!(worker.frontend().call("die", &(), SOON * 100).unwrap_err(), CallError::Gone(None));
    assert!(begun.elapsed() < SOON * 100, "the time limit is not what ended it");
    assert!(!worker.ended());
    assert_eq!(worker.add(1), Err(CallError::Gone(None)));
}

#[test]
fn a_worker_that_is_busy_fails_its_calls_by_their_limit_and_goes_on() {
    let worker = Worker::rust();
    let limit = Duration::from_millis(20);
    // So long that even a busy machine looks at the limit before the answer is there.
    let slow = worker.frontend().call("sleep", &json!({ "ms": 5000 }), limit);
    assert_eq!(slow.unwrap_err(), CallError::TimedOut { command: "sleep".to_owned(), limit });
    assert_eq!(worker.add(1), Ok(1));
}

#[test]
fn a_worker_without_a_frontend_says_so() {
    let tests = env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap().join("examples/worker");
    for (value, word) in [(None, "VALKKA_COMMANDS"), (Some("x"), "not the number"), (Some("77"), "77")] {
        let mut command = Command::new(&built);
        command.env_remove("VALKKA_COMMANDS").envs(value.map(|value| ("VALKKA_COMMANDS", value)));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(word), "{said}");
    }
    // A file is no frontend: standard input of the test may be anything, /dev/null it is here.
    let mut command = Command::new(&built);
    command.env("VALKKA_COMMANDS", "0").stdin(std::process::Stdio::null());
    assert!(!command.output().unwrap().status.success());
}
