//! All of the stream arrives in the other process: time, caps, metas, tags, events, its end; and what goes back.

use std::time::Duration;

use gst::prelude::*;
use gst_app::AppSrc;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::stage::pipeline::Pipeline;
use crate::stage::runtime::CHECKOUT;
use crate::stage::{Process, Runtime, SOON, eventually_or};

const MS: u64 = 1_000_000;

/// A writer in this process, and a reader in another one that tells all it gets (`peers/reader.py`).
struct Pair {
    reader: Process,
    writer: Pipeline,
    source: AppSrc,
    _runtime: Runtime,
}

impl Pair {
    fn new(properties: &str) -> Pair {
        let runtime = Runtime::new();
        let reader = peer(&runtime, properties);
        // The reader's base time is before the writer's, so no frame is older than the reader's pipeline.
        reader.line("playing", SOON);
        let sink = "wait-for-reader=true lossless-timeout=60000000000";
        let (writer, source) = Pipeline::publisher(&runtime.socket("a"), sink);
        writer.play();
        Pair { reader, writer, source, _runtime: runtime }
    }

    fn caps(&self, caps: &str) {
        self.source.set_caps(Some(&caps.parse().expect("caps")));
    }

    fn push(&self, pts_ms: u64, size: usize, change: impl FnOnce(&mut gst::BufferRef)) {
        let mut buffer = gst::Buffer::from_mut_slice(vec![pts_ms as u8; size]);
        let frame = buffer.get_mut().expect("a new buffer is ours");
        frame.set_pts(gst::ClockTime::from_mseconds(pts_ms));
        change(frame);
        self.source.push_buffer(buffer).expect("the writer runs");
    }

    /// What the reader has told of that kind, once it has told so many.
    #[track_caller]
    fn told(&self, kind: &str, count: usize) -> Vec<Value> {
        told(&self.reader, kind, count)
    }

    /// The nanoseconds on CLOCK_MONOTONIC of a time stamp in the writer.
    fn channel_time(&self, pts_ms: u64) -> u64 {
        self.writer.base_time().nseconds() + pts_ms * MS
    }
}

/// A reader in a process of its own that tells all it gets.
fn peer(runtime: &Runtime, properties: &str) -> Process {
    let mut command = runtime.command(&CHECKOUT.join("tests/peers/reader.py").to_string_lossy());
    command.arg("a").args(properties.split_whitespace());
    runtime.start(&command)
}

/// What the peer has told of that kind, once it has told so many.
#[track_caller]
fn told(reader: &Process, kind: &str, count: usize) -> Vec<Value> {
    let look = || {
        let lines = reader.output();
        let told = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told: Vec<_> = told.filter(|fact| fact["kind"] == kind).collect();
        (told.len() >= count).then_some(told)
    };
    eventually_or(SOON, look, || format!("{count} of {kind}\n{}\n{}", reader.output(), reader.errors()))
}

const RGB: &str = "video/x-raw,format=RGB,width=16,height=8,framerate=25/1";
const RGB_BYTES: usize = 16 * 8 * 3;

