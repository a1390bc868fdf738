//! `valkka.toml` and the verbs that have to do with it: what is checked, what is written, what a change touches.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, SOON, Viewer, eventually};

const LIVE: Duration = Duration::from_secs(90);

/// Two test pictures that cost little, and nobody who looks at them.
const CAMERAS: &str = r#"
# The first stays as it is in every test.
[analysis]
enabled = false

[cameras.stays]
uri = "test:ball"
values = { test-width = 64, test-height = 48, test-fps = 5 }

[cameras.changes]
uri = "test:smpte"
values = { test-width = 64, test-height = 48, test-fps = 5 }
"#;

/// What a verb said, and its exit code.
fn verb(runtime: &Runtime, arguments: &[&str]) -> (i32, String) {
    let mut process = runtime.start(runtime.command("valkka").args(arguments));
    let status = process.wait(LIVE);
    (status.code().expect("no signal ended it"), format!("{}{}", process.output(), process.errors()))
}

fn pid(valkka: &Orchestrator, name: &str) -> u64 {
    let running = || valkka.process(name)["pid"].as_u64();
    eventually(&format!("{name} runs"), SOON, running)
}

#[test]
fn what_init_writes_is_right_and_is_not_written_twice() {
    let runtime = Runtime::new();
    assert_eq!(verb(&runtime, &["init"]).0, 0);
    let (code, said) = verb(&runtime, &["check"]);
    assert_eq!((code, said.trim()), (0, "valkka.toml: 2 cameras, 5 processes"));
    fs::write(runtime.path("valkka.toml"), "# mine").expect("the test's folder is writable");
    let (code, said) = verb(&runtime, &["init"]);
    assert!(code == 1 && said.contains("valkka.toml"), "{said}");
    assert_eq!(fs::read_to_string(runtime.path("valkka.toml")).expect("it is there"), "# mine");
}

#[test]
fn a_file_with_mistakes_starts_nothing_and_tells_all_of_them() {
    let runtime = Runtime::new();
    let text =
        "[server]\nlisten = \"here\"\n[cameras.a]\nuri = \"rtsp://me:hush@cam/\"\nlatnecy = 3\ncodec = \"mjpeg\"\n";
    fs::write(runtime.path("cameras.toml"), text).expect("the test's folder is writable");
    for arguments in [&["check", "cameras.toml"][..], &["run", "cameras.toml"]] {
        let (code, said) = verb(&runtime, arguments);
        assert_eq!(code, 2, "{said}");
        for part in [
            "3 mistakes",
            "cameras.toml:2:10: \"here\" is no address (server.listen)",
            "cameras.toml:5:1: no such key (cameras.a.latnecy)",
            "did you mean latency?",
            "cameras.toml:6:9: \"mjpeg\" is not known here (cameras.a.codec)",
            "allowed: \"h264\" or \"h265\"",
        ] {
            assert!(said.contains(part), "{part:?} is missing in\n{said}");
        }
        assert!(!said.contains("hush"), "{said}");
    }
    assert_eq!(runtime.files(), Vec::<String>::new());
    assert_eq!(verb(&runtime, &["run"]).0, 2, "there is no valkka.toml");
    let (_, said) = verb(&runtime, &["check", "nowhere.toml"]);
    assert_eq!(said, "valkka: nowhere.toml: No such file or directory (os error 2)\n");
    // Right by itself, but not what the template can take.
    fs::write(runtime.path("quote.toml"), "[pipelines.a]\ntemplate = \"relay\"\n").expect("it is writable");
    let (code, said) = verb(&runtime, &["check", "quote.toml"]);
    assert!(code == 2 && said.contains("there is no value for {camera}"), "{code} {said}");
}

