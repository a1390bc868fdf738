//! The other side speaks frame-ring's protocol, but what it says makes no sense to GStreamer.

use std::{sync::Arc, time::Duration};

use frame_ring::{
    Canceller, ChannelAddress, DetachReason, FrameInfo, InitialFrame, Item, Policy, Reader, ReaderOptions, ReaderStats,
    Reply, ReplyFormat, StateKind, Writer, WriterEvents, WriterOptions,
};
use gst::prelude::*;
use gstvalkkashm::{
    events,
    metas::wire::{self, VideoLayout},
};

use crate::stage::{Channel, buffer, until};

struct Nobody;

impl WriterEvents for Nobody {
    fn reader_added(&self, _: &ReaderStats) {}
    fn reader_removed(&self, _: u32, _: &DetachReason) {}
    fn reader_slow(&self, _: u32, _: u64) {}
    fn reply(&self, _: u32, _: Reply) {}
    fn force_key_unit(&self, _: u32) {}
}

fn address(channel: &Channel) -> ChannelAddress {
    ChannelAddress::socket(channel.socket()).expect("a path")
}

fn writer(channel: &Channel) -> Writer {
    let options = WriterOptions {
        address: address(channel),
        slots: 4,
        max_readers: 4,
        lossless_timeout: Duration::ZERO,
        checksum: false,
    };
    Writer::open(options, Arc::new(Nobody)).expect("opens")
}

fn publish(writer: &Writer, bytes: &[u8], metas: &[u8]) {
    let mut slot = writer.copy_slot(bytes.len() + metas.len()).expect("memory").expect("a slot is free");
    slot.as_mut()[..bytes.len()].copy_from_slice(bytes);
    let info = FrameInfo { time: Some(i64::MIN), dts_offset: Some(i64::MAX), flags: u32::MAX, ..FrameInfo::default() };
    let cancel = Canceller::new().expect("eventfd");
    writer.publish_copy(slot, bytes.len(), &info, metas, &cancel).expect("published");
}

fn layout(format: &'static str, width: u32, height: u32, offsets: &[u64], strides: &[i32]) -> VideoLayout {
    let (offsets, strides) = (offsets.to_vec(), strides.to_vec());
    VideoLayout { width, height, offsets, strides, format: format.into(), ..Default::default() }
}

fn metas_of(layout: VideoLayout) -> Vec<u8> {
    let mut metas = Vec::new();
    wire::encode(&wire::Record::Video(layout), &mut metas);
    metas
}

fn set_caps(writer: &Writer, format: &str, width: u32, height: u32) {
    let caps = format!("video/x-raw, format=(string){format}, width=(int){width}, height=(int){height}");
    writer.set_state(StateKind::CAPS, caps.into_bytes());
}

#[test]
fn states_and_events_without_sense_are_ignored() {
    let channel = Channel::new();
    let writer = writer(&channel);
    let reader = channel.sampling_reader("policy=queue queue-size=64");
    until("a reader", || writer.readers() == 1);
    writer.set_state(StateKind::CAPS, b"application/x-test".to_vec());
    let garbage: &[&[u8]] =
        &[b"", b"\0", b"= = =", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"taglist, = [", &[b'['; 4096]];
    for (n, garbage) in garbage.iter().enumerate() {
        for kind in [StateKind::TAGS, StateKind::LATENCY, events::STICKY_EVENTS, StateKind(999)] {
            writer.set_state(kind, garbage.to_vec());
        }
        for kind in [1, 2, 3, 999] {
            writer.send_event(kind, garbage);
        }
        publish(&writer, &[n as u8], b"");
        assert_eq!(reader.pull_bytes(), [n as u8]);
    }
    let mut latency = gst::query::Latency::new();
    assert!(reader.element("src").query(&mut latency));
    assert_eq!(latency.result().1, gst::ClockTime::ZERO);
}

#[test]
fn caps_without_sense_are_an_error() {
    for garbage in
        ["", "no caps at all", "video/x-raw, width=[1, 2]", "ANY", "EMPTY", "a/b, c=\0", &"<".repeat(100_000)]
    {
        let channel = Channel::new();
        let writer = writer(&channel);
        writer.set_state(StateKind::CAPS, garbage.as_bytes().to_vec());
        publish(&writer, b"1", b"");
        let reader = channel.sampling_reader("");
        let error = reader.wait_for_error();
        assert_eq!(error.kind::<gst::StreamError>(), Some(gst::StreamError::Format), "{garbage:?}: {error}");
    }
}