#[test]
fn a_frame_keeps_its_time_to_the_nanosecond() {
    let pair = Pair::new("policy=lossless");
    pair.caps("video/x-h264,stream-format=byte-stream,alignment=au");
    let stamps = [(100, 60), (220, 100), (140, 140), (180, 180), (340, 220)];
    for (index, (pts, dts)) in stamps.into_iter().enumerate() {
        pair.push(pts, 100 + index, |frame| {
            frame.set_dts(gst::ClockTime::from_mseconds(dts));
            frame.set_duration(gst::ClockTime::from_mseconds(40));
            if index > 0 {
                frame.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        });
    }
    for (index, (told, (pts, dts))) in pair.told("frame", 5).iter().zip(stamps).enumerate() {
        let base = told["base"].as_u64().expect("a base time");
        assert_eq!(told["pts"].as_u64().map(|pts| pts + base), Some(pair.channel_time(pts)));
        assert_eq!(told["dts"].as_u64().map(|dts| dts + base), Some(pair.channel_time(dts)));
        assert_eq!(told["duration"], 40 * MS);
        assert_eq!(told["size"], 100 + index);
        let delta = told["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "delta-unit"));
        assert_eq!(delta, index > 0);
    }
}

#[test]
fn frames_are_numbered_and_say_when_they_were_published() {
    let pair = Pair::new("policy=lossless");
    pair.caps(RGB);
    for index in 0..10 {
        pair.push(index * 40, RGB_BYTES, |_| {});
    }
    let told = pair.told("frame", 10);
    for (before, after) in told.iter().zip(&told[1..]) {
        assert_eq!(before["seq"].as_u64().map(|seq| seq + 1), after["seq"].as_u64());
    }
    for told in &told {
        let meta = told["metas"]["valkka-frame"].as_str().expect("every frame has a valkka-frame meta");
        for field in ["generation=", "seq=", "published=", "latency="] {
            assert!(meta.contains(field), "{field} in {meta}");
        }
    }
}

#[test]
fn caps_change_in_mid_stream_to_larger_and_smaller_frames_without_loss() {
    let pair = Pair::new("policy=lossless");
    let sizes = [(16, 8), (640, 480), (1920, 1080), (32, 16), (640, 480)];
    for (index, (width, height)) in sizes.into_iter().enumerate() {
        pair.caps(&format!("video/x-raw,format=RGB,width={width},height={height},framerate=25/1"));
        for frame in 0..4 {
            pair.push(index as u64 * 160 + frame * 40, width * height * 3, |_| {});
        }
    }
    let frames = pair.told("frame", 20);
    for (index, (width, height)) in sizes.into_iter().enumerate() {
        for frame in &frames[index * 4..index * 4 + 4] {
            assert_eq!(frame["size"], width * height * 3);
        }
    }
    let caps = pair.told("caps", sizes.len());
    for (caps, (width, height)) in caps.iter().zip(sizes) {
        let caps = caps["caps"].as_str().expect("caps are a string");
        assert!(
            caps.contains(&format!("width=(int){width}")) && caps.contains(&format!("height=(int){height}")),
            "{caps}"
        );
    }
}

#[test]
fn any_caps_pass() {
    for caps in [
        "application/x-anything,name=(string)value",
        "audio/x-raw,format=S16LE,rate=8000,channels=1,layout=interleaved",
    ] {
        let pair = Pair::new("policy=lossless");
        pair.caps(caps);
        pair.push(0, 160, |_| {});
        assert_eq!(pair.told("frame", 1)[0]["size"], 160);
        let told = pair.told("caps", 1)[0]["caps"].as_str().map(|caps| caps.parse::<gst::Caps>().expect("caps"));
        assert_eq!(told, Some(caps.parse().expect("caps")));
    }
}

#[test]
fn metas_arrive_with_their_frame() {
    let pair = Pair::new("policy=lossless");
    gst::meta::CustomMeta::register("test-meta", &[]);
    pair.caps(RGB);
    pair.push(0, RGB_BYTES, |frame| {
        gst_video::VideoRegionOfInterestMeta::add(frame, "person", (1, 2, 3, 4));
        let reference = gst::Caps::builder("timestamp/x-unix").build();
        gst::ReferenceTimestampMeta::add(frame, &reference, gst::ClockTime::from_seconds(77), gst::ClockTime::NONE);
        let mut meta = gst::meta::CustomMeta::add(frame, "test-meta").expect("it is registered");
        meta.mut_structure().set("answer", 42);
    });
    let metas = &pair.told("frame", 1)[0]["metas"];
    assert_eq!(metas["region"], serde_json::json!(["person", 1, 2, 3, 4]));
    assert_eq!(metas["reference"], serde_json::json!(["timestamp/x-unix", 77_000_000_000u64]));
    assert!(metas["test-meta"].as_str().is_some_and(|meta| meta.contains("answer=(int)42")), "{metas}");
}

#[test]
fn padded_rows_are_packed_for_a_reader_that_knows_no_strides() {
    let pair = Pair::new("policy=lossless");
    pair.caps("video/x-raw,format=RGB,width=10,height=8,framerate=25/1");
    pair.push(0, 64 * 8, |frame| {
        let (flags, format) = (gst_video::VideoFrameFlags::empty(), gst_video::VideoFormat::Rgb);
        gst_video::VideoMeta::add_full(frame, flags, format, 10, 8, &[0], &[64]).expect("a valid meta");
    });
    // A row of RGB24 ends at a multiple of four bytes.
    assert_eq!(pair.told("frame", 1)[0]["size"], 32 * 8);
}

#[test]
fn tags_gaps_and_custom_events_arrive() {
    let pair = Pair::new("policy=lossless");
    pair.caps(RGB);
    pair.push(0, RGB_BYTES, |_| {});
    pair.told("frame", 1);
    let mut tags = gst::TagList::new();
    tags.get_mut().expect("new").add::<gst::tags::Title>(&"Lobby", gst::TagMergeMode::Replace);
    pair.source.send_event(gst::event::Tag::new(tags));
    pair.source.send_event(gst::event::CustomDownstream::new(
        gst::Structure::builder("test-event").field("answer", 42).build(),
    ));
    pair.push(40, RGB_BYTES, |_| {});
    let gap =
        gst::event::Gap::builder(gst::ClockTime::from_mseconds(80)).duration(gst::ClockTime::from_mseconds(40)).build();
    pair.source.send_event(gap);
    pair.push(120, RGB_BYTES, |_| {});

    assert!(pair.told("tags", 1).iter().any(|tags| tags["tags"].as_str().is_some_and(|tags| tags.contains("Lobby"))));
    assert!(pair.told("event", 1)[0]["event"].as_str().is_some_and(|event| event.contains("answer=(int)42")));
    let gap = &pair.told("gap", 1)[0];
    assert_eq!(gap["duration"], 40 * MS);
    assert_eq!(pair.told("frame", 3).len(), 3);
}

#[test]
fn the_end_of_the_stream_arrives_after_the_last_frame() {
    let mut pair = Pair::new("policy=lossless");
    pair.caps(RGB);
    for index in 0..20 {
        pair.push(index * 40, RGB_BYTES, |_| {});
    }
    pair.source.end_of_stream().expect("the writer runs");
    pair.told("eos", 1);
    assert_eq!(pair.told("frame", 20).len(), 20);
    pair.reader.finish(SOON);
}

#[test]
fn time_rises_over_writers_that_are_interrupted_or_killed_and_the_stream_does_not_end() {
    let runtime = Runtime::new();
    let reader = peer(&runtime, "");
    let camera = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=64,height=48,framerate=100/1";
    for signal in [Signal::SIGINT, Signal::SIGKILL, Signal::SIGTERM, Signal::SIGKILL] {
        let mut writer = runtime.launch(&format!("{camera} ! valkkashmsink channel=a sync=false"));
        reader.lines_more(20, SOON);
        writer.signal(signal);
        writer.wait(SOON);
    }
    let frames = told(&reader, "frame", 50);
    let pts: Vec<_> = frames.iter().map(|frame| frame["pts"].as_u64().expect("a live frame has a time")).collect();
    assert!(pts.is_sorted(), "{pts:?}");
    let nick = |frame: &Value, nick: &str| {
        frame["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == nick))
    };
    assert!(frames.iter().filter(|frame| nick(frame, "discont")).count() >= 4, "each writer starts with a DISCONT");
    assert!(!reader.output().contains(r#""kind": "eos""#), "only the end of the source itself is the end");
}

#[test]
fn a_late_reader_of_encoded_video_asks_for_a_keyframe_and_begins_with_it() {
    let runtime = Runtime::new();
    // By itself the encoder makes one keyframe, its first.
    let encode =
        "video/x-raw,format=I420,width=64,height=48,framerate=50/1 ! x264enc tune=zerolatency key-int-max=1000000";
    let camera = format!("videotestsrc is-live=true ! {encode} ! h264parse");
    let _writer = runtime.launch(&format!("{camera} ! valkkashmsink channel=a sync=false"));
    let early = runtime.launch("valkkashmsrc channel=a policy=queue ! checksumsink sync=false");
    early.lines_more(50, SOON);
    let late = peer(&runtime, "policy=queue queue-size=16");
    let frames = told(&late, "frame", 20);
    let is_delta =
        |frame: &Value| frame["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "delta-unit"));
    assert!(!is_delta(&frames[0]), "a decoder can begin with the first frame");
    assert!(frames[1..].iter().any(is_delta), "not every frame is a keyframe");
}

#[test]
fn a_late_reader_of_a_still_picture_gets_it_at_once() {
    let runtime = Runtime::new();
    // The next frame is due in three hours.
    let still = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=64,height=48,framerate=1/10000";
    let _writer = runtime.launch(&format!("{still} ! valkkashmsink channel=a sync=false"));
    for _ in 0..2 {
        assert_eq!(told(&peer(&runtime, "initial-frame=newest"), "frame", 1).len(), 1);
    }
}

#[test]
fn a_reply_comes_back_as_a_message_with_the_readers_id() {
    let pair = Pair::new("policy=lossless");
    pair.caps(RGB);
    pair.push(0, RGB_BYTES, |_| {});
    pair.told("frame", 1);
    let question = gst::Structure::new_empty("test-answer");
    pair.source.send_event(gst::event::CustomDownstream::new(question));
    pair.push(40, RGB_BYTES, |_| {});
    let reply = pair.writer.element_message("valkka-reply", Duration::from_secs(30));
    assert_eq!((reply.get("answer"), reply.get("words")), (Ok(42), Ok("all is well")));
    assert!(reply.get::<u32>("reader").is_ok(), "{reply}");
}
