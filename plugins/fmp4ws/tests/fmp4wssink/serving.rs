//! Addresses, names, limits, and what else is served.

use crate::http::{get, get_with, streams, upgrade_status};
use crate::pipeline::{CAMERA, DEADLINE, MUX, Pipeline};
use crate::slow::HEAVY;
use crate::viewer::{Received, Viewer};
use gst::prelude::*;
use serde_json::json;
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub fn start_error(description: &str) -> String {
    let pipeline = Pipeline::null(description);
    assert!(pipeline.0.set_state(gst::State::Ready).is_err());
    pipeline.wait_error()
}

#[test]
fn port_0_picks_a_port_and_tells_it() {
    let pipeline = Pipeline::null("fakesrc ! fmp4wssink port=0");
    let (send, notified) = mpsc::channel();
    pipeline.sink().connect_notify(Some("port"), move |sink, _| {
        let _ = send.send(sink.property::<u32>("port"));
    });
    pipeline.set(gst::State::Ready);
    let port = notified.recv_timeout(DEADLINE).expect("the port is notified");
    assert_ne!(port, 0);
    assert_eq!(pipeline.sink().property::<u32>("port"), port);
    assert!(get(pipeline.port(), "/").contains("valkka-video"));
    pipeline.set(gst::State::Null);
    assert_eq!(pipeline.sink().property::<u32>("port"), 0);
}

#[test]
fn a_port_that_is_taken_is_an_error_in_words() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = other.local_addr().expect("it is bound").port();
    let error = start_error(&format!("fakesrc ! fmp4wssink port={port}"));
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("Choose another port"), "{error}");
}

#[tokio::test]
async fn two_sinks_share_a_listener() {
    let first = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port=0 stream-name=first"));
    let port = first.port();
    let second = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port={port} stream-name=second"));
    first.play();
    second.play();
    for name in ["first", "second"] {
        let mut viewer = Viewer::connect(port, &format!("/api/ws?src={name}")).await;
        viewer.say(json!({"type": "mse", "value": ""})).await;
        assert_eq!(viewer.record(2).await.decode().frames, 2);
    }
    assert_eq!(streams(port).as_object().map(|streams| streams.len()), Some(2));

    let taken = start_error(&format!("fakesrc ! fmp4wssink port={port} stream-name=first"));
    assert!(taken.contains("stream-name"), "{taken}");

    drop(first);
    assert_eq!(streams(port)["second"]["width"], 320);
    drop(second);
    // The last one closes it, and the port is free again; for a moment it may be that of somebody who asked for any.
    let since = Instant::now();
    while let Err(error) = std::net::TcpListener::bind(("127.0.0.1", port)) {
        assert!(since.elapsed() < DEADLINE, "somebody listens still: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_a_name_the_only_stream_is_meant() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port=0 stream-name=lobby"));
    pipeline.play();
    let mut viewer = Viewer::connect(pipeline.port(), "/api/ws").await;
    viewer.say(json!({"type": "webrtc/offer", "value": {"sdp": "v=0"}})).await;
    viewer.say(json!({"type": "mse", "value": ""})).await;
    assert_eq!(viewer.json().await["type"], "mse");

    let other = Pipeline::ready(&format!("fakesrc ! fmp4wssink port={} stream-name=yard", pipeline.port()));
    let mut viewer = Viewer::connect(other.port(), "/api/ws").await;
    viewer.say(json!({"type": "mse", "value": ""})).await;
    let error = viewer.json().await;
    assert!(error["value"].as_str().is_some_and(|value| value.contains("?src=")), "{error}");
}

#[tokio::test]
async fn what_cannot_be_had_is_answered_in_go2rtcs_words() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port=0 max-viewers=1"));
    pipeline.play();
    let port = pipeline.port();
    let error = async |path: &str, codecs: &str| {
        let mut viewer = Viewer::connect(port, path).await;
        viewer.say(json!({"type": "mse", "value": codecs})).await;
        let answer = viewer.json().await;
        assert_eq!(answer["type"], "error");
        assert_eq!(viewer.next().await, Received::Closed);
        answer["value"].as_str().expect("a text").to_owned()
    };
    assert_eq!(error("/api/ws?src=nobody", "avc1.640029").await, "mse: stream not found: nobody");
    let unplayable = error("/api/ws?src=stream", "hvc1.1.6.L153.B0,av01.0.08M.08").await;
    assert_eq!(unplayable, "mse: codecs not matched: the stream has avc1.640014");
    let mut seated = Viewer::plain(port).await;
    assert_eq!(seated.json().await["type"], "mse");
    assert_eq!(error("/api/ws?src=stream", "avc1.640029").await, "mse: the stream has its 1 viewers already");
}

