//! Other muxers than mp4mux with H.264, each in its own way of writing fragments; and what must be repaired for browsers.

use crate::frames::PICTURES;
use crate::parsers::{File, Times, ffprobe, media, pts0, qtdemux, stamps};
use crate::pipeline::{MUX, Pipeline};
use crate::viewer::{Received, Viewer, moof};
use gst::prelude::*;
use std::process::{Command, Stdio};
use std::sync::Once;

const SOUND: &str = "audiotestsrc num-buffers=120 samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2";

fn gst_plugins_rs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        crate::pipeline::init();
        gstfmp4::plugin_register_static().expect("the plug-in registers once");
    });
}

/// Everything that a viewer gets of this pipeline, with the muxer `mux` and the sink `sink` in it, and the times of the pictures
/// that went into the muxer.
async fn received_of(description: &str) -> (Vec<Received>, Vec<i64>) {
    let pipeline = Pipeline::ready(description);
    let mux = pipeline.element("mux");
    let stamps = stamps(&mux, mux.sink_pads()[0].name().as_str());
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let mut stamps = stamps.all();
    stamps.sort_unstable();
    (received, stamps)
}

fn mime(received: &[Received]) -> &str {
    let Some(Received::Json(mse)) = received.first() else { panic!("{:?} is no message", received.first()) };
    mse["value"].as_str().expect("a string")
}

/// Every picture was decoded, at its time, within `tolerance_ns`.
#[track_caller]
fn assert_times(name: &str, video: &[i64], pts0: i64, stamps: &[i64], tolerance_ns: u64) {
    assert_eq!(video.len(), stamps.len(), "{name}");
    let differences = video.iter().zip(stamps).map(|(time, stamp)| (time + pts0).abs_diff(*stamp));
    let worst = differences.max().unwrap_or(0);
    assert!(worst <= tolerance_ns, "{name} is wrong by {worst} ns");
}

/// Both other parsers decode every picture, at its time, within `tolerance_ns`.
#[track_caller]
fn assert_decoded(received: &[Received], stamps: &[i64], tolerance_ns: u64) {
    let (file, pts0) = (File::new(received), pts0(received));
    for (name, Times { video, .. }) in [("ffprobe", ffprobe(&file.path)), ("qtdemux", qtdemux(&file.path))] {
        assert_times(name, &video, pts0, stamps, tolerance_ns);
    }
}

#[tokio::test]
async fn isofmp4mux_and_cmafmux_are_understood() {
    gst_plugins_rs();
    let encoder = "x264enc tune=zerolatency key-int-max=20 ! h264parse";
    for mux in [
        "isofmp4mux name=mux fragment-duration=1000000000 chunk-duration=20000000",
        "cmafmux name=mux fragment-duration=800000000 chunk-duration=1",
    ] {
        let (received, stamps) = received_of(&format!("{PICTURES} ! {encoder} ! {mux} ! fmp4wssink port=0")).await;
        assert_eq!((mime(&received), stamps.len()), ("video/mp4; codecs=\"avc1.640014\"", 60), "{mux}");
        assert_decoded(&received, &stamps, 1_000_000);
    }
}

#[tokio::test]
async fn b_frames_of_isofmp4mux_are_understood() {
    gst_plugins_rs();
    let encoder = "x264enc bframes=2 b-adapt=false key-int-max=20 ! h264parse";
    let mux = "isofmp4mux name=mux fragment-duration=500000000";
    let (received, stamps) = received_of(&format!("{PICTURES} ! {encoder} ! {mux} ! fmp4wssink port=0")).await;
    let (file, pts0) = (File::new(&received), pts0(&received));
    // Some composition offsets are below 0: unlike browsers, these two count from the least one, qtdemux fragment by fragment.
    let times = ffprobe(&file.path).video;
    let later = times[0] + pts0 - stamps[0];
    assert!((-1_000_000..=80_000_000).contains(&later), "{later}");
    assert_times("ffprobe", &times, pts0 - later, &stamps, 1_000_000);
    assert_eq!(qtdemux(&file.path).video.len(), stamps.len());
}

