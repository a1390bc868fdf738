//! Encoded frames, without a muxer: each is a fragment at once, and other people's parsers decode every one of them at its
//! right time.

use crate::parsers::{File, ROUNDING_NS, Times, assert_same, ffprobe, media, pts0, qtdemux, stamps};
use crate::pipeline::{CAMERA, DEADLINE, Pipeline};
use crate::viewer::{Received, Viewer, frames, keyframe};
use gst::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;

pub const PICTURES: &str =
    "videotestsrc pattern=ball num-buffers=60 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1";

/// Plays that source until it ends; everything is decoded by the others, at the times of the frames that went in.
async fn every_frame_in_time(source: &str, codec: &str) -> Vec<Received> {
    let pipeline = Pipeline::ready(&format!("{source} ! fmp4wssink port=0"));
    let stamps = stamps(&pipeline.sink(), "sink");
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let mut stamps = stamps.all();
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
async fn h265() {
    let encoder = "x265enc speed-preset=ultrafast key-int-max=20 option-string=bframes=2:b-adapt=0";
    for stream in ["hvc1", "byte-stream"] {
        let source = format!("{PICTURES} ! {encoder} ! h265parse ! video/x-h265,stream-format={stream}");
        every_frame_in_time(&source, "hvc1.1.6.L63.90").await;
    }
}

#[tokio::test]
async fn av1() {
    let encoder = "av1enc cpu-used=8 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=20";
    every_frame_in_time(&format!("{PICTURES} ! {encoder} ! av1parse"), "av01.0.00M.08").await;
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
    let stamps = stamps(&pipeline.sink(), "sink");
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let mut stamps = stamps.all();
    stamps.sort_unstable();
    let (file, pts0) = (File::new(&received), pts0(&received));
    assert_same("ffprobe", &ffprobe(&file.path).video, pts0, &stamps);
    assert_same("qtdemux", &qtdemux(&file.path).video, pts0, &stamps);
}

/// Pictures and sound, both until they end; both decoded by the others, in the one timeline of what went in.
async fn picture_and_sound_in_time(encoder: &str, codec: &str, lossy: bool) {
    let sound = "audiotestsrc num-buffers=120 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2";
    let pipeline = Pipeline::ready(&format!(
        "{PICTURES} ! x264enc tune=zerolatency key-int-max=25 ! h264parse ! fmp4wssink name=sink port=0 \
         {sound} ! {encoder} ! sink.audio"
    ));
    let (pictures, sounds) = (stamps(&pipeline.sink(), "sink"), stamps(&pipeline.sink(), "audio"));
    let pad = |name| pipeline.sink().static_pad(name).expect("the sink has this pad");
    // Pictures wait for the first sound for a second and no longer, and on a busy machine that is not enough: there they come
    // when the sink has it.
    let (heard, sound) = channel();
    pad("audio").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let _ = heard.send(());
        gst::PadProbeReturn::Ok
    });
    let sound = Mutex::new(sound);
    pad("sink").add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let sound = sound.lock().expect("nobody panics here");
        // When the second comes, the sink has taken the first.
        (0..2).for_each(|_| sound.recv_timeout(DEADLINE).expect("there is sound"));
        gst::PadProbeReturn::Remove
    });
    if lossy {
        let audio = pad("audio");
        let count = AtomicUsize::new(0);
        audio.add_probe(gst::PadProbeType::BUFFER, move |_, info| match count.fetch_add(1, Relaxed) {
            20..30 | 60 | 70..73 => {
                info.data = None;
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        });
    }
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let Some(Received::Json(mse)) = received.first() else { panic!("{:?} is no message", received.first()) };
    assert_eq!(mse["value"], format!("video/mp4; codecs=\"avc1.640014,{codec}\""));
    let (pictures, sounds) = (pictures.all(), sounds.all());
    let (file, pts0) = (File::new(&received), pts0(&received));
    for (name, Times { video, audio }) in [("ffprobe", ffprobe(&file.path)), ("qtdemux", qtdemux(&file.path))] {
        assert_same(name, &video, pts0, &pictures);
        // Decoders begin a little later, and take the frames apart; what they give has its frame's time.
        assert!(audio.len() + 3 >= sounds.len(), "{name}: {} of {} frames of sound", audio.len(), sounds.len());
        for time in &audio {
            let nearest = sounds.iter().map(|stamp| (time + pts0).abs_diff(*stamp)).min();
            assert!(nearest.is_some_and(|nearest| nearest <= 10_000_000), "{name}: {time} is wrong by {nearest:?} ns");
        }
    }
}

