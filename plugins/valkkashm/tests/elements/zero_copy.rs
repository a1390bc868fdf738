//! When frames are copied, and when not.

use frame_ring::{ChannelAddress, DetachReason, ReaderStats, Reply, Writer, WriterEvents, WriterOptions};
use gst::prelude::*;
use gstvalkkashm::pool::SlotPool;

use crate::stage::{Channel, buffer, bytes, until};

const RGB: &str = "video/x-raw,format=RGB,width=320,height=240";

#[test]
fn converter_writes_straight_into_slots() {
    let channel = Channel::new();
    let writer = channel.writer(&format!("videotestsrc num-buffers=100 ! videoconvert ! {RGB}"), "");
    writer.wait_for_eos();
    assert_eq!((writer.stat("sink", "zero-copy"), writer.stat("sink", "copied")), (100, 0));
}

#[test]
fn test_source_writes_straight_into_slots_while_readers_look() {
    let channel = Channel::new();
    let writer = channel.writer(&format!("videotestsrc num-buffers=100 ! {RGB}"), "wait-for-reader=true");
    let reader = channel.reader("", "fakesink sync=false");
    reader.wait_for_eos();
    assert_eq!((writer.stat("sink", "zero-copy"), writer.stat("sink", "copied")), (100, 0));
}

#[test]
fn scaler_and_decoder_write_straight_into_slots() {
    let channel = Channel::new();
    let source = "videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=322,height=242";
    let writer = channel.writer(&format!("{source} ! videoscale ! video/x-raw,width=160,height=120"), "");
    writer.wait_for_eos();
    assert_eq!((writer.stat("sink", "zero-copy"), writer.stat("sink", "copied")), (60, 0));
    drop(writer);
    let encode = "x264enc tune=zerolatency speed-preset=ultrafast ! h264parse";
    let writer = channel.writer(&format!("{source} ! {encode} ! avdec_h264"), "slots=32");
    writer.wait_for_eos();
    assert_eq!((writer.stat("sink", "zero-copy"), writer.stat("sink", "copied")), (60, 0));
}

#[test]
fn long_queue_before_the_sink_uses_all_slots_and_copies_the_rest() {
    let channel = Channel::new();
    let queue = "queue max-size-buffers=200 max-size-bytes=0 max-size-time=0";
    let writer =
        channel.writer(&format!("videotestsrc num-buffers=300 ! {RGB} ! {queue}"), "slots=4 wait-for-reader=true");
    // The queue fills up before anybody looks.
    let reader = channel.reader("policy=queue queue-size=8", "fakesink sync=false");
    reader.wait_for_eos();
    let (zero_copy, copied) = (writer.stat("sink", "zero-copy"), writer.stat("sink", "copied"));
    assert_eq!(zero_copy + copied, 300);
    assert!(zero_copy >= 4, "{zero_copy} frames without a copy");
    assert_eq!(writer.stat("sink", "dropped-no-slot"), 0);
}

#[test]
fn foreign_memory_is_copied_once_and_arrives_as_it_was() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    let sent: Vec<u8> = (0..1000u32).map(|n| n as u8).collect();
    writer.push(buffer(sent.clone(), 0));
    assert_eq!(reader.pull_bytes(), sent);
    assert_eq!((writer.stat("sink", "zero-copy"), writer.stat("sink", "copied")), (0, 1));
}

#[test]
fn buffers_of_several_and_of_no_memories_pass() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    let mut several = gst::Buffer::new();
    for part in [vec![1, 2], vec![3], vec![4, 5, 6]] {
        several.get_mut().expect("new").append_memory(gst::Memory::from_slice(part));
    }
    writer.push(several);
    assert_eq!(reader.pull_bytes(), [1, 2, 3, 4, 5, 6]);
    writer.push(gst::Buffer::new());
    let sample = reader.pull();
    let empty = sample.buffer().expect("a sample has a buffer");
    assert_eq!((empty.size(), empty.n_memory()), (0, 0));
}

#[test]
fn repeated_frames_are_copied_because_they_were_published_already() {
    let channel = Channel::new();
    let freeze = "videotestsrc num-buffers=1 ! videoconvert ! imagefreeze num-buffers=20";
    let writer = channel.writer(&format!("{freeze} ! {RGB},framerate=30/1"), "");
    writer.wait_for_eos();
    let (zero_copy, copied) = (writer.stat("sink", "zero-copy"), writer.stat("sink", "copied"));
    assert_eq!(zero_copy + copied, 20);
    assert!(zero_copy <= 1 && copied >= 19, "{zero_copy} without a copy, {copied} with");
}

#[test]
fn frames_repeated_by_videorate_arrive_as_they_were() {
    let channel = Channel::new();
    let source =
        "videotestsrc pattern=ball num-buffers=10 ! video/x-raw,format=GRAY8,width=64,height=64,framerate=10/1";
    let writer = channel.writer(&format!("{source} ! videorate ! video/x-raw,framerate=30/1"), "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue queue-size=64");
    let mut frames = vec![reader.pull_bytes()];
    while let Some(sample) = reader.output().try_pull_sample(gst::ClockTime::from_seconds(30)) {
        frames.push(bytes(sample.buffer().expect("a sample has a buffer")));
    }
    writer.wait_for_eos();
    assert_eq!(writer.stat("sink", "zero-copy") + writer.stat("sink", "copied"), frames.len() as u64);
    assert!(writer.stat("sink", "copied") >= frames.len() as u64 / 2);
    let distinct = frames.chunk_by(|a, b| a == b).count();
    assert_eq!(distinct, 10, "of {} frames", frames.len());
}

