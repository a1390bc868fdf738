//! What the orchestrator promises of its processes: they come back, they are held to limits, and nothing is left of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::http::ask;
use crate::stage::kernel::{anonymous_memory, named_memory, private_memory};
use crate::stage::orchestrator::Orchestrator;
use crate::stage::runtime::PLUGINS;
use crate::stage::{Process, Runtime, SOON, Viewer, eventually, eventually_or};

const LIVE: Duration = Duration::from_secs(60);

/// Everything that runs with this folder as the place of its channels: the orchestrator's children.
fn children(channels: &Path) -> BTreeSet<i32> {
    let wanted = format!("VALKKA_RUNTIME_DIR={}", channels.display());
    let numbers = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    numbers.filter(has).collect()
}

/// Waits until a process of this name runs that is not `other`.
#[track_caller]
fn pid_other_than(valkka: &Orchestrator, name: &str, other: Option<Pid>) -> Pid {
    let look = || {
        let process = valkka.process(name);
        let pid = process["pid"].as_i64().filter(|_| process["state"] == "running")?;
        Some(Pid::from_raw(i32::try_from(pid).ok()?)).filter(|pid| Some(*pid) != other)
    };
    eventually_or(LIVE, look, || format!("{name} runs, and not as {other:?}\n{}", valkka.status()))
}

/// Runs a verb against this orchestrator.
fn verb(runtime: &Runtime, valkka: &Orchestrator, words: &[&str]) -> String {
    let mut command = runtime.command("valkka");
    let run = valkka.channels.file_name().expect("a run has a folder");
    command.arg("--run").arg(run).args(words);
    runtime.start(&command).finish(SOON)
}

/// A camera at an address that stays the same from one server to the next.
fn serve(runtime: &Runtime) -> (Process, String) {
    let mut command = runtime.command("valkka");
    command.args(["rtsp-server", "--camera", "lobby", "--port-file"]).arg(runtime.path("port"));
    let server = runtime.start(&command);
    let uri = server.line("rtsp://", SOON);
    (server, uri)
}

#[test]
fn a_camera_that_restarts_keeps_its_channel_and_its_viewers() {
    let runtime = Runtime::new();
    let (server, uri) = serve(&runtime);
    let valkka = Orchestrator::start(&runtime, &["run", &format!("lobby={uri}")]);
    valkka.live(LIVE);
    let mut viewer = Viewer::connect(&valkka, "lobby");
    viewer.fragments(20);
    let mut command = runtime.command("gst-launch-1.0");
    command.env("VALKKA_RUNTIME_DIR", &valkka.channels);
    let words = "-v valkkashmsrc channel=lobby.rgb ! fakesink silent=false sync=false";
    let analyser = runtime.start(command.args(words.split_whitespace()));
    analyser.lines_more(20, LIVE);
    let capture = pid_other_than(&valkka, "lobby.capture", None);

    let mut events = valkka.events("status");
    server.crash();
    eventually("the camera is lost, with a reason", LIVE, || {
        let camera = events.next("status")["cameras"][0].take();
        (camera["state"] == "lost" && camera["reason"].is_string()).then_some(())
    });
    let (_server, again) = serve(&runtime);
    assert_eq!(again, uri);
    valkka.live(LIVE);
    analyser.lines_more(20, LIVE);
    viewer.fragments(40);
    // Nothing but the source was started again.
    assert_eq!(pid_other_than(&valkka, "lobby.capture", None), capture);
    let said = verb(&runtime, &valkka, &["logs", "lobby", "-n", "1000"]);
    assert!(!said.contains("CRITICAL"), "{said}");
}

#[test]
fn whatever_is_killed_comes_back_and_nothing_is_left_of_it() {
    let runtime = Runtime::new();
    let mut valkka = Orchestrator::start(&runtime, &["run", "a=test:ball", "b=test:smpte", "c=test:snow"]);
    valkka.live(LIVE);
    let mut viewers: Vec<_> = ["a", "b", "c"].map(|camera| Viewer::connect(&valkka, camera)).into();
    viewers.iter_mut().for_each(|viewer| viewer.fragments(5));
    let descriptors = valkka.process.descriptors();
    let names = ["a", "b", "c"].map(|camera| [format!("{camera}.capture"), format!("{camera}.web")]).concat();
    for _ in 0..8 {
        let name = &names[fastrand::usize(..names.len())];
        let victim = pid_other_than(&valkka, name, None);
        signal::kill(victim, Signal::SIGKILL).expect("it runs");
        pid_other_than(&valkka, name, Some(victim));
    }
    valkka.live(LIVE);
    for camera in ["a", "b", "c"] {
        Viewer::connect(&valkka, camera).fragments(5);
    }
    drop(viewers);
    let settled = || (valkka.process.descriptors() <= descriptors + 6).then_some(());
    eventually_or(SOON, settled, || format!("{} descriptors, {descriptors} before", valkka.process.descriptors()));
    valkka.process.signal(Signal::SIGINT);
    let status = valkka.process.wait(LIVE);
    assert!(status.success(), "{status}\n{}", valkka.process.errors());
    assert_eq!(children(&valkka.channels), BTreeSet::new());
    assert!(!valkka.channels.exists(), "the run's folder is left behind");
}

