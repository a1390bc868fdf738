//! `valkka pipeline`: what gst-launch does, and what it does not: commands, events, and a description that nobody sees.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::{Value, json};
use valkka_command::{CallError, Event, Frontend, pair};

use crate::stage::{Runtime, SOON, eventually};

/// A pipeline under somebody who gives commands.
struct Commanded {
    child: Child,
    frontend: Option<Frontend>,
    events: mpsc::Receiver<Event>,
    /// Those that nobody has asked for yet.
    seen: RefCell<Vec<(String, Value)>>,
}

impl Commanded {
    fn start(runtime: &Runtime, description: &str) -> Self {
        let mut file = tempfile::tempfile().expect("a temporary file can be made");
        let words = description.split_whitespace().flat_map(|word| word.bytes().chain([0]));
        file.write_all(&words.collect::<Vec<_>>()).and_then(|()| file.rewind()).expect("it can be written");
        Self::with(runtime, file)
    }

    fn with(runtime: &Runtime, description: File) -> Self {
        let (ours, childs) = pair().expect("a socket pair can be made");
        let mut command = runtime.command("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "valkka", "pipeline", "--descriptor", "4"]);
        command.env("VALKKA_COMMANDS", "3");
        let mapping = |parent_fd: OwnedFd, child_fd| FdMapping { parent_fd, child_fd };
        command.fd_mappings(vec![mapping(childs, 3), mapping(description.into(), 4)]).expect("two numbers");
        let child = spawn(&mut command);
        drop(command);
        let (told, events) = mpsc::channel();
        let frontend = Frontend::new(ours, move |event| drop(told.send(event))).expect("a thread can be started");
        Self { child, frontend: Some(frontend), events, seen: RefCell::default() }
    }

    #[track_caller]
    fn call(&self, command: &str, params: Value) -> Result<Value, CallError> {
        self.frontend.as_ref().expect("it was not hung up on").call_as(command, &params, SOON)
    }

    /// The next event of that name whose value is as it is wanted.
    #[track_caller]
    fn event(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        let mut seen = self.seen.borrow_mut();
        loop {
            if let Some(at) = seen.iter().position(|(seen, value)| seen == name && wanted(value)) {
                return seen.remove(at).1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap_or_else(|_| panic!("not in time: {name}\n{seen:?}"));
            seen.push((event.name.clone(), event.parse().expect("JSON")));
        }
    }

    fn plays(&self) {
        self.event("state", |value| value["state"] == "playing");
    }

    fn ended(&mut self) -> ExitStatus {
        eventually("the pipeline ends", SOON, || self.child.try_wait().expect("a child can be waited for"))
    }
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

impl Drop for Commanded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_runs_what_gst_launch_runs_and_ends_as_it_does() {
    let runtime = Runtime::new();
    let run = |words: &str| {
        let mut command = runtime.command("valkka");
        runtime.start(command.arg("pipeline").args(words.split_whitespace()))
    };
    run("videotestsrc num-buffers=5 ! fakesink").finish(SOON);
    for (words, complaint) in [
        ("videotestsrc ! nosuchelement", "nosuchelement"),
        ("filesrc location=/nowhere ! fakesink", "/nowhere"),
        ("videotestsrc ! video/x-raw,format=RGB ! x264enc ! fakesink", "could not link"),
    ] {
        let said = run(words).fail(SOON);
        assert!(said.contains(complaint), "{words}: {said}");
    }
}

#[test]
fn an_interrupt_ends_the_stream_so_that_a_file_is_complete() {
    let runtime = Runtime::new();
    let file = runtime.path("whole.mp4");
    let mut command = runtime.command("valkka");
    let description = format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420 ! x264enc tune=zerolatency ! mp4mux name=mux ! filesink \
         location={}",
        file.display()
    );
    let mut writer = runtime.start(command.arg("pipeline").args(description.split_whitespace()));
    let begun = || std::fs::metadata(&file).is_ok_and(|meta| meta.len() > 1000).then_some(());
    eventually("something is written", SOON, begun);
    writer.signal(Signal::SIGINT);
    writer.finish(SOON);
    // Without an end of stream there would be no index, and nothing could be read.
    let read = format!("filesrc location={} ! qtdemux ! h264parse ! avdec_h264 ! fakesink", file.display());
    runtime.launch(&read).finish(SOON);
}

#[test]
fn commands_get_set_pause_draw_and_end() {
    let runtime = Runtime::new();
    let mut pipeline = Commanded::start(
        &runtime,
        "videotestsrc is-live=true name=source pattern=ball ! valve name=rest drop=true ! fakesink name=sink async=false",
    );
    pipeline.plays();
    assert_eq!(pipeline.call("ping", Value::Null).unwrap(), "pong");
    let get = |property: &str| pipeline.call("get", json!({ "element": "source", "property": property }));
    assert_eq!(get("pattern").unwrap(), "ball");
    let set = |value: Value| {
        let property = if value.is_string() { "pattern" } else { "num-buffers" };
        pipeline.call("set", json!({ "element": "source", "property": property, "value": value }))
    };
    set(json!("snow")).unwrap();
    assert_eq!(get("pattern").unwrap(), "snow");
    for (outcome, word) in [
        (set(json!("blizzard")).map(drop), "blizzard"),
        (set(json!(-7)).map(drop), "range"),
        (get("colour").map(drop), "colour"),
        (pipeline.call("get", json!({ "element": "nobody", "property": "x" })).map(drop), "nobody"),
        (pipeline.call("activate", json!({ "branch": "source" })).map(drop), "valve"),
        (pipeline.call("dance", Value::Null).map(drop), "dance"),
        (pipeline.call("get", Value::Null).map(drop), "parameters"),
        (pipeline.call("state", json!({ "state": "asleep" })).map(drop), "asleep"),
    ] {
        let why = outcome.unwrap_err().to_string();
        assert!(why.contains(word), "{word}: {why}");
    }
    pipeline.call("activate", json!({ "branch": "rest" })).unwrap();
    assert_eq!(pipeline.call("get", json!({ "element": "rest", "property": "drop" })).unwrap(), false);
    pipeline.call("deactivate", json!({ "branch": "rest" })).unwrap();
    assert_eq!(pipeline.call("get", json!({ "element": "rest", "property": "drop" })).unwrap(), true);

    pipeline.call("state", json!({ "state": "paused" })).unwrap();
    pipeline.event("state", |value| value["state"] == "paused");
    assert_eq!(pipeline.call("state", Value::Null).unwrap()["state"], "paused");
    pipeline.call("state", json!({ "state": "playing" })).unwrap();
    pipeline.plays();
    let dot = pipeline.call("dot", Value::Null).unwrap();
    assert!(dot.as_str().is_some_and(|dot| dot.starts_with("digraph")), "{dot}");
    let elements = pipeline.call("elements", Value::Null).unwrap();
    assert!(elements.as_array().is_some_and(|all| all.contains(&json!({ "name": "rest", "factory": "valve" }))));

    pipeline.call("eos", Value::Null).unwrap();
    pipeline.event("eos", Value::is_null);
    assert!(pipeline.ended().success());
}

#[test]
fn a_keyframe_comes_when_it_is_asked_for_with_the_headers() {
    let runtime = Runtime::new();
    // A keyframe at the beginning, and then none for an hour.
    let pipeline = Commanded::start(
        &runtime,
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=64,height=64,framerate=30/1 \
         ! x264enc tune=zerolatency key-int-max=100000 ! video/x-h264,stream-format=byte-stream \
         ! identity drop-buffer-flags=delta-unit ! fakesink name=sink",
    );
    pipeline.plays();
    let key = || {
        let stats = pipeline.call("get", json!({ "element": "sink", "property": "stats" }));
        stats.ok().and_then(|stats| stats["rendered"].as_u64())
    };
    eventually("the first keyframe", SOON, || (key()? >= 1).then_some(()));
    let before = key().expect("it counts");
    pipeline.call("keyframe", Value::Null).unwrap();
    eventually("another keyframe", SOON, || (key()? > before).then_some(()));
    pipeline.call("headers", json!({ "element": "sink" })).unwrap();
}

#[test]
fn what_happens_becomes_events_with_its_source() {
    let runtime = Runtime::new();
    let writer = Commanded::start(
        &runtime,
        "videotestsrc is-live=true ! valkkashmsink name=channel channel=a.raw sync=false async=false",
    );
    writer.plays();
    let reader = runtime.launch("valkkashmsrc channel=a.raw ! fakesink");
    let count = writer.event("count", |value| value["value"] == 1);
    assert_eq!(count, json!({ "element": "channel", "property": "readers", "value": 1 }));
    let came = writer.event("element", |value| value["name"] == "valkka-reader-added");
    assert_eq!(came["source"], "channel");
    drop(reader);
    writer.event("count", |value| value["value"] == 0);

    let mut broken = Commanded::start(&runtime, "filesrc name=file location=/nowhere ! fakesink");
    let error = broken.event("error", |_| true);
    assert_eq!(error["source"], "file");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
    assert!(!broken.ended().success());
}

#[test]
fn nobody_sees_the_description() {
    let runtime = Runtime::new();
    let pipeline = Commanded::start(&runtime, "videotestsrc is-live=true name=hushhush ! fakesink");
    pipeline.plays();
    for file in ["cmdline", "environ"] {
        let shown = std::fs::read(format!("/proc/{}/{file}", pipeline.child.id())).expect("it runs");
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.contains("valkka") && !shown.contains("hushhush"), "{file}: {shown}");
    }
}

#[test]
fn a_pipeline_ends_with_its_frontend() {
    let runtime = Runtime::new();
    let mut pipeline = Commanded::start(&runtime, "videotestsrc is-live=true ! fakesink");
    pipeline.plays();
    pipeline.frontend = None;
    assert!(!pipeline.ended().success());
}

#[test]
fn a_pipeline_that_hangs_answers_no_ping_and_another_does() {
    let runtime = Runtime::new();
    let pipeline = Commanded::start(&runtime, "videotestsrc is-live=true ! fakesink");
    pipeline.plays();
    let pid = Pid::from_raw(pipeline.child.id().cast_signed());
    signal::kill(pid, Signal::SIGSTOP).expect("it runs");
    let frontend = pipeline.frontend.as_ref().expect("it was not hung up on");
    let limit = Duration::from_millis(200);
    let error = frontend.call("ping", &(), limit).unwrap_err();
    assert_eq!(error, CallError::TimedOut { command: "ping".to_owned(), limit });
    signal::kill(pid, Signal::SIGCONT).expect("it runs");
    assert_eq!(pipeline.call("ping", Value::Null).unwrap(), "pong");
}