#[test]
fn tee_shares_frames_with_the_channel_and_neither_spoils_the_other() {
    let channel = Channel::new();
    // What comes out of the other branch is drawn upon: in memory of its own then.
    let writer = channel.writer(
        "videotestsrc pattern=black num-buffers=50 ! video/x-raw,format=RGB,width=64,height=64 ! tee name=t \
         t. ! queue ! videobalance brightness=1 ! fakesink t. ! queue",
        "wait-for-reader=true slots=16",
    );
    let reader = channel.sampling_reader("policy=queue queue-size=64");
    for _ in 0..50 {
        assert!(reader.pull_bytes().iter().all(|byte| *byte == 0));
    }
    writer.wait_for_eos();
}

struct Nobody;

impl WriterEvents for Nobody {
    fn reader_added(&self, _: &ReaderStats) {}
    fn reader_removed(&self, _: u32, _: &DetachReason) {}
    fn reader_slow(&self, _: u32, _: u64) {}
    fn reply(&self, _: u32, _: Reply) {}
    fn force_key_unit(&self, _: u32) {}
}

fn pool(channel: &Channel, slots: u32) -> (Writer, SlotPool) {
    let options = WriterOptions {
        address: ChannelAddress::socket(channel.socket()).expect("a path"),
        slots,
        max_readers: 1,
        lossless_timeout: std::time::Duration::ZERO,
        checksum: false,
    };
    let writer = Writer::open(options, std::sync::Arc::new(Nobody)).expect("opens");
    let pool = SlotPool::new(writer.clone());
    let mut config = pool.config();
    config.set_params(Some(&RGB.parse().expect("valid caps")), 320 * 240 * 3, 0, 2);
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META.as_str());
    pool.set_config(config).expect("valid");
    pool.set_active(true).expect("starts");
    (writer, pool)
}

fn is_slot(writer: &Writer, buffer: &gst::Buffer) -> bool {
    writer.is_own(&buffer.map_readable().expect("maps"))
}

#[test]
fn empty_pool_gives_system_memory_and_slots_again_when_they_are_back() {
    let channel = Channel::new();
    let (writer, pool) = pool(&channel, 3);
    // Also beyond the maximum that was configured: it never waits.
    let buffers: Vec<_> = (0..10).map(|_| pool.acquire_buffer(None).expect("never fails")).collect();
    let slots = buffers.iter().filter(|buffer| is_slot(&writer, buffer)).count();
    assert_eq!(slots, 3);
    assert!(buffers.iter().all(|buffer| buffer.size() == 320 * 240 * 3));
    assert!(buffers.iter().all(|buffer| buffer.meta::<gst_video::VideoMeta>().is_some()));
    drop(buffers);
    for _ in 0..10 {
        assert!(is_slot(&writer, &pool.acquire_buffer(None).expect("never fails")), "system memory did not stick");
    }
}

#[test]
fn pool_outlives_its_channel() {
    let channel = Channel::new();
    let (writer, pool) = pool(&channel, 3);
    let held = pool.acquire_buffer(None).expect("never fails");
    writer.close(frame_ring::CloseReason::Restart);
    drop(writer);
    let mut late = pool.acquire_buffer(None).expect("never fails");
    late.get_mut().expect("new").map_writable().expect("maps").fill(1);
    pool.set_active(false).expect("stops");
    assert_eq!(pool.acquire_buffer(None), Err(gst::FlowError::Flushing));
    drop(held);
}

#[test]
fn aligned_buffers_have_aligned_lines_within_a_slot() {
    use gst_video::{VideoAlignment, VideoBufferPoolConfig};

    let channel = Channel::new();
    let (writer, pool) = pool(&channel, 3);
    pool.set_active(false).expect("stops");
    let mut config = pool.config();
    config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT.as_str());
    config.set_video_alignment(&VideoAlignment::new(2, 2, 4, 4, &[63; 4]));
    pool.set_config(config).expect("valid");
    pool.set_active(true).expect("starts");
    let buffer = pool.acquire_buffer(None).expect("never fails");
    assert!(is_slot(&writer, &buffer));
    let meta = buffer.meta::<gst_video::VideoMeta>().expect("asked for");
    assert_eq!(meta.stride()[0] % 64, 0);
    assert!(meta.stride()[0] >= (320 + 8) * 3);
    assert!(meta.offset()[0] >= 2 * meta.stride()[0] as usize, "lines above the picture");
    assert!(buffer.size() >= meta.stride()[0] as usize * 244);
}

#[test]
fn sink_that_is_stopped_lets_upstream_go_on_without_it() {
    let channel = Channel::new();
    let writer = channel.writer(&format!("videotestsrc ! {RGB} ! tee name=t t. ! queue ! fakesink t. ! queue"), "");
    until("frames", || writer.stat("sink", "frames") > 10);
    writer.arrive(gst::State::Null);
    writer.play();
    until("frames again", || writer.stat("sink", "frames") > 10);
}
