//! The command line against a running orchestrator.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, SOON, eventually};

const LIVE: Duration = Duration::from_secs(90);

/// What a verb said, and its exit code.
fn verb(runtime: &Runtime, arguments: &[&str]) -> (i32, String) {
    let mut process = runtime.start(runtime.command("valkka").args(arguments));
    let status = process.wait(LIVE);
    (status.code().expect("no signal ended it"), format!("{}{}", process.output(), process.errors()))
}

#[test]
fn without_an_orchestrator_verbs_say_so() {
    let runtime = Runtime::new();
    for arguments in [&["status"][..], &["reload"], &["logs"], &["camera", "list"], &["restart", "a"]] {
        let (code, said) = verb(&runtime, arguments);
        assert!(code == 3 && said.contains("`valkka run` starts one"), "{arguments:?}: {code} {said}");
    }
}

#[test]
fn verbs_show_and_change_what_runs() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    valkka.live(LIVE);

    let (code, said) = verb(&runtime, &["status"]);
    assert!(code == 0 && said.starts_with("CAMERA") && said.contains("ball.capture"), "{said}");
    let live = || {
        let (_, json) = verb(&runtime, &["status", "--json"]);
        let status: Value = serde_json::from_str(&json).expect("it is JSON");
        (status["cameras"][0]["state"] == "live").then_some(())
    };
    eventually("the camera is live", LIVE, live);

    let password = runtime.path("password");
    fs::write(&password, "hush-hush\n").expect("the test's folder is writable");
    let secret = ["camera", "add", "far=rtsp://127.0.0.1:9/", "--user", "me", "--password-file"];
    let (code, said) = verb(&runtime, &[&secret[..], &[&password.to_string_lossy(), "--timeout", "1"]].concat());
    assert!(code == 1 && said.contains("far is added, but "), "{said}");
    let (_, listed) = verb(&runtime, &["camera", "list"]);
    assert_eq!(listed, "ball  test:ball\nfar  rtsp://***@127.0.0.1:9/\n");
    let (code, said) = verb(&runtime, &["camera", "add", "ball=test:snow"]);
    assert!(code == 1 && said.contains("already"), "{code} {said}");

    let (code, said) = verb(&runtime, &["restart", "ball"]);
    assert!(code == 0 && said.contains("ball.capture starts again") && said.contains("ball.web"), "{said}");
    let again = || (valkka.process("ball.capture")["restarts"].as_u64() >= Some(1)).then_some(());
    eventually("it is started again", SOON, again);
    valkka.events("status").next("status");

    let (code, said) = verb(&runtime, &["logs", "far", "-n", "500"]);
    assert!(code == 0 && said.contains("far.capture: "), "{said}");
    // The last lines of what was asked for, whoever else has said something meanwhile.
    let (_, one) = verb(&runtime, &["logs", "ball", "-n", "1"]);
    assert!(one.lines().count() == 1 && one.contains(" ball."), "{one}");
    assert_eq!(verb(&runtime, &["logs", "nobody"]).0, 4);
    for text in [said, listed, valkka.process.errors(), valkka.status().to_string()] {
        assert!(!text.contains("hush"), "{text}");
    }

    let picture = runtime.path("ball.jpeg");
    let (code, said) = verb(&runtime, &["snapshot", "ball", &picture.to_string_lossy()]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(fs::read(&picture).expect("it is there")[..3], [0xff, 0xd8, 0xff]);

    assert_eq!(verb(&runtime, &["camera", "remove", "far"]), (0, "far is removed\n".to_owned()));
    let (code, said) = verb(&runtime, &["call", "ball.capture", "ping"]);
    assert_eq!((code, said.as_str()), (0, "\"pong\"\n"));
    for unknown in
        [&["camera", "remove", "far"][..], &["restart", "far"], &["snapshot", "far", "-"], &["call", "far", "ping"]]
    {
        let (code, said) = verb(&runtime, unknown);
        assert_eq!(code, 4, "{unknown:?}: {said}");
    }
    let (code, said) = verb(&runtime, &["call", "ball.capture", "ping", "no JSON"]);
    assert!(code == 2 && said.contains("PARAMETERS"), "{code} {said}");
    let (code, said) = verb(&runtime, &["reload"]);
    assert!(code == 1 && said.contains("command line"), "{code} {said}");
}

#[test]
fn the_doctor_names_what_is_missing_and_how_to_get_it() {
    let runtime = Runtime::new();
    let (code, said) = verb(&runtime, &["doctor"]);
    assert!(code == 0 && said.contains("ok       cameras, channels and browsers"), "{said}");
    let mut command = runtime.command("valkka");
    command.env("GST_PLUGIN_PATH", runtime.path("empty")).env("GST_REGISTRY", runtime.path("registry"));
    let mut process = runtime.start(command.arg("doctor"));
    assert_eq!(process.wait(LIVE).code(), Some(5), "{}", process.output());
    assert!(
        process.output().contains("MISSING") && process.output().contains("GST_PLUGIN_PATH"),
        "{}",
        process.output()
    );
}

#[test]
fn verbs_have_examples_and_shells_complete_them() {
    let runtime = Runtime::new();
    for verb_name in [
        "run", "check", "init", "status", "restart", "logs", "call", "snapshot", "doctor", "reload", "schema",
        "restream",
    ] {
        let (code, said) = verb(&runtime, &[verb_name, "--help"]);
        assert!(code == 0 && said.contains("Example"), "{verb_name}: {said}");
    }
    let (code, said) = verb(&runtime, &["completions", "bash"]);
    assert!(code == 0 && said.contains("snapshot") && said.contains("doctor"), "{said}");
    let (_, help) = verb(&runtime, &["--help"]);
    assert!(help.contains("3  no orchestrator is running"), "{help}");
}
