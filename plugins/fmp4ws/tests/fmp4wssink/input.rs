//! What comes in may be anything.

use crate::pipeline::{CAMERA, MUX, Pipeline, fragments_of};
use crate::viewer::{Received, Viewer, keyframe};
use gst::prelude::*;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Writes a file with this pipeline, to be read by the one under test.
fn file(folder: &TempDir, name: &str, source: &str, mux: &str) -> PathBuf {
    let path = folder.path().join(name);
    let pipeline = Pipeline::null(&format!("{source} ! {mux} ! filesink location={}", path.display()));
    pipeline.play();
    pipeline.wait_eos();
    path
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for files")
}

fn error_of(path: &Path) -> String {
    let pipeline = Pipeline::null(&format!("filesrc location={} ! fmp4wssink port=0", path.display()));
    // The error may come before the state change is over.
    let _ = pipeline.0.set_state(gst::State::Playing);
    pipeline.wait_error()
}

#[test]
fn garbage_is_an_error_in_words() {
    let folder = folder();
    let path = folder.path().join("garbage");
    for garbage in [vec![0; 5000], b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n".repeat(99), vec![0xff; 5000]] {
        std::fs::write(&path, &garbage).expect("there is room");
        assert!(error_of(&path).contains("box"), "{}", error_of(&path));
    }
}

#[test]
fn a_progressive_file_is_refused_with_what_to_change() {
    let folder = folder();
    let source = CAMERA.replace("is-live=true", "num-buffers=30");
    for mux in ["mp4mux", "mp4mux faststart=true"] {
        let error = error_of(&file(&folder, "progressive.mp4", &source, mux));
        assert!(error.contains("fragment-duration"), "{error}");
    }
}

#[tokio::test]
async fn a_fragmented_file_without_time_stamps_is_played() {
    let folder = folder();
    let path = file(&folder, "fragmented.mp4", &CAMERA.replace("is-live=true", "num-buffers=30"), MUX);
    let pipeline = Pipeline::ready(&format!("filesrc blocksize=777 location={} ! fmp4wssink port=0", path.display()));
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    let received = viewer.rest().await;
    let clock = received.iter().find_map(|received| match received {
        // With `init`, or in a message of its own when that came too early.
        Received::Json(value) if value["epoch"].is_number() => Some(value["exact"].clone()),
        _ => None,
    });
    assert_eq!(clock, Some(false.into()));
    assert_eq!(received.iter().filter(|received| matches!(received, Received::Media(_))).count(), 1 + fragments_of(30));
}