#[test]
fn cameras_that_are_killed_again_and_again_leave_no_memory_and_no_descriptors() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    let small = "values = { test-width = 320, test-height = 240, test-fps = 10 }";
    fs::write(&config, format!("[analysis]\nenabled = false\n[cameras.a]\nuri = \"test:ball\"\n{small}\n")).unwrap();
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    valkka.live(LIVE);
    // A reader outside of the orchestrator, which holds on to the channel all the time.
    let mut command = runtime.command("gst-launch-1.0");
    command.env("VALKKA_RUNTIME_DIR", &valkka.channels);
    let words = "-v valkkashmsrc channel=a.rgb ! fakesink silent=false sync=false";
    let mut reader = runtime.start(command.args(words.split_whitespace()));
    reader.lines_more(5, LIVE);
    let kill = || {
        let victim = pid_other_than(&valkka, "a.capture", None);
        signal::kill(victim, Signal::SIGKILL).expect("it runs");
        pid_other_than(&valkka, "a.capture", Some(victim));
        reader.lines_more(5, LIVE);
    };
    // The first fills what is kept of the past: allocators, logs.
    kill();
    valkka.live(LIVE);
    let (descriptors, memory) = (valkka.process.descriptors(), private_memory(valkka.process.pid()));
    let (named, held) = (named_memory(), anonymous_memory(reader.pid()));
    assert!(held > 0, "the reader has memory of the channel");
    for _ in 0..5 {
        kill();
    }
    valkka.live(LIVE);
    let settled = || (valkka.process.descriptors() <= descriptors).then_some(());
    eventually_or(SOON, settled, || format!("{} descriptors, {descriptors} before", valkka.process.descriptors()));
    let freed = || (anonymous_memory(reader.pid()) <= held).then_some(());
    eventually_or(SOON, freed, || format!("{} pieces of memory, {held} before", anonymous_memory(reader.pid())));
    assert_eq!(anonymous_memory(valkka.process.pid()), 0, "the orchestrator touches no frames");
    let grown = private_memory(valkka.process.pid()).saturating_sub(memory);
    assert!(grown < 16 << 20, "the orchestrator has grown by {grown} bytes");
    let ours: Vec<_> = named_memory().difference(&named).filter(|name| name.contains("valkka")).cloned().collect();
    assert!(ours.is_empty() && reader.is_running(), "{ours:?}");
}

#[test]
fn a_camera_that_cannot_be_captured_is_stopped_and_its_reason_is_told_everywhere() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    fs::write(&config, "[cameras.a]\npipeline = \"videotestsrc no-such-property=1\"\n").unwrap();
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    let stopped = || Some(valkka.status()["cameras"][0].clone()).filter(|camera| camera["state"] == "stopped");
    let camera = eventually("the camera is stopped", LIVE, stopped);
    let reason = camera["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("no-such-property") && reason.contains("valkka restart a.capture"), "{camera}");
    let metrics = ask(&valkka.host(), "GET", "/metrics", &[], "").text();
    assert!(metrics.contains("valkka_camera_state{camera=\"a\",state=\"stopped\"} 1"), "{metrics}");
    let told = || valkka.process.errors().contains("a is stopped").then_some(());
    eventually("the log tells of it", SOON, told);
}

#[test]
fn children_end_with_an_orchestrator_that_is_killed() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "a=test:ball", "b=test:smpte"]);
    valkka.live(LIVE);
    assert!(children(&valkka.channels).len() >= 2);
    let channels = valkka.channels.clone();
    valkka.process.crash();
    eventually("no child is left", SOON, || children(&channels).is_empty().then_some(()));
}

#[test]
fn a_process_that_hangs_is_started_again() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "a=test:ball"]);
    valkka.live(LIVE);
    let hanging = pid_other_than(&valkka, "a.capture", None);
    signal::kill(hanging, Signal::SIGSTOP).expect("it runs");
    pid_other_than(&valkka, "a.capture", Some(hanging));
    let process = valkka.process("a.capture");
    let reason = process["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("answered") || reason.contains("no frame"), "{process}");
    assert!(!Path::new(&format!("/proc/{hanging}")).exists(), "it is left behind");
    valkka.live(LIVE);
}