#[tokio::test]
async fn viewers_are_counted_and_notified() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink port=0"));
    let (send, mut notified) = tokio::sync::mpsc::unbounded_channel();
    pipeline.sink().connect_notify(Some("viewers"), move |sink, _| {
        let _ = send.send(sink.property::<u32>("viewers"));
    });
    let mut until = async |count: u32| {
        let wait = async { while notified.recv().await != Some(count) {} };
        tokio::time::timeout(DEADLINE, wait).await.expect("the property notifies");
    };
    pipeline.play();
    let mut first = Viewer::extended(pipeline.port()).await;
    until(1).await;
    let second = Viewer::plain(pipeline.port()).await;
    until(2).await;
    drop(second);
    until(1).await;
    first.record(5).await;
    let stats: gst::Structure = pipeline.sink().property("stats");
    assert_eq!(stats.get("width"), Ok(320u32));
    let viewers: gst::Array = stats.get("viewers").expect("there is one");
    let viewer: gst::Structure = viewers[0].get().expect("a structure");
    assert_eq!(viewer.get("ext"), Ok(true));
    assert!(viewer.get::<u64>("sent-fragments").is_ok_and(|sent| sent >= 4));
    assert_eq!(streams(pipeline.port())["stream"]["viewers"][0]["ext"], true);
}

#[test]
fn the_page_the_player_and_nothing_else_are_served() {
    let pipeline = Pipeline::ready("fakesrc ! fmp4wssink port=0");
    let player = get(pipeline.port(), "/valkka-video.js");
    assert!(player.contains("content-type: text/javascript") && player.contains("customElements.define"));
    assert!(get(pipeline.port(), "/").contains("content-type: text/html"));
    assert!(get(pipeline.port(), "/etc/passwd").starts_with("HTTP/1.1 404"));
    assert!(get(pipeline.port(), "/api/ws").starts_with("HTTP/1.1 4"));
}

#[test]
fn pages_of_other_sites_may_not_connect() {
    let pipeline = Pipeline::ready("fakesrc ! fmp4wssink port=0");
    let port = pipeline.port();
    let status = |origin: &str| upgrade_status(port, "/api/ws", &format!("Origin: {origin}\r\n"));
    assert_eq!(status("http://evil.example"), "403");
    assert_eq!(status(&format!("http://localhost:{port}")), "101");
    let foreign = get_with(port, "/api/streams", "Origin: http://evil.example\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
}

#[tokio::test]
async fn a_unix_socket_serves_instead_of_a_port_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("web");
    // A killed process leaves a socket that nobody listens to.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a new path"));
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink socket-path={}", path.display()));
    pipeline.play();
    let mut viewer = Viewer::connect_unix(&path, "/api/ws?src=stream").await;
    viewer.say(json!({"type": "mse", "value": "avc1.640029"})).await;
    assert_eq!(viewer.record(5).await.decode().frames, 5);
    drop(pipeline);
    viewer.rest().await;
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_socket_path_that_is_in_use_is_an_error_in_words() {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("web");
    let _other = std::os::unix::net::UnixListener::bind(&path).expect("a new path");
    let error = start_error(&format!("fakesrc ! fmp4wssink socket-path={}", path.display()));
    assert!(error.contains("in use by another process"), "{error}");
    assert!(path.exists());

    let file = folder.path().join("file");
    std::fs::write(&file, "precious").expect("there is room");
    let error = start_error(&format!("fakesrc ! fmp4wssink socket-path={}", file.display()));
    assert!(error.contains("is not a socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).expect("it is still there"), "precious");

    let error = start_error(&format!("fakesrc ! fmp4wssink socket-path={}/nowhere/web", folder.path().display()));
    assert!(error.contains("cannot listen on socket-path"), "{error}");
}

#[tokio::test]
async fn a_viewer_that_needs_a_keyframe_makes_the_encoder_give_one() {
    // A keyframe in an hour, and so large that none is kept for late viewers.
    let camera = HEAVY.replace("key-int-max=15", "key-int-max=90000").replace("num-buffers=64", "");
    let pipeline = Pipeline::ready(&format!("{camera} ! {MUX} ! fmp4wssink port=0 max-queue-bytes=150000"));
    pipeline.play();
    Viewer::plain(pipeline.port()).await.record(2).await;
    let recording = Viewer::plain(pipeline.port()).await.record(1).await;
    assert_eq!(recording.decode().frames, 1);
}
