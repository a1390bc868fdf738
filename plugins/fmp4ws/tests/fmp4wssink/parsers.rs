//! Other people's parsers, on what a viewer has got: ffprobe, and GStreamer's qtdemux with its decoders.

use crate::pipeline::Pipeline;
use crate::viewer::Received;
use gst::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// 90 kHz, once rounded when it is written and once when it is read; ffprobe prints microseconds.
pub const ROUNDING_NS: u64 = 25_000;

/// What a viewer got, as a file.
pub struct File {
    pub path: PathBuf,
    _folder: TempDir,
}

impl File {
    pub fn new(received: &[Received]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a file");
        let path = folder.path().join("received.mp4");
        let media = received.iter().filter_map(|received| match received {
            Received::Media(data) => Some(&data[..]),
            _ => None,
        });
        std::fs::write(&path, media.collect::<Vec<_>>().concat()).expect("there is room for a file");
        Self { path, _folder: folder }
    }
}

/// When the decoded frames are shown, in nanoseconds of media time, in that order.
#[derive(Debug, PartialEq)]
pub struct Times {
    pub video: Vec<i64>,
    pub audio: Vec<i64>,
}

/// Decodes everything with ffmpeg's libraries. Any complaint is an error.
pub fn ffprobe(file: &Path) -> Times {
    let times = |stream: &str| {
        let mut command = Command::new("ffprobe");
        command.args(["-v", "warning", "-select_streams", stream, "-show_entries", "frame=pts_time", "-of", "csv=p=0"]);
        let output = command.arg(file).output().expect("ffprobe (package ffmpeg) is installed");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "ffprobe {stream}: {complaints}");
        let lines = String::from_utf8(output.stdout).expect("numbers are text");
        let seconds = lines.lines().filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok());
        let mut times: Vec<i64> = seconds.map(|seconds| (seconds * 1e9).round() as i64).collect();
        times.sort_unstable();
        times
    };
    Times { video: times("v"), audio: times("a") }
}

/// Decodes everything with qtdemux and what decodebin puts behind it.
pub fn qtdemux(file: &Path) -> Times {
    let pipeline = Pipeline::null(&format!("filesrc location={} ! decodebin name=decoder", file.display()));
    let times = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
    let (bin, found) = (pipeline.0.downgrade(), times.clone());
    pipeline.element("decoder").connect_pad_added(move |_, pad| {
        let bin = bin.upgrade().expect("it plays");
        let sink = gst::ElementFactory::make("fakesink").property("sync", false).build().expect("a core element");
        bin.add(&sink).expect("a new element");
        let target = sink.static_pad("sink").expect("a sink has a pad");
        let caps = pad.current_caps().expect("decoded streams have caps");
        let index = usize::from(caps.structure(0).is_some_and(|structure| structure.name().starts_with("audio/")));
        let found = found.clone();
        target.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let buffer = info.buffer().expect("a buffer probe");
            assert!(!buffer.flags().contains(gst::BufferFlags::CORRUPTED), "a frame is corrupt");
            let time = buffer.pts().expect("decoded frames have a time").nseconds();
            found.lock().expect("nobody panics here")[index].push(time.cast_signed());
            gst::PadProbeReturn::Ok
        });
        pad.link(&target).expect("a fakesink takes everything");
        sink.sync_state_with_parent().expect("a fakesink starts");
    });
    pipeline.play();
    pipeline.wait_eos();
    let [video, audio] = times.lock().expect("nobody panics there").clone();
    Times { video, audio }
}

/// Times of the buffers that go into a pad.
pub struct Stamps {
    running: Receiver<gst::ClockTime>,
    element: gst::Element,
}

impl Stamps {
    /// Channel times of all so far. Sources that are not live begin before the pipeline plays, and only then it has a base time:
    /// to be asked when it does.
    pub fn all(&self) -> Vec<i64> {
        let base = self.element.base_time().expect("it plays");
        self.running.try_iter().map(|time| (base + time).nseconds().cast_signed()).collect()
    }
}

/// Notes the times of what goes into a pad of that element.
pub fn stamps(element: &gst::Element, pad: &str) -> Stamps {
    let (send, running) = channel();
    let pad = element.static_pad(pad).expect("the element has this pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let segment = pad.sticky_event::<gst::event::Segment>(0).expect("a segment comes before buffers");
        let segment = segment.segment().downcast_ref::<gst::ClockTime>().expect("in time").clone();
        let pts = info.buffer().expect("a buffer probe").pts().expect("frames have times");
        let running_time = segment.to_running_time(pts).expect("frames are in the segment");
        let _ = send.send(running_time);
        gst::PadProbeReturn::Ok
    });
    Stamps { running, element: element.clone() }
}

/// What the sink says about media times.
pub fn pts0(received: &[Received]) -> i64 {
    let told = received.iter().rev().find_map(|received| match received {
        Received::Json(value) if value["pts0"].is_i64() => Some(value),
        _ => None,
    });
    let told = told.expect("a clock was told");
    assert_eq!(told["exact"], Value::Bool(true));
    told["pts0"].as_i64().expect("a number")
}

/// Init segments and fragments.
pub fn media(received: &[Received]) -> Vec<&[u8]> {
    let media = received.iter().filter_map(|received| match received {
        Received::Media(data) => Some(&data[..]),
        _ => None,
    });
    media.collect()
}

/// What was decoded are the frames that went in, at their times.
#[track_caller]
pub fn assert_same(name: &str, decoded: &[i64], pts0: i64, stamps: &[i64]) {
    assert_eq!(decoded.len(), stamps.len(), "{name} decodes a wrong number of frames");
    for (media_time, stamp) in decoded.iter().zip(stamps) {
        let difference = (media_time + pts0).abs_diff(*stamp);
        assert!(difference <= ROUNDING_NS, "{name}: {media_time} is wrong by {difference} ns");
    }
}