#[test]
fn what_never_works_is_given_up_until_somebody_says_so() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    fs::write(&config, "[workers.broken]\ncommand = [\"false\"]\n[cameras.a]\nuri = \"test:ball\"\n").unwrap();
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    let given_up = || Some(valkka.process("broken")).filter(|process| process["state"] == "failed");
    let process = eventually("it is given up", LIVE * 2, given_up);
    let (reason, restarts) = (process["reason"].as_str().unwrap_or_default(), process["restarts"].as_u64());
    assert!(reason.contains("valkka restart broken"), "{process}");
    verb(&runtime, &valkka, &["restart", "broken"]);
    let again = || (valkka.process("broken")["restarts"].as_u64() > restarts).then_some(());
    eventually("it is tried again", SOON, again);
    valkka.live(LIVE);
}

#[test]
fn what_nobody_looks_at_rests() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    fs::write(&config, "[analysis]\nenabled = false\n[cameras.a]\nuri = \"test:ball\"\n").unwrap();
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    valkka.live(LIVE);
    let channel = |name: &str| {
        let status = valkka.status();
        status["channels"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name).cloned())
    };
    let rests = |name: &str, resting: bool| {
        let look = || channel(name).filter(|channel| channel["resting"] == resting).map(drop);
        eventually_or(LIVE, look, || format!("{name} resting {resting}\n{}", valkka.status()));
    };
    rests("a.rgb", true);
    rests("a.h264", true);
    assert_eq!(valkka.process("a.web")["state"], "resting");
    // It is no less live for that.
    valkka.live(LIVE);

    let mut command = runtime.command("gst-launch-1.0");
    command.env("VALKKA_RUNTIME_DIR", &valkka.channels);
    let words = "-v valkkashmsrc channel=a.rgb ! fakesink silent=false sync=false";
    let analyser = runtime.start(command.args(words.split_whitespace()));
    analyser.lines_more(10, LIVE);
    rests("a.rgb", false);
    let mut viewer = Viewer::connect(&valkka, "a");
    viewer.fragments(5);
    assert_eq!(valkka.process("a.web")["state"], "running");
    drop((analyser, viewer));
    rests("a.rgb", true);
    eventually("its web process rests again", LIVE, || (valkka.process("a.web")["state"] == "resting").then_some(()));
    rests("a.h264", true);
}

#[test]
fn a_secret_reaches_its_pipeline_and_nobody_else() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    fs::write(&config, "[cameras.a]\nuri = \"rtsp://admin:${CAMERA_PASSWORD}@127.0.0.1:1/live\"\n").unwrap();
    let mut command = runtime.command("valkka");
    command.env("CAMERA_PASSWORD", "hushhush").args(["-vv", "run"]).arg(&config).args(["--listen", "127.0.0.1:0"]);
    let process = runtime.start(&command);
    let folder = process.line("Channels are in ", LIVE).rsplit(' ').next().expect("a line has words").to_owned();
    let seen = || {
        let all = children(Path::new(&folder));
        let shown = all.iter().flat_map(|pid| ["cmdline", "environ"].map(|file| format!("/proc/{pid}/{file}")));
        let shown: Vec<_> = shown.filter_map(|file| fs::read(file).ok()).collect();
        let text = shown.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<String>();
        text.contains("pipeline").then_some(text)
    };
    let shown = eventually("its capture runs", LIVE, seen);
    assert!(!shown.contains("hushhush"), "{shown}");
    process.line("Valkka is at", SOON);
    assert!(!process.errors().contains("hushhush") && !process.output().contains("hushhush"), "{}", process.errors());
}

#[test]
fn plain_gst_launch_runs_cameras_that_are_seen_and_restarted() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    let text = "[processes]\nrunner = \"gst-launch\"\n[analysis]\nenabled = false\n[cameras.a]\nuri = \"test:ball\"\n\
                values = { test-width = 64, test-height = 48, test-fps = 10 }\n";
    fs::write(&config, text).unwrap();
    let mut valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    // It counts nothing: that frames flow is known from those who watch.
    Viewer::connect(&valkka, "a").fragments(10);
    valkka.live(LIVE);
    let capture = pid_other_than(&valkka, "a.capture", None);
    signal::kill(capture, Signal::SIGKILL).expect("it runs");
    pid_other_than(&valkka, "a.capture", Some(capture));
    Viewer::connect(&valkka, "a").fragments(10);
    valkka.process.signal(Signal::SIGINT);
    assert!(valkka.process.wait(LIVE).success(), "{}", valkka.process.errors());
    assert_eq!(children(&valkka.channels), BTreeSet::new());
}