#[tokio::test]
async fn several_tracks_in_a_moof_are_understood() {
    gst_plugins_rs();
    let (received, stamps) = received_of(&format!(
        "isofmp4mux name=mux fragment-duration=500000000 ! fmp4wssink port=0 \
         {PICTURES} ! x264enc tune=zerolatency key-int-max=12 ! h264parse ! mux.sink_0 \
         {SOUND} ! avenc_aac ! aacparse ! mux.sink_1"
    ))
    .await;
    assert_eq!(mime(&received), "video/mp4; codecs=\"avc1.640014,mp4a.40.2\"");
    assert!(media(&received)[1..].iter().any(|fragment| moof(fragment).traf.len() == 2));
    assert_decoded(&received, &stamps, 1_000_000);
    let sounds = ffprobe(&File::new(&received).path).audio.len();
    assert!(sounds >= 110, "{sounds} frames of sound");
}

#[tokio::test]
async fn av1_of_mp4mux_is_repaired() {
    let encoder = "av1enc cpu-used=8 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=20 ! av1parse";
    let mux = MUX.replace("mp4mux", "mp4mux name=mux");
    let (received, stamps) = received_of(&format!("{PICTURES} ! {encoder} ! {mux} ! fmp4wssink port=0")).await;
    assert_eq!(mime(&received), "video/mp4; codecs=\"av01.0.00M.08\"");
    let init = media(&received)[0];
    let configuration = init.windows(8).position(|bytes| bytes == b"av1C\x81\x00\x0c\x00");
    // And the sequence header behind it.
    assert!(configuration.is_some_and(|at| init[at + 8] == 0x0a), "{init:?}");
    // mp4mux leaves temporal delimiters in the samples, behind which GStreamer's av1parse loses frames: ffmpeg alone.
    let times = ffprobe(&File::new(&received).path).video;
    assert_times("ffprobe", &times, pts0(&received), &stamps, 1_500_000);
}

#[tokio::test]
async fn opus_of_mp4mux_is_repaired() {
    let (received, stamps) = received_of(&format!(
        "{} ! fmp4wssink port=0 {PICTURES} ! x264enc tune=zerolatency key-int-max=25 ! h264parse ! mux.video_0 \
         {SOUND} ! opusenc ! mux.audio_0",
        MUX.replace("mp4mux", "mp4mux name=mux")
    ))
    .await;
    assert!(mime(&received).contains("opus"), "{}", mime(&received));
    let init = media(&received)[0];
    let at = init.windows(4).position(|bytes| bytes == b"dOps").expect("there is one");
    // Version 0, two channels, a pre-skip of 312, 48 kHz: in network order.
    assert_eq!(init[at + 4..at + 12], [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80]);
    assert_decoded(&received, &stamps, 1_500_000);
}

#[tokio::test]
async fn a_pipe_from_ffmpeg_is_played() {
    let pictures = "testsrc=size=320x240:rate=25:duration=2";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", "sine=duration=2"]);
    ffmpeg.args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2", "-g", "20", "-c:a", "aac"]);
    ffmpeg.args(["-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", "-"]);
    let mut ffmpeg = ffmpeg.stdout(Stdio::piped()).spawn().expect("ffmpeg is installed");
    let pipe = ffmpeg.stdout.take().expect("it was asked for");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&pipe);
    let pipeline = Pipeline::ready(&format!("fdsrc fd={fd} ! fmp4wssink port=0"));
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    assert!(ffmpeg.wait().expect("it was started").success());
    assert!(mime(&received).starts_with("video/mp4; codecs=\"avc1.64"), "{}", mime(&received));
    assert!(mime(&received).contains("mp4a.40.2"), "{}", mime(&received));
    let file = File::new(&received);
    for Times { video, audio } in [ffprobe(&file.path), qtdemux(&file.path)] {
        assert_eq!(video.len(), 50);
        assert!(audio.len() > 80, "{} frames of sound", audio.len());
        assert!(video.windows(2).all(|pair| (pair[1] - pair[0]).abs_diff(40_000_000) < 1_000_000), "{video:?}");
    }
}