#[test]
fn the_schema_agrees_with_the_check() {
    let runtime = Runtime::new();
    let (_, schema) = verb(&runtime, &["schema"]);
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    let schema = jsonschema::validator_for(&schema).expect("the schema is a schema");
    let valid = |text: &str| {
        let value: toml::Table = text.parse().expect("it is TOML");
        schema.is_valid(&serde_json::to_value(value).expect("TOML becomes JSON"))
    };
    let checked = |text: &str| {
        fs::write(runtime.path("one.toml"), text).expect("the test's folder is writable");
        verb(&runtime, &["check", "one.toml"]).0 == 0
    };
    verb(&runtime, &["init", "example.toml"]);
    let example = fs::read_to_string(runtime.path("example.toml")).expect("init has written it");
    for right in [
        example.as_str(),
        CAMERAS,
        "",
        "[cameras.a]\nuri = \"test:ball\"\nanalysis = { fps = 3, parameters = { x = [1] } }",
        "[workers.a]\ncommand = [\"b\"]\nstart-hooks = [\"c\", { command = \"d\", parameters = [1] }]",
    ] {
        assert!(valid(right) && checked(right), "{right}");
    }
    for wrong in [
        "[cameras.a]\nuri = \"test:ball\"\nlatnecy = 5",
        "[cameras.a]\nuri = 5",
        "[cameras.A]\nuri = \"test:ball\"",
        "[cameras.a]\nuri = \"test:ball\"\nlatency = -1",
        "[cameras.a]\nuri = \"test:ball\"\ncodec = \"mjpeg\"",
        "[cameras.a]\nuri = \"test:ball\"\nrecord = \"yes\"",
        "[recording]\nsegment = \"ten minutes\"",
        "[workers.a]\ncommand = \"program\"",
        "[workers.a]\ncommand = [\"b\"]\nstop-hooks = [{ parameters = 1 }]",
        "[workers.a]\ncommand = [\"b\"]\nstop-hooks = [\"\"]",
        "[analysis]\nparameters = 5",
        "limits = 3",
    ] {
        assert!(!valid(wrong) && !checked(wrong), "{wrong}");
    }
}

#[test]
fn a_reload_touches_only_what_has_changed() {
    let runtime = Runtime::new();
    let file = runtime.path("valkka.toml");
    fs::write(&file, CAMERAS).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run"]);
    valkka.live(LIVE);
    let mut awake = ["stays", "changes"].map(|camera| Viewer::connect(&valkka, camera));
    awake.iter_mut().for_each(|viewer| viewer.fragments(1));
    let before = (pid(&valkka, "stays.capture"), pid(&valkka, "stays.web"), pid(&valkka, "changes.web"));
    let capture = pid(&valkka, "changes.capture");

    let comes = "[cameras.comes]\nuri = \"test:snow\"\nvalues = { test-width = 64, test-height = 48, test-fps = 5 }\n";
    fs::write(&file, CAMERAS.replace("test:smpte", "test:ball") + comes).expect("the test's folder is writable");
    let (code, said) = verb(&runtime, &["reload"]);
    assert_eq!((code, said.as_str()), (0, "added: comes\nchanged: changes\n"));
    valkka.live(LIVE);
    assert_eq!((pid(&valkka, "stays.capture"), pid(&valkka, "stays.web"), pid(&valkka, "changes.web")), before);
    assert_ne!(pid(&valkka, "changes.capture"), capture);

    // What cannot change while it runs is told, and told again as long as it is so.
    let with_server = fs::read_to_string(&file).expect("it is there")
        + "[server]\nlisten = \"127.0.0.1:1\"\n[log]\nformat = \"json\"\n";
    fs::write(&file, with_server).expect("the test's folder is writable");
    for _ in 0..2 {
        let (code, said) = verb(&runtime, &["reload"]);
        assert_eq!((code, said.as_str()), (0, "from the next start on: server, log\n"));
    }
    assert_eq!(pid(&valkka, "stays.capture"), before.0);

    // With mistakes in it, nothing changes.
    fs::write(&file, "[cameras.stays]\nuri = 5\n").expect("the test's folder is writable");
    let (code, said) = verb(&runtime, &["reload"]);
    assert!(code == 2 && said.contains("valkka.toml:2:7"), "{code} {said}");
    assert_eq!(pid(&valkka, "stays.capture"), before.0);

    // As a service manager asks for it.
    fs::write(&file, "").expect("the test's folder is writable");
    valkka.process.signal(Signal::SIGHUP);
    let empty = || valkka.status()["processes"].as_array().is_some_and(Vec::is_empty).then_some(());
    eventually("all cameras are gone", LIVE, empty);
}