#[tokio::test]
async fn aac_beside_the_picture() {
    picture_and_sound_in_time("avenc_aac ! aacparse", "mp4a.40.2", false).await;
}

#[tokio::test]
async fn opus_beside_the_picture() {
    picture_and_sound_in_time("opusenc", "opus", false).await;
}

#[tokio::test]
async fn sound_that_is_lost_on_its_way_leaves_no_hole() {
    picture_and_sound_in_time("avenc_aac ! aacparse", "mp4a.40.2", true).await;
    picture_and_sound_in_time("opusenc", "opus", true).await;
}

#[tokio::test]
async fn sound_that_never_comes_holds_nothing_up() {
    let pipeline = Pipeline::ready(&format!(
        "{CAMERA} ! fmp4wssink name=sink port=0 appsrc is-live=true format=time ! audio/x-opus,channel-mapping-family=0 ! sink.audio"
    ));
    pipeline.play();
    let mut viewer = Viewer::plain(pipeline.port()).await;
    assert_eq!(viewer.json().await["value"], "video/mp4; codecs=\"avc1.640014\"");
    assert!(keyframe(&viewer.record(10).await.fragments[0]));
}

#[tokio::test]
async fn another_size_gives_another_init_segment_on_the_same_connection() {
    let pipeline = Pipeline::ready(
        "videotestsrc num-buffers=60 ! capsfilter name=size caps=video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc tune=zerolatency ! h264parse ! fmp4wssink port=0",
    );
    let (size, frame) = (pipeline.element("size"), AtomicUsize::new(0));
    let pad = size.static_pad("src").expect("a filter has this pad");
    let (go, begun) = channel();
    let begun = Mutex::new(begun);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        if frame.fetch_add(1, Relaxed) == 30 {
            // Of two init segments that wait, only the newer one is sent.
            let begun = begun.lock().expect("nobody panics here");
            begun.recv_timeout(DEADLINE).expect("the viewer has the first size");
            let caps =
                gst::Caps::builder("video/x-raw").field("format", "I420").field("width", 640).field("height", 480);
            size.set_property("caps", caps.field("framerate", gst::Fraction::new(25, 1)).build());
        }
        gst::PadProbeReturn::Ok
    });
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let mut received = vec![viewer.next().await];
    go.send(()).expect("the source waits for that");
    received.extend(viewer.rest().await);
    let reinit =
        received.iter().position(|received| matches!(received, Received::Json(value) if value["type"] == "reinit"));
    let (before, after) = received.split_at(reinit.expect("the change is told"));
    let [first, second] = [before, after].map(|received| (qtdemux(&File::new(received).path).video, pts0(received)));
    assert!(!first.0.is_empty() && first.0.len() + second.0.len() == 60, "{first:?} {second:?}");
    assert_eq!(second.1, first.1, "media time goes on");
    let all: Vec<i64> = first.0.iter().chain(&second.0).copied().collect();
    assert!(all.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(40_000_000) < ROUNDING_NS), "{all:?}");
    let widths = received.iter().filter_map(|received| match received {
        Received::Json(value) if value["type"] == "init" => value["width"].as_u64(),
        _ => None,
    });
    assert_eq!(widths.collect::<Vec<_>>(), [320, 640]);
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
