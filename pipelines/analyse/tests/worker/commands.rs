//! Cameras come and go by command while others are analysed.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use valkka_command::{CallError, Frontend};

use crate::analyser::Analyser;
use crate::camera::{Camera, assert_square};
use crate::{SOON, eventually, runtime_dir};

fn call(frontend: &Frontend, command: &str, params: Value) -> Result<Value, String> {
    match frontend.call_as::<Value>(command, &params, SOON) {
        Ok(answer) => Ok(answer),
        Err(CallError::Refused(why)) => Err(why),
        Err(other) => panic!("{command}: {other}"),
    }
}

fn lossless(channel: &str) -> Value {
    json!({ "channel": channel, "policy": "lossless" })
}

#[test]
fn cameras_are_attached_and_detached_while_it_runs() {
    let folder = runtime_dir();
    let (lobby, gate) = (Camera::open(folder.path(), "lobby.rgb"), Camera::open(folder.path(), "gate.rgb"));
    let (analyser, frontend) = Analyser::start_commanded(folder.path(), "--threads 2");
    assert_eq!(call(&frontend, "attach", lossless("lobby.rgb")), Ok(json!({ "camera": "lobby" })));
    lobby.wait_for_reader();
    let id = lobby.show(None);
    assert_eq!(lobby.reply().0, id);
    assert_eq!(analyser.message()["seq"], id.seq, "events tell what lines tell otherwise");

    assert_eq!(call(&frontend, "attach", lossless("gate.rgb")), Ok(json!({ "camera": "gate" })));
    gate.wait_for_reader();
    gate.show(None);
    assert_eq!(analyser.message()["camera"], "gate");

    assert_eq!(call(&frontend, "detach", json!({ "camera": "lobby" })), Ok(Value::Null));
    eventually("its reader leaves", || (lobby.readers() == 0).then_some(()));
    lobby.show(None);
    gate.show(None);
    assert_eq!(analyser.message()["camera"], "gate");
    let status = call(&frontend, "status", Value::Null).expect("there is a status");
    let names: Vec<_> = status["cameras"].as_array().expect("a list").iter().map(|camera| &camera["camera"]).collect();
    assert_eq!(names, ["gate"], "{status}");
    assert_eq!((&status["threads"], &status["cameras"][0]["left_out"]), (&2.into(), &0.into()));
}

#[test]
fn same_again_changes_nothing_and_another_configuration_takes_its_place() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let (analyser, frontend) = Analyser::start_commanded(folder.path(), "");
    let attach = |params: Value| call(&frontend, "attach", params).expect("it can be attached");
    attach(lossless("lobby.rgb"));
    camera.wait_for_reader();
    let reader = camera.reader_ids();
    for _ in 0..10 {
        camera.show(None);
        analyser.message();
    }
    attach(lossless("lobby.rgb"));
    assert_eq!(camera.reader_ids(), reader, "nobody has come or gone");
    camera.show(Some((100, 60)));
    assert_square(&analyser.message(), 100, 60);

    let mut masked = lossless("lobby.rgb");
    masked["mask"] = json!([[[0, 0], [1, 0], [1, 1], [0, 1]]]);
    attach(masked);
    eventually("another reader has come, and the first has gone", || {
        let now = camera.reader_ids();
        (now.len() == 1 && now != reader).then_some(())
    });
    for _ in 0..10 {
        camera.show(None);
        analyser.message();
    }
    camera.show(Some((100, 60)));
    assert_eq!(analyser.message()["objects"], json!([]), "all of the picture is masked");
}

#[test]
fn zones_can_be_drawn_while_an_object_is_in_them() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let (analyser, frontend) = Analyser::start_commanded(folder.path(), "");
    call(&frontend, "attach", lossless("lobby.rgb")).expect("it can be attached");
    camera.wait_for_reader();
    let show = |square| {
        camera.show(square);
        analyser.message();
    };
    (0..10).for_each(|_| show(None));
    show(Some((40, 60)));
    show(Some((44, 60)));
    let born = analyser.event();
    assert_eq!((&born["type"], &born["after"]["current_zones"]), (&"new".into(), &json!([])));

    let zone = |name: &str, left: f64| {
        let polygon = [[left, 0.0], [left + 0.5, 0.0], [left + 0.5, 1.0], [left, 1.0]];
        json!({ "name": name, "polygon": polygon })
    };
    let zones = json!({ "camera": "lobby", "zones": [zone("west", 0.0), zone("east", 0.5)] });
    assert_eq!(call(&frontend, "zones", zones), Ok(Value::Null));
    show(Some((48, 60)));
    let inside = analyser.event();
    assert_eq!((&inside["type"], &inside["after"]["current_zones"]), (&"update".into(), &json!(["west"])));
    // It walks into the other one: 161 of 322 pixels is the line.
    for step in 1..10 {
        camera.show(Some((48 + step * 12, 60)));
    }
    let crossed = eventually("it crosses the line", || {
        Some(analyser.event()).filter(|event| event["after"]["current_zones"] == json!(["east"]))
    });
    assert_eq!(crossed["before"]["current_zones"], json!(["west"]));
    assert_eq!(crossed["after"]["entered_zones"], json!(["west", "east"]));

    assert_eq!(call(&frontend, "detach", json!({ "camera": "lobby" })), Ok(Value::Null));
    let end =
        eventually("its life ends with the camera", || Some(analyser.event()).filter(|event| event["type"] == "end"));
    assert_eq!(end["after"]["id"], born["after"]["id"]);
    assert!(end["after"]["end_time"].is_f64() && end["before"]["end_time"].is_null());
}

