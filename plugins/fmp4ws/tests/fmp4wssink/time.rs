//! Media times can be related to the frames that went into the muxer.

use crate::pipeline::{CAMERA, MUX, Pipeline, fragments_of};
use crate::viewer::{Received, Viewer, tfdt, timescale};
use gst::prelude::*;
use serde_json::Value;
use std::sync::mpsc::{Receiver, channel};

/// Channel times of the frames that go into the muxer.
fn stamps(pipeline: &Pipeline) -> Receiver<i64> {
    let (send, stamps) = channel();
    let pipeline = pipeline.0.downgrade();
    let mux = pipeline.upgrade().and_then(|pipeline| pipeline.by_name("mux")).expect("there is a muxer");
    let pad = mux.sink_pads().remove(0);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0).expect("a segment comes before buffers");
        let segment = segment.segment().downcast_ref::<gst::ClockTime>().expect("in time").clone();
        let running_time = info.buffer().and_then(|buffer| segment.to_running_time(buffer.pts()));
        if let (Some(time), Some(pipeline)) = (running_time, pipeline.upgrade()) {
            let base = pipeline.base_time().expect("it plays");
            let _ = send.send((base + time).nseconds().cast_signed());
        }
        gst::PadProbeReturn::Ok
    });
    stamps
}

/// Latest clock that was told, applied to each fragment that came after: channel times.
fn told(received: &[Received]) -> Vec<i64> {
    let (mut clock, mut scale, mut times) = (Value::Null, 0, Vec::new());
    for received in received {
        match received {
            Received::Json(value) if value["type"] == "init" || value["type"] == "clock" => clock = value.clone(),
            Received::Json(_) => {}
            Received::Media(data) if scale == 0 => scale = timescale(data),
            Received::Media(data) => {
                assert_eq!(clock["exact"], true, "{clock}");
                let pts0 = clock["pts0"].as_i64().expect("a number");
                let time = i128::from(tfdt(data)) * 1_000_000_000 / i128::from(scale);
                times.push(pts0 + i64::try_from(time).expect("a time"));
            }
            Received::Closed => {}
        }
    }
    times
}

async fn compare(source: &str) {
    let pipeline =
        Pipeline::ready(&format!("{source} ! {} ! fmp4wssink port=0", MUX.replace("mp4mux", "mp4mux name=mux")));
    let stamps = stamps(&pipeline);
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let (told, stamps) = (told(&received), stamps.try_iter().collect::<Vec<_>>());
    assert_eq!(told.len(), fragments_of(stamps.len()));
    let worst = told.iter().zip(&stamps).map(|(told, stamp)| told.abs_diff(*stamp)).max();
    // A clock is told anew when it is wrong by more than 1 ms; the rest is rounding.
    assert!(worst.is_some_and(|worst| worst <= 1_500_000), "wrong by {worst:?} ns");

    let init = received.iter().rev().find_map(|received| match received {
        Received::Json(value) if value["epoch"].is_number() => Some(value),
        _ => None,
    });
    let init = init.expect("a clock was told");
    let utc = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let monotonic = gst::SystemClock::obtain().time().nseconds() as f64 / 1e9;
    let offset = init["epoch"].as_f64().expect("a number") - init["pts0"].as_f64().expect("a number") / 1e9;
    assert!((offset - (utc - monotonic)).abs() < 0.1, "UTC is off by {} s", offset - (utc - monotonic));
}

#[tokio::test]
async fn every_fragment_tells_the_channel_time_of_its_frame() {
    compare(&CAMERA.replace("is-live=true", "is-live=true num-buffers=60")).await;
}

#[tokio::test]
async fn frames_that_come_irregularly_keep_their_times() {
    // Every third frame is missing, and the muxer makes up for it with longer durations.
    let source = CAMERA.replace("is-live=true", "is-live=true num-buffers=60");
    let source = source.replace("! x264enc", "! identity drop-probability=0.3 ! x264enc");
    compare(&source).await;
}
