//! What the sink tells of its streams and viewers, and what viewers with extensions ask of it.

use crate::http::{body, get, streams};
use crate::pipeline::{CAMERA, DEADLINE, Pipeline};
use crate::viewer::{Received, Viewer, keyframe, tfdt};
use gst::prelude::*;
use serde_json::{Value, json};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Messages until one of this type, which is returned.
async fn until(viewer: &mut Viewer, kind: &str) -> Value {
    loop {
        match viewer.next().await {
            Received::Json(value) if value["type"] == kind => return value,
            Received::Closed => panic!("the connection was closed"),
            _ => {}
        }
    }
}

/// The answer to a report. On a busy machine one that comes by itself, without an echo, may be before it.
async fn answer(viewer: &mut Viewer) -> Value {
    loop {
        let stats = until(viewer, "stats").await;
        if !stats["echo"].is_null() {
            return stats;
        }
    }
}

fn signals(pipeline: &Pipeline) -> Receiver<(&'static str, gst::Structure)> {
    let (send, received) = channel();
    for name in ["viewer-added", "viewer-removed"] {
        let send = send.clone();
        pipeline.sink().connect(name, false, move |arguments| {
            let _ = send.send((name, arguments[1].get().expect("a structure")));
            None
        });
    }
    received
}

#[tokio::test]
async fn viewers_are_signalled_in_the_order_of_events() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! fmp4wssink port=0"));
    let signals = signals(&pipeline);
    pipeline.play();
    let next = || signals.recv_timeout(DEADLINE).expect("a signal");
    let mut first = Viewer::extended(pipeline.port()).await;
    let (name, viewer) = next();
    assert_eq!((name, viewer.get::<bool>("ext")), ("viewer-added", Ok(true)));
    let mut ids = vec![viewer.get::<u64>("id").expect("a number")];
    assert!(viewer.get::<String>("peer").is_ok_and(|peer| peer.starts_with("127.0.0.1:")));
    first.record(3).await;
    for _ in 0..4 {
        drop(Viewer::plain(pipeline.port()).await);
        let (added, removed) = (next(), next());
        let id = added.1.get::<u64>("id").expect("a number");
        assert_eq!(added.0, "viewer-added");
        assert_eq!((removed.0, removed.1.get::<u64>("id")), ("viewer-removed", Ok(id)));
        assert!(ids.iter().all(|&before| before < id), "{id} after {ids:?}");
        ids.push(id);
    }
    drop(first);
    let (name, viewer) = next();
    assert_eq!((name, viewer.get::<u64>("id")), ("viewer-removed", Ok(ids[0])));
    assert!(viewer.get::<u64>("sent-fragments").is_ok_and(|sent| sent >= 3));
}