#[test]
fn a_change_comes_to_its_end_when_whoever_asked_for_it_does_not_wait() {
    let runtime = Runtime::new();
    let file = runtime.path("valkka.toml");
    fs::write(&file, CAMERAS).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run"]);
    valkka.live(LIVE);
    // Its capture takes a moment to stop: stopped, it heeds nothing but SIGKILL.
    let capture = i32::try_from(pid(&valkka, "changes.capture")).expect("a pid fits");
    signal::kill(Pid::from_raw(capture), Signal::SIGSTOP).expect("it runs");
    let mut impatient = TcpStream::connect(valkka.host()).expect("the port is open");
    let request = format!("DELETE /api/cameras/changes HTTP/1.1\r\nHost: {}\r\n\r\n", valkka.host());
    impatient.write_all(request.as_bytes()).expect("a request is short");
    let begun = || {
        let status = valkka.status();
        let processes = status["processes"].as_array().expect("a status has processes");
        let of_capture = processes.iter().find(|process| process["name"] == "changes.capture");
        of_capture.is_none_or(|process| process["state"] == "stopping").then_some(())
    };
    eventually("it is about to stop", SOON, begun);
    drop(impatient);
    let names = || {
        let status = valkka.status();
        let of = |key: &str| {
            let all = status[key].as_array().expect("a list").iter();
            all.map(|one| one["name"].as_str().unwrap_or_default()).collect::<Vec<_>>().join(" ")
        };
        format!("{}: {}", of("cameras"), of("processes"))
    };
    let gone = || (names() == "stays: stays.capture stays.web").then_some(());
    eventually("it is removed", LIVE, gone);
    let written = || (!fs::read_to_string(&file).expect("it is there").contains("cameras.changes")).then_some(());
    eventually("it is removed from the file", SOON, written);
    let small = ["--value", "test-width=64", "--value", "test-height=48", "--no-wait"];
    let (code, said) = verb(&runtime, &[&["camera", "add", "changes=test:snow"], &small[..]].concat());
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_log_for_programs_is_json_line_by_line() {
    let runtime = Runtime::new();
    let text = "[log]\nformat = \"json\"\n[cameras.a]\nuri = \"rtsp://me:hush-hush@127.0.0.1:9/\"\n";
    fs::write(runtime.path("valkka.toml"), text).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", "-v"]);
    let lost = || valkka.process.errors().contains("a is lost").then_some(());
    eventually("the log tells that the camera is lost", LIVE, lost);
    let said = valkka.process.errors();
    assert!(!said.contains("hush"), "{said}");
    // The last line may be half written.
    for line in said.lines().rev().skip(1) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string() && line["time"].is_f64(), "{line}");
    }
}

#[test]
fn forty_cameras_come_and_go_and_leave_nothing() {
    const COUNT: usize = 40;
    let runtime = Runtime::new();
    fs::write(runtime.path("valkka.toml"), "[analysis]\nenabled = false\n").expect("the test's folder is writable");
    let mut valkka = Orchestrator::start(&runtime, &["run"]);
    let descriptors = || fs::read_dir(format!("/proc/{}/fd", valkka.process.pid())).expect("it runs").count();
    let before = descriptors();
    let small = ["--value", "test-width=64", "--value", "test-height=48", "--value", "test-fps=2", "--no-wait"];
    for number in 0..COUNT {
        let camera = format!("c{number}=test:ball");
        let (code, said) = verb(&runtime, &[&["camera", "add", &camera], &small[..]].concat());
        assert_eq!(code, 0, "{said}");
    }
    let some_live = || {
        let status = valkka.status();
        let cameras = status["cameras"].as_array().expect("a status has cameras");
        assert_eq!(cameras.len(), COUNT);
        (cameras.iter().filter(|camera| camera["state"] == "live").count() == COUNT).then_some(())
    };
    eventually("all of them are live", Duration::from_secs(300), some_live);
    for number in 0..COUNT {
        let (code, said) = verb(&runtime, &["camera", "remove", &format!("c{number}")]);
        assert_eq!(code, 0, "{said}");
    }
    let status = valkka.status();
    assert_eq!(status["cameras"], serde_json::json!([]));
    assert_eq!(status["processes"], serde_json::json!([]));
    assert_eq!(fs::read_to_string(runtime.path("valkka.toml")).expect("it is there"), "[analysis]\nenabled = false\n");
    let mut left: Vec<_> = fs::read_dir(&valkka.channels).expect("the run has a folder").flatten().collect();
    left.retain(|entry| !["run.lock", "valkka.sock"].contains(&entry.file_name().to_string_lossy().as_ref()));
    assert!(left.is_empty(), "{left:?}");
    let children = format!("/proc/{}/task", valkka.process.pid());
    for thread in fs::read_dir(children).expect("it runs").flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        assert_eq!(children, "", "processes are left");
    }
    // Connections of the test itself may be closing still.
    let closed = || (descriptors() <= before + 2).then_some(());
    eventually("descriptors are given back", SOON, closed);
    valkka.process.signal(Signal::SIGTERM);
    assert!(valkka.process.wait(SOON).success());
    assert!(!valkka.channels.exists());
}