#[test]
fn the_log_is_json_for_those_who_want_it() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    fs::write(&config, "[log]\nformat = \"json\"\n[cameras.a]\nuri = \"test:ball\"\n").unwrap();
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    valkka.live(LIVE);
    let live = || {
        let lines: Vec<Value> =
            valkka.process.errors().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.into_iter().find(|line| line["message"] == "a is live")
    };
    let line = eventually("it is told", SOON, live);
    assert!(line["level"] == "info" && line["time"].is_number(), "{line}");
}

#[test]
fn commands_reach_a_running_pipeline() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "a=test:ball"]);
    valkka.live(LIVE);
    let said = verb(&runtime, &valkka, &["call", "a.capture", "ping"]);
    assert!(said.contains("pong"), "{said}");
    let said = verb(&runtime, &valkka, &["call", "a.capture", "state"]);
    assert!(said.contains("playing"), "{said}");
    let set = r#"{"element": "analyse", "property": "drop", "value": true}"#;
    assert_eq!(verb(&runtime, &valkka, &["call", "a.capture", "set", set]), "null\n");
    let get = r#"{"element": "analyse", "property": "drop-mode"}"#;
    assert_eq!(verb(&runtime, &valkka, &["call", "a.capture", "get", get]), "\"drop-all\"\n");
    // What the help names is there.
    let said = verb(&runtime, &valkka, &["call", "a.capture", "commands"]);
    assert!(said.contains("keyframe"), "{said}");
    assert_eq!(verb(&runtime, &valkka, &["call", "a.capture", "keyframe"]), "null\n");
}

#[test]
fn limits_hold_for_what_a_child_becomes() {
    let secret = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let (hidden, shown) = (secret.path().join("hidden"), secret.path().join("shown"));
    fs::write(&hidden, "hidden").and_then(|()| fs::write(&shown, "shown")).expect("the folder is writable");
    let exec = |options: &[&str], words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_valkka"));
        let parent = std::process::id().to_string();
        command.args(["exec", "--parent", &parent]).args(options).arg("--").args(words);
        let output = command.output().expect("valkka can be started");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let status = |options: &[&str]| exec(options, &["cat", "/proc/self/status"]).1;
    assert!(status(&[]).contains("NoNewPrivs:\t1"), "{}", status(&[]));
    assert!(status(&["--cpus", "0"]).contains("Cpus_allowed_list:\t0\n"), "{}", status(&["--cpus", "0"]));
    let nice = exec(&["--nice", "5"], &["nice"]).1;
    let own = exec(&[], &["nice"]).1;
    let number = |text: &str| text.trim().parse::<i32>().expect("a number");
    assert_eq!(number(&nice), (number(&own) + 5).min(19));
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let may_read = ["--sandbox", "--may-read", &path(&shown)].map(str::to_owned);
    let may_read: Vec<&str> = may_read.iter().map(String::as_str).collect();
    assert_eq!(exec(&may_read, &["cat", &path(&shown)]), (true, "shown".to_owned()));
    assert_eq!(exec(&may_read, &["cat", &path(&hidden)]), (false, String::new()));
    assert!(!exec(&may_read, &["cp", "/proc/version", &path(&shown)]).0, "what may be read is written to");
}

#[test]
fn plug_ins_that_are_links_are_found_in_a_sandbox() {
    let runtime = Runtime::new();
    let links = runtime.path("links");
    fs::create_dir(&links).expect("the folder is writable");
    for plugin in fs::read_dir(&*PLUGINS).expect("it is a folder").flatten() {
        std::os::unix::fs::symlink(plugin.path(), links.join(plugin.file_name())).expect("the folder is writable");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_valkka"));
    command.args(["exec", "--parent", &std::process::id().to_string(), "--sandbox", "--"]);
    command.args(["gst-inspect-1.0", "valkkashmsink"]);
    command.env("GST_PLUGIN_PATH", &links).env("GST_REGISTRY", runtime.path("registry.bin"));
    let output = command.output().expect("valkka can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Values of a status that tests of this module rely on.
#[test]
fn the_status_has_what_was_agreed() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "a=test:ball"]);
    valkka.live(LIVE);
    let begun = Instant::now();
    let status = loop {
        let status = valkka.status();
        if status["channels"].as_array().is_some_and(|channels| !channels.is_empty()) {
            break status;
        }
        assert!(begun.elapsed() < LIVE, "no channels: {status}");
    };
    let has = |value: &Value, fields: &[&str]| {
        for field in fields {
            assert!(value.get(field).is_some(), "{field} is missing in {value}");
        }
    };
    has(&status["cameras"][0], &["name", "state", "since", "reason", "fps", "age_ms", "viewers"]);
    has(&status["processes"][0], &["name", "camera", "kind", "pid", "state", "restarts"]);
    has(&status["channels"][0], &["name", "camera", "process", "frames", "readers", "resting"]);
}