#[tokio::test]
async fn the_same_figures_stand_in_json_metrics_and_stats() {
    let camera = CAMERA.replace("is-live=true", "is-live=true num-buffers=100");
    let pipeline =
        Pipeline::ready(&format!("{camera} ! fmp4wssink port=0 stream-name=\"my \\\"door\\\"\" max-viewers=1"));
    let port = pipeline.port();
    let mut viewer = Viewer::connect(port, "/api/ws").await;
    viewer.say(json!({"type": "mse", "value": "", "ext": 1})).await;
    pipeline.play_for(1);
    viewer.say(json!({"type": "report", "latency": 0.25, "buffered": 0.08, "dropped": 3, "time": 7.5})).await;
    let mut refused = Viewer::connect(port, "/api/ws").await;
    refused.say(json!({"type": "mse", "value": ""})).await;
    assert_eq!(refused.json().await["type"], "error");
    // While frames come, as they may do in bursts only: a stream that stands still slows down to 0.
    let mut fastest: f64 = 0.0;
    loop {
        match viewer.next().await {
            Received::Json(value) if value["type"] == "eos" => break,
            Received::Closed => panic!("the connection was closed"),
            Received::Media(_) if fastest <= 1.0 => {
                fastest = streams(port)["my \"door\""]["frames_per_second"].as_f64().expect("a number");
            }
            _ => {}
        }
    }
    assert!(fastest > 1.0, "{fastest} frames in a second");

    let stream = streams(port)["my \"door\""].clone();
    assert_eq!(
        (&stream["codecs"], &stream["width"], &stream["frames"]),
        (&json!("avc1.640014"), &json!(320), &json!(100))
    );
    assert_eq!((&stream["totals"]["joined"], &stream["totals"]["refused"]), (&json!(1), &json!(1)));
    let seen = &stream["viewers"][0];
    assert_eq!(
        (&seen["kind"], &seen["sent_fragments"], &seen["dropped_frames"]),
        (&json!("mse"), &json!(100), &json!(0))
    );
    assert_eq!(seen["reported"]["latency"], 0.25);
    assert_eq!((&seen["reported"]["buffered"], &seen["reported"]["dropped"]), (&json!(0.08), &json!(3)));

    let stats: gst::Structure = pipeline.sink().property("stats");
    assert_eq!(stats.get::<u64>("frames"), Ok(100));
    assert_eq!((stats.get::<u64>("joined"), stats.get::<u64>("sent-fragments")), (Ok(1), Ok(100)));
    let viewers: gst::Array = stats.get("viewers").expect("an array");
    let structure: gst::Structure = viewers[0].get().expect("a structure");
    assert_eq!(structure.get::<f64>("reported-latency"), Ok(0.25));
    assert_eq!(structure.get::<u64>("sent-bytes").ok(), seen["sent_bytes"].as_u64());

    let answer = get(port, "/metrics");
    assert!(answer.contains("content-type: application/openmetrics-text"), "{answer}");
    let metrics = body(&answer);
    for line in [
        r#"fmp4wssink_frames_total{stream="my \"door\""} 100"#,
        r#"fmp4wssink_viewers{stream="my \"door\""} 1.0"#,
        r#"fmp4wssink_viewers_refused_total{stream="my \"door\""} 1"#,
        r#"fmp4wssink_sent_fragments_total{stream="my \"door\""} 100"#,
        r#"fmp4wssink_reported_latency_seconds{stream="my \"door\""} 0.25"#,
        r#"fmp4wssink_send_delay_seconds_count{stream="my \"door\""} 100"#,
        r#"fmp4wssink_send_delay_seconds_bucket{le="+Inf",stream="my \"door\""} 100"#,
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn a_report_is_answered_with_how_the_viewer_fares() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! fmp4wssink port=0"));
    pipeline.play();
    let mut viewer = Viewer::extended(pipeline.port()).await;
    viewer.record(2).await;
    viewer.say(json!({"type": "report", "time": 1234.5})).await;
    let stats = answer(&mut viewer).await;
    assert_eq!((&stats["echo"], &stats["viewers"], &stats["dropped_frames"]), (&json!(1234.5), &json!(1), &json!(0)));
    let utc = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!(stats["utc"].as_f64().is_some_and(|told| (told - utc).abs() < 30.0), "{stats}");
    // And by itself after a while, without an echo.
    let stats = until(&mut viewer, "stats").await;
    assert!(stats["echo"].is_null() && stats["frames_per_second"].as_f64().is_some_and(|rate| rate > 1.0), "{stats}");
}

#[tokio::test]
async fn a_paused_viewer_gets_nothing_and_continues_at_a_keyframe() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! fmp4wssink port=0"));
    pipeline.play();
    let mut viewer = Viewer::extended(pipeline.port()).await;
    viewer.record(2).await;
    viewer.say(json!({"type": "pause"})).await;
    viewer.say(json!({"type": "report", "time": 1})).await;
    // What comes before the answer was on its way; after it nothing does.
    answer(&mut viewer).await;
    let seen = streams(pipeline.port())["stream"].clone();
    assert_eq!(seen["viewers"][0]["paused"], true);
    let frames = |value: &Value| value["frames"].as_u64().expect("a number");
    while frames(&streams(pipeline.port())["stream"]) < frames(&seen) + 30 {
        tokio::task::yield_now().await;
    }
    viewer.say(json!({"type": "report", "time": 2})).await;
    let mut between = Vec::new();
    loop {
        match viewer.next().await {
            Received::Json(value) if value["type"] == "stats" && value["echo"] == 2.0 => break,
            Received::Json(_) => {}
            other => between.push(other),
        }
    }
    assert_eq!(between, []);
    viewer.say(json!({"type": "resume"})).await;
    let recording = [viewer.media().await, viewer.media().await];
    assert!(keyframe(&recording[0]) && tfdt(&recording[1]) > tfdt(&recording[0]));
    // It wanted that: nothing was lost.
    assert_eq!(streams(pipeline.port())["stream"]["viewers"][0]["dropped_frames"], 0);
}

#[tokio::test]
async fn a_viewer_may_ask_for_a_keyframe_and_many_that_ask_share_one() {
    let camera = CAMERA.replace("key-int-max=25", "key-int-max=90000");
    let pipeline = Pipeline::ready(&format!("{camera} ! fmp4wssink port=0"));
    pipeline.play();
    let mut plain = Viewer::plain(pipeline.port()).await;
    // Only who asked for extensions has a say.
    plain.say(json!({"type": "idr"})).await;
    let recording = plain.record(40).await;
    assert_eq!(recording.fragments.iter().filter(|fragment| keyframe(fragment)).count(), 1);
    let mut viewers = [Viewer::extended(pipeline.port()).await, Viewer::extended(pipeline.port()).await];
    for viewer in &mut viewers {
        viewer.record(1).await;
    }
    let asked = Instant::now();
    for viewer in &mut viewers {
        for _ in 0..10 {
            viewer.say(json!({"type": "idr"})).await;
        }
    }
    while !keyframe(&plain.media().await) {}
    let requests = streams(pipeline.port())["stream"]["totals"]["keyframe_requests"].as_u64().expect("a number");
    // One, and another every two seconds that a busy machine takes for all this.
    assert!((1..=1 + asked.elapsed().as_secs() / 2).contains(&requests), "{requests} in {:?}", asked.elapsed());
}