/// Pushes these files one after the other, as one stream. What viewers get of the second one.
async fn play_both(files: [PathBuf; 2]) -> (Vec<Received>, Vec<Received>) {
    let pipeline = Pipeline::ready("appsrc name=src ! fmp4wssink port=0");
    let mut extended = Viewer::extended(pipeline.port()).await;
    let mut plain = Viewer::plain(pipeline.port()).await;
    pipeline.play_for(2);
    let source = pipeline.element("src");
    let push = |file: &Path| {
        let bytes = std::fs::read(file).expect("it was just written");
        let flow: gst::FlowReturn = source.emit_by_name("push-buffer", &[&gst::Buffer::from_slice(bytes)]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    };
    push(&files[0]);
    // Both have it before it changes: of two init segments that wait, only the newer one is sent.
    for viewer in [&mut extended, &mut plain] {
        viewer.record(fragments_of(10)).await;
    }
    push(&files[1]);
    let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
    pipeline.wait_eos();
    let extended = extended.rest().await;
    drop(pipeline);
    (extended, plain.rest().await)
}

fn camera(size: &str, encoder: &str) -> String {
    CAMERA.replace("is-live=true", "num-buffers=10").replace("width=320,height=240", size).replace("x264enc", encoder)
}

fn told(received: &[Received], kind: &str) -> Vec<serde_json::Value> {
    let told = received.iter().filter_map(|received| match received {
        Received::Json(value) if value["type"] == kind => Some(value.clone()),
        _ => None,
    });
    told.collect()
}

#[tokio::test]
async fn a_new_size_gives_a_new_init_segment_on_the_same_connection() {
    let folder = folder();
    let small = file(&folder, "small.mp4", &camera("width=320,height=240", "x264enc"), MUX);
    // Nearly the same size: the codec string, which names the level, stays.
    let other = file(&folder, "other.mp4", &camera("width=304,height=240", "x264enc"), MUX);
    let (extended, plain) = play_both([small, other]).await;
    assert_eq!(told(&extended, "reinit").len(), 1);
    let widths: Vec<_> = told(&extended, "init").iter().map(|init| init["width"].clone()).collect();
    assert_eq!(widths, [304]);
    for received in [&extended, &plain] {
        let media = received.iter().filter(|received| matches!(received, Received::Media(_)));
        assert_eq!(media.count(), 1 + fragments_of(10));
    }
    assert!(told(&plain, "reinit").is_empty() && told(&plain, "error").is_empty());
}

#[tokio::test]
async fn another_codec_string_makes_a_plain_viewer_connect_again() {
    let folder = folder();
    let high = file(&folder, "high.mp4", &camera("width=320,height=240", "x264enc"), MUX);
    let baseline =
        camera("width=320,height=240", "x264enc").replace("! h264parse", "! video/x-h264,profile=baseline ! h264parse");
    let baseline = file(&folder, "baseline.mp4", &baseline, MUX);
    let (extended, plain) = play_both([high, baseline]).await;
    let mime = told(&extended, "reinit")[0]["value"].as_str().expect("a string").to_owned();
    assert!(mime.starts_with("video/mp4; codecs=\"avc1.42C0"), "{mime}");
    assert_eq!(told(&plain, "error").len(), 1);
    assert!(!plain.iter().any(|received| matches!(received, Received::Media(_))));
}

#[test]
fn a_flush_starts_anew() {
    let folder = folder();
    let path = file(&folder, "fragmented.mp4", &CAMERA.replace("is-live=true", "num-buffers=10"), MUX);
    let bytes = std::fs::read(path).expect("it was just written");
    let pipeline = Pipeline::null("appsrc name=src ! fmp4wssink port=0");
    pipeline.play();
    let source = pipeline.element("src");
    let push = |bytes: Vec<u8>| {
        let flow: gst::FlowReturn = source.emit_by_name("push-buffer", &[&gst::Buffer::from_slice(bytes)]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    };
    push(bytes[..bytes.len() / 2].to_vec());
    assert!(source.send_event(gst::event::FlushStart::new()));
    assert!(source.send_event(gst::event::FlushStop::new(true)));
    push(bytes);
    let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
    pipeline.wait_eos();
}

#[tokio::test]
async fn a_muxer_that_is_flushed_goes_on_for_its_viewers() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! identity name=frames ! {MUX} ! fmp4wssink port=0"));
    let mut viewer = Viewer::extended(pipeline.port()).await;
    pipeline.play_for(1);
    viewer.record(5).await;
    let frames = pipeline.element("frames").static_pad("sink").expect("an identity has this pad");
    let segment = frames.sticky_event::<gst::event::Segment>(0).expect("frames have come");
    assert!(frames.send_event(gst::event::FlushStart::new()));
    assert!(frames.send_event(gst::event::FlushStop::new(true)));
    assert!(frames.send_event(segment));
    // For its viewers the stream begins anew, and goes on.
    while viewer.next().await
        != Received::Json(serde_json::json!({"type": "reinit", "value": "video/mp4; codecs=\"avc1.640014\""}))
    {}
    let after = viewer.record(10).await;
    assert!(keyframe(&after.fragments[0]));
}

#[test]
fn sound_beside_fragmented_mp4_is_left_out_and_told() {
    let sound = "audiotestsrc is-live=true ! opusenc ! sink.audio";
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {MUX} ! fmp4wssink name=sink port=0 {sound}"));
    pipeline.play();
    let warning = pipeline.wait_warning();
    assert!(warning.contains("give the sound to its muxer"), "{warning}");
}