#[test]
fn calls_that_make_no_sense_are_explained_and_harm_nobody() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let (analyser, frontend) = Analyser::start_commanded(folder.path(), "");
    call(&frontend, "attach", lossless("lobby.rgb")).expect("it can be attached");
    camera.wait_for_reader();
    for (command, params, explanation) in [
        ("attach", json!({}), "channel"),
        ("attach", json!({ "channel": "Lobby!" }), "Lobby!"),
        ("attach", json!({ "channel": "a.rgb", "detector": "magic" }), "motion, people, face or dnn"),
        (
            "attach",
            json!({ "channel": "a.rgb", "detector": { "kind": "dnn", "model": "/no/such.onnx" } }),
            "/no/such.onnx",
        ),
        ("attach", json!({ "channel": "a.rgb", "detector": { "kind": "face", "cascade": "no.xml" } }), "opencv-data"),
        ("attach", Value::Null, "attach"),
        ("detach", json!({ "camera": "attic" }), "there are: lobby"),
        ("zones", json!({ "camera": "attic", "zones": [] }), "there are: lobby"),
        ("zones", json!({ "camera": "lobby", "zones": [{ "name": "x", "polygon": [] }] }), "polygon"),
        ("dance", Value::Null, "attach, commands, detach, ping, status, zones"),
    ] {
        let error = call(&frontend, command, params.clone()).expect_err("it makes no sense");
        assert!(error.contains(explanation), "{command} {params}: {error}");
    }
    assert_eq!(call(&frontend, "ping", Value::Null), Ok("pong".into()));
    camera.show(None);
    assert_eq!(analyser.message()["camera"], "lobby");
}

#[test]
fn a_channel_that_cannot_be_read_is_tried_again_until_it_is_detached() {
    let folder = runtime_dir();
    let place = folder.path().join("lobby.rgb");
    // Something else listens there.
    let listener = UnixListener::bind(&place).expect("the folder is the test's own");
    let (analyser, frontend) = Analyser::start_commanded(folder.path(), "");
    call(&frontend, "attach", lossless("lobby.rgb")).expect("a channel need not be there");
    analyser.says("is not a channel of Valkka");
    drop(listener);
    fs::remove_file(&place).expect("it is there");
    let camera = Camera::open(folder.path(), "lobby.rgb");
    camera.wait_for_reader();
    camera.show(None);
    assert_eq!(analyser.message()["camera"], "lobby");
    call(&frontend, "detach", json!({ "camera": "lobby" })).expect("it is attached");

    drop(camera);
    let _listener = UnixListener::bind(folder.path().join("gate.rgb")).expect("the folder is the test's own");
    call(&frontend, "attach", lossless("gate.rgb")).expect("a channel need not be there");
    analyser.says("error: gate.rgb");
    eventually("it can be detached, also while nobody reads it", || {
        call(&frontend, "detach", json!({ "camera": "gate" })).ok()
    });
    assert!(call(&frontend, "detach", json!({ "camera": "gate" })).is_err(), "it is detached");
}

#[test]
fn it_ends_with_its_frontend_and_by_signals() {
    let folder = runtime_dir();
    let (mut analyser, frontend) = Analyser::start_commanded(folder.path(), "");
    assert_eq!(call(&frontend, "ping", Value::Null), Ok("pong".into()), "without cameras it waits for commands");
    drop(frontend);
    assert_eq!(analyser.end().code(), Some(0));

    let (mut analyser, frontend) = Analyser::start_commanded(folder.path(), "");
    assert_eq!(call(&frontend, "ping", Value::Null), Ok("pong".into()));
    analyser.signal(Signal::SIGTERM);
    assert_eq!(analyser.end().code(), Some(0));
    let gone = frontend.call("ping", &Value::Null, Duration::from_secs(5));
    assert!(matches!(gone, Err(CallError::Gone(_))), "{gone:?}");
}