#[test]
fn metas_without_sense_are_counted_and_frames_flow() {
    let channel = Channel::new();
    let writer = writer(&channel);
    set_caps(&writer, "GRAY8", 8, 8);
    let reader = channel.sampling_reader("policy=queue queue-size=64");
    until("a reader", || writer.readers() == 1);
    let outside = metas_of(layout("GRAY8", 8, 8, &[1 << 40], &[8]));
    let mut crops = Vec::new();
    for rect in [[1, 0, 8, 8], [0, 8, 1, 1], [u32::MAX, 0, 8, 8]] {
        wire::encode(&wire::Record::Crop(rect), &mut crops);
    }
    let mut custom = Vec::new();
    for name in ["GstVideoMeta", "no type name", "valkka-frame"] {
        let (name, structure) = (name.into(), "s, a=(int)1;".into());
        wire::encode(&wire::Record::Custom { name, tags: vec!["\0".into()], structure }, &mut custom);
    }
    let broken: [(&[u8], bool, u64); 5] = [
        (b"", false, 0),
        (b"\x01\0\0\0\xff\xff\xff\xff", false, 1),
        (&outside, true, 2),
        (&custom, false, 5),
        (&crops, false, 8),
    ];
    for (n, (metas, corrupted, dropped)) in (0..).zip(broken) {
        publish(&writer, &[5; 64], metas);
        let sample = reader.pull();
        let buffer = sample.buffer().expect("a buffer");
        assert_eq!(crate::stage::bytes(buffer), [5; 64]);
        assert_eq!(buffer.pts(), Some(gst::ClockTime::from_nseconds(n)), "older than anything, each with its own time");
        assert!(buffer.meta::<gst_video::VideoMeta>().is_none());
        assert!(buffer.meta::<gst_video::VideoCropMeta>().is_none());
        // All flags of the word were set, this one as well.
        assert!(buffer.flags().contains(gst::BufferFlags::CORRUPTED) || !corrupted);
        assert_eq!(reader.stat("src", "metas-dropped"), dropped);
    }
}

#[test]
fn layouts_that_are_none_of_the_picture_that_the_caps_promise_are_ignored() {
    let interlaced = gst_video::VideoFrameFlags::INTERLACED.bits();
    let lies = [
        // Lines of a few bytes, where 48 pixels are 128.
        (("v210", 48, 4), 512, layout("v210", 48, 4, &[0], &[4])),
        (("RGB", 8, 2), 64, layout("RGB", 8, 2, &[0], &[0])),
        (("GRAY8", 8, 8), 64, layout("GRAY8", 8, 4, &[0], &[8])),
        (("GRAY8", 8, 8), 64, layout("GRAY8", 4, 8, &[0], &[8])),
        (("GRAY8", 8, 8), 64, layout("RGB", 2, 8, &[0], &[8])),
        // The colours of line 5 are in the fourth line then.
        (("I420", 8, 6), 72, VideoLayout { frame_flags: interlaced, ..layout("I420", 8, 6, &[0, 48, 60], &[8, 4, 4]) }),
        (("GRAY8", 8, 8), 64, layout("GRAY8\0", 8, 8, &[0], &[8])),
    ];
    for ((format, width, height), payload, lie) in lies {
        let channel = Channel::new();
        let writer = writer(&channel);
        set_caps(&writer, format, width, height);
        publish(&writer, &vec![5; payload], &metas_of(lie.clone()));
        let reader = channel.sampling_reader("");
        let sample = reader.pull();
        let buffer = sample.buffer().expect("a buffer");
        assert_eq!(reader.stat("src", "metas-dropped"), 1, "{lie:?}");
        assert!(buffer.meta::<gst_video::VideoMeta>().is_none(), "{lie:?}");
        assert_eq!(crate::stage::bytes(buffer), vec![5; payload]);
    }
}

#[test]
fn layout_that_was_right_is_looked_at_again_under_other_caps() {
    let channel = Channel::new();
    let writer = writer(&channel);
    let reader = channel.sampling_reader("policy=queue queue-size=64");
    until("a reader", || writer.readers() == 1);
    let metas = metas_of(layout("GRAY8", 8, 8, &[0], &[8]));
    for (height, dropped) in [(8, 0), (16, 1), (8, 1)] {
        set_caps(&writer, "GRAY8", 8, height);
        publish(&writer, &[5; 64], &metas);
        let sample = reader.pull();
        let meta = sample.buffer().expect("a buffer").meta::<gst_video::VideoMeta>();
        assert_eq!((meta.is_some(), reader.stat("src", "metas-dropped")), (height == 8, dropped), "height {height}");
    }
}

#[test]
fn replies_without_sense_are_ignored() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    writer.push(buffer([1], 0));
    let options = ReaderOptions {
        address: address(&channel),
        policy: Policy::Latest,
        queue_size: 1,
        max_held: 1,
        initial: InitialFrame::Newest,
    };
    let mut reader = Reader::new(options).expect("opens");
    loop {
        match reader.next().expect("reads") {
            Some(Item::Frame(_)) => break,
            Some(_) => {}
            None => drop(reader.wait(Some(Duration::from_secs(30))).expect("waits")),
        }
    }
    for payload in [b"= = =".to_vec(), b"\xff".to_vec(), b"a\0b".to_vec(), vec![], vec![b'['; 60_000]] {
        for format in [ReplyFormat::Json, ReplyFormat::Structure] {
            reader.line().reply(&Reply { frame: None, format, payload: payload.clone() }).expect("sent");
        }
    }
    let last = Reply { frame: None, format: ReplyFormat::Json, payload: b"\"last\"".to_vec() };
    reader.line().reply(&last).expect("sent");
    until("the last reply", || {
        let message = writer.wait_for_element_message("valkka-reply");
        message.get::<String>("json").is_ok_and(|json| json == "\"last\"")
    });
}
