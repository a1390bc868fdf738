//! Encoded frames, without a muxer: each is a fragment at once, and other people's parsers decode every one of them at its
//! right time.

use crate::parsers::{File, Times, ffprobe, qtdemux};
use crate::pipeline::{CAMERA, Pipeline};
use crate::viewer::{Received, Viewer, frames, keyframe};
use gst::prelude::*;
use serde_json::Value;
use std::sync::mpsc::{Receiver, channel};

/// 90 kHz, once rounded when it is written and once when it is read; ffprobe prints microseconds.
const ROUNDING_NS: u64 = 25_000;

const PICTURES: &str =
    "videotestsrc pattern=ball num-buffers=60 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1";

/// Channel times of the buffers that go into a pad of the sink.
fn stamps(pipeline: &Pipeline, pad: &str) -> Receiver<i64> {
    let (send, stamps) = channel();
    let sink = pipeline.sink();
    let weak = sink.downgrade();
    let pad = sink.static_pad(pad).expect("the sink has this pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0).expect("a segment comes before buffers");
        let segment = segment.segment().downcast_ref::<gst::ClockTime>().expect("in time").clone();
        let pts = info.buffer().expect("a buffer probe").pts().expect("frames have times");
        let running_time = segment.to_running_time(pts).expect("frames are in the segment");
        let base = weak.upgrade().and_then(|sink| sink.base_time()).expect("it plays");
        let _ = send.send((base + running_time).nseconds().cast_signed());
        gst::PadProbeReturn::Ok
    });
    stamps
}

/// What the sink says about media times.
fn pts0(received: &[Received]) -> i64 {
    let told = received.iter().rev().find_map(|received| match received {
        Received::Json(value) if value["pts0"].is_i64() => Some(value),
        _ => None,
    });
    let told = told.expect("a clock was told");
    assert_eq!(told["exact"], Value::Bool(true));
    told["pts0"].as_i64().expect("a number")
}

fn media(received: &[Received]) -> Vec<&[u8]> {
    let media = received.iter().filter_map(|received| match received {
        Received::Media(data) => Some(&data[..]),
        _ => None,
    });
    media.collect()
}

#[track_caller]
fn assert_same(name: &str, decoded: &[i64], pts0: i64, stamps: &[i64]) {
    assert_eq!(decoded.len(), stamps.len(), "{name} decodes a wrong number of frames");
    for (media_time, stamp) in decoded.iter().zip(stamps) {
        let difference = (media_time + pts0).abs_diff(*stamp);
        assert!(difference <= ROUNDING_NS, "{name}: {media_time} is wrong by {difference} ns");
    }
}

/// Plays that source until it ends; everything is decoded by the others, at the times of the frames that went in.
async fn every_frame_in_time(source: &str, codec: &str) -> Vec<Received> {
    let pipeline = Pipeline::ready(&format!("{source} ! fmp4wssink port=0"));
    let stamps = stamps(&pipeline, "sink");
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let mut stamps: Vec<i64> = stamps.try_iter().collect();
    assert_eq!(stamps.len(), 60);
    stamps.sort_unstable();

    let Some(Received::Json(mse)) = received.first() else { panic!("{:?} is no message", received.first()) };
    let mime = mse["value"].as_str().expect("a string");
    assert!(mime.starts_with(&format!("video/mp4; codecs=\"{codec}")), "{mime}");
    let media = media(&received);
    assert_eq!(media.len(), 1 + stamps.len());
    assert!(keyframe(media[1]));
    assert!(media[1..].iter().all(|fragment| frames(fragment) == 1));

    let (file, pts0) = (File::new(&received), pts0(&received));
    for (name, Times { video, audio }) in [("ffprobe", ffprobe(&file.path)), ("qtdemux", qtdemux(&file.path))] {
        assert_same(name, &video, pts0, &stamps);
        assert!(audio.is_empty());
    }
    received
}

#[tokio::test]
async fn h264_without_b_frames() {
    every_frame_in_time(&format!("{PICTURES} ! x264enc tune=zerolatency ! h264parse"), "avc1.640014").await;
}

#[tokio::test]
async fn h264_with_b_frames() {
    let encoder = "x264enc bframes=2 b-adapt=false key-int-max=20";
    every_frame_in_time(&format!("{PICTURES} ! {encoder} ! h264parse"), "avc1.640014").await;
}

#[tokio::test]
async fn h264_with_start_codes_straight_from_the_encoder() {
    let stream = "video/x-h264,stream-format=byte-stream";
    every_frame_in_time(&format!("{PICTURES} ! x264enc tune=zerolatency ! {stream}"), "avc1.640014").await;
}

#[tokio::test]
async fn b_frames_without_decode_times_find_their_place() {
    // As they come from a camera: the depayloader knows when a picture is shown, and nothing else.
    let source =
        format!("{PICTURES} ! x264enc bframes=2 b-adapt=false key-int-max=20 ! h264parse ! identity name=strip");
    let pipeline = Pipeline::ready(&format!("{source} ! fmp4wssink port=0"));
    let pad = pipeline.element("strip").static_pad("src").expect("an identity has this pad");
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        info.buffer_mut().expect("a buffer probe").make_mut().set_dts(None);
        gst::PadProbeReturn::Ok
    });
    let stamps = stamps(&pipeline, "sink");
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let mut stamps: Vec<i64> = stamps.try_iter().collect();
    stamps.sort_unstable();
    let (file, pts0) = (File::new(&received), pts0(&received));
    assert_same("ffprobe", &ffprobe(&file.path).video, pts0, &stamps);
    assert_same("qtdemux", &qtdemux(&file.path).video, pts0, &stamps);
}

#[tokio::test]
async fn a_frame_leaves_before_the_next_one_comes() {
    let pipeline = Pipeline::ready("appsrc name=src format=time is-live=true ! h264parse ! fmp4wssink port=0");
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let source = pipeline.element("src");
    let encoder = Pipeline::null(&format!(
        "{} ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false",
        CAMERA.replace("is-live=true", "num-buffers=5")
    ));
    encoder.play();
    let out = encoder.element("out");
    let mut received = 0;
    while let Some(sample) = out.emit_by_name::<Option<gst::Sample>>("pull-sample", &[]) {
        let caps = sample.caps_owned().expect("encoded frames have caps");
        let mut caps = caps;
        caps.make_mut().set("alignment", "au");
        source.set_property("caps", &caps);
        let buffer = sample.buffer_owned().expect("a sample has a buffer");
        let flow: gst::FlowReturn = source.emit_by_name("push-buffer", &[&buffer]);
        assert_eq!(flow, gst::FlowReturn::Ok);
        // Nothing else is pushed before it is here.
        let fragment = if received == 0 { viewer.record(1).await.fragments.remove(0) } else { viewer.media().await };
        assert_eq!(frames(&fragment), 1);
        received += 1;
    }
    assert_eq!(received, 5);
}
