//! Readers and writers start, stop and start again, in any order.

use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::stage::{Channel, Play, buffer, until};

const LIVE: &str = "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=64,framerate=100/1";

/// As many as somebody wants.
const FRAMES: &str = "videotestsrc ! video/x-raw,format=GRAY8,width=64,height=64,framerate=100/1";

fn flags(sample: &gst::Sample) -> gst::BufferFlags {
    sample.buffer().expect("a buffer").flags()
}

fn pts(sample: &gst::Sample) -> gst::ClockTime {
    sample.buffer().and_then(|buffer| buffer.pts()).expect("a PTS")
}

#[test]
fn reader_may_come_first() {
    let channel = Channel::new();
    let reader = channel.sampling_reader("");
    let _writer = channel.writer(LIVE, "");
    reader.pull();
}

#[test]
fn late_reader_gets_the_newest_frame_at_once() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    for n in 0..3 {
        writer.push(buffer([n], n.into()));
    }
    until("three frames", || writer.stat("sink", "frames") == 3);
    assert_eq!(channel.sampling_reader("").pull_bytes(), [2]);
    writer.wait_for_readers(0);
    let next = channel.sampling_reader("initial-frame=next");
    writer.wait_for_readers(1);
    writer.push(buffer([3], 3));
    assert_eq!(next.pull_bytes(), [3]);
}

#[test]
fn reader_goes_on_with_the_next_writer() {
    let channel = Channel::new();
    let reader = channel.sampling_reader("policy=queue");
    let mut last = gst::ClockTime::ZERO;
    let mut generation = 0;
    for round in 0..5 {
        let writer = channel.writer(LIVE, "");
        // Frames of the writer before may still wait.
        let sample = loop {
            let sample = reader.pull();
            assert!(pts(&sample) >= last, "time does not go back");
            last = pts(&sample);
            let meta = gst::meta::CustomMeta::from_buffer(sample.buffer().expect("a buffer"), "valkka-frame");
            let now = meta.expect("there").structure().get::<u64>("generation").expect("there");
            if now > generation {
                generation = now;
                break sample;
            }
        };
        assert!(flags(&sample).contains(gst::BufferFlags::DISCONT), "round {round}");
        reader.wait_for_element_message("valkka-writer-connected");
        drop(writer);
        let lost = reader.wait_for_element_message("valkka-writer-lost");
        assert!(lost.get::<String>("reason").is_ok());
    }
    assert_eq!(reader.stat("src", "writers"), 5);
}

#[test]
fn reader_that_does_not_want_to_wait_ends_or_fails_with_its_writer() {
    for (choice, error) in [("eos", false), ("error", true)] {
        let channel = Channel::new();
        let writer = channel.writer(LIVE, "");
        let reader = channel.reader(&format!("on-writer-lost={choice}"), "fakesink sync=false");
        until("frames", || reader.stat("src", "frames") > 0);
        drop(writer);
        if error {
            let error = reader.wait_for_error();
            assert_eq!(error.kind::<gst::ResourceError>(), Some(gst::ResourceError::Read), "{error}");
        } else {
            reader.wait_for_eos();
        }
    }
}

#[test]
fn reader_starts_and_stops_again_and_again() {
    let channel = Channel::new();
    let writer = channel.writer(LIVE, "");
    let reader = channel.sampling_reader("");
    for state in [gst::State::Ready, gst::State::Null, gst::State::Paused].into_iter().cycle().take(15) {
        reader.pull();
        reader.go(state);
        reader.play();
    }
    reader.pull();
    until("one reader is left", || writer.element("sink").property::<u32>("readers") == 1);
}

#[test]
fn writer_starts_and_stops_again_and_again() {
    let channel = Channel::new();
    // Not a live one: GStreamer's base class of sources may pause the task of one that is paused and played in one moment after it has
    // started it again, and then there are no frames any more.
    let writer = channel.writer(&format!("{FRAMES} ! identity sleep-time=5000"), "");
    let reader = channel.sampling_reader("");
    for state in [gst::State::Ready, gst::State::Null, gst::State::Paused].into_iter().cycle().take(15) {
        reader.pull();
        writer.arrive(state);
        writer.play();
    }
    let last = pts(&reader.pull());
    until("frames go on", || pts(&reader.pull()) > last + gst::ClockTime::from_mseconds(50));
    drop(writer);
    assert!(!channel.socket().exists(), "the socket is gone with its writer");
}

#[test]
fn reader_that_waits_for_a_writer_stops_at_once() {
    let channel = Channel::new();
    let reader = channel.sampling_reader("");
    for _ in 0..5 {
        until("it waits", || reader.element("src").current_state() == gst::State::Playing);
        reader.arrive(gst::State::Null);
        reader.play();
    }
    // Also by an end of stream from the application.
    assert!(reader.0.send_event(gst::event::Eos::new()));
    reader.wait_for_eos();
}

#[test]
fn writer_that_waits_for_a_reader_stops_at_once() {
    let channel = Channel::new();
    for _ in 0..3 {
        let writer = channel.writer(LIVE, "wait-for-reader=true");
        until("it waits", || writer.stat("sink", "frames") == 0);
        writer.go(gst::State::Paused);
        writer.play();
        writer.arrive(gst::State::Null);
    }
}

#[test]
fn writer_with_wait_for_reader_loses_nothing_before_one_comes() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    for n in 0..3 {
        writer.push(buffer([n], n.into()));
    }
    let reader = channel.sampling_reader("policy=queue queue-size=8");
    for n in 0..3 {
        assert_eq!(reader.pull_bytes(), [n]);
    }
}

#[test]
fn paused_reader_gets_nothing_and_goes_on_with_new_frames() {
    let channel = Channel::new();
    let writer = channel.writer(LIVE, "");
    let reader = channel.sampling_reader("policy=queue queue-size=2");
    reader.pull();
    reader.arrive(gst::State::Paused);
    until("the writer knows", || writer.readers()[0].get::<bool>("paused") == Ok(true));
    let published = writer.readers()[0].get::<u64>("published");
    let frames = writer.stat("sink", "frames");
    until("frames go by", || writer.stat("sink", "frames") > frames + 20);
    assert_eq!(writer.readers()[0].get::<u64>("published"), published);
    reader.arrive(gst::State::Playing);
    let resumed = reader.0.base_time().expect("plays");
    until("a frame of now", || reader.pull().buffer().expect("a buffer").offset() > frames + 20);
    assert!(resumed > gst::ClockTime::ZERO);
    crate::stage::assert_accounts(&writer.readers());
}

/// Waits in the present state until a `connect-timeout` of this reader, if it ran now, would long be over.
fn outlast_the_timeout(reader: &Play) {
    let timeout = Duration::from_nanos(reader.element("src").property("connect-timeout"));
    let begun = Instant::now();
    until("the timeout is over", || begun.elapsed() > timeout + timeout / 4);
}

/// The writer's answer may take its time on a loaded machine.
const PATIENT: &str = "connect-timeout=1000000000";

#[test]
fn time_in_which_no_writer_is_sought_is_no_waiting_for_one() {
    let channel = Channel::new();
    let description =
        format!("valkkashmsrc name=src {} {PATIENT} ! appsink name=out sync=false async=false", channel.at());
    let reader = Play::prepare(&description);
    // Nor is it later on, when the writer has gone away.
    for _ in 0..2 {
        reader.arrive(gst::State::Paused);
        outlast_the_timeout(&reader);
        reader.arrive(gst::State::Playing);
        let writer = channel.writer(LIVE, "");
        reader.wait_for_element_message("valkka-writer-connected");
        reader.pull();
        drop(writer);
        reader.wait_for_element_message("valkka-writer-lost");
    }
}

#[test]
fn reader_that_was_paused_waits_for_a_writer_as_long_as_one_that_was_not() {
    let channel = Channel::new();
    let reader = Play::prepare(&format!("valkkashmsrc name=src {} {PATIENT} ! fakesink", channel.at()));
    reader.arrive(gst::State::Paused);
    outlast_the_timeout(&reader);
    let played = Instant::now();
    reader.play();
    let error = reader.wait_for_error();
    assert_eq!(error.kind::<gst::ResourceError>(), Some(gst::ResourceError::NotFound), "{error}");
    assert!(played.elapsed() >= Duration::from_secs(1), "after {:?}", played.elapsed());
}

#[test]
fn lossless_reader_that_stands_still_is_thrown_out_and_told_why() {
    let channel = Channel::new();
    let writer = channel.writer(LIVE, "lossless-timeout=50000000");
    let reader = channel.reader("policy=lossless queue-size=1 max-held=1", "appsink name=out sync=false max-buffers=1");
    let removed = writer.wait_for_element_message("valkka-reader-removed");
    assert_eq!(removed.get::<bool>("error"), Ok(true));
    assert!(removed.get::<String>("reason").expect("there").contains("lossless-timeout"));
    reader.output().set_property("drop", true);
    let error = reader.wait_for_error();
    assert!(error.message().contains("lossless-timeout"), "{error}");
    let frames = writer.stat("sink", "frames");
    until("the writer goes on", || writer.stat("sink", "frames") > frames + 10);
}

#[test]
fn lossless_reader_loses_nothing_when_the_writer_is_paused() {
    let channel = Channel::new();
    let writer = channel.writer(
        "videotestsrc num-buffers=200 ! video/x-raw,format=GRAY8,width=64,height=64",
        "wait-for-reader=true lossless-timeout=30000000000",
    );
    let reader = channel.sampling_reader("policy=lossless queue-size=1 max-held=1");
    reader.output().set_property("max-buffers", 1u32);
    let mut seen = 0;
    for _ in 0..10 {
        for _ in 0..5 {
            assert_eq!(reader.pull().buffer().expect("a buffer").offset(), seen);
            seen += 1;
        }
        // The writer waits for this reader now, most probably.
        writer.go(gst::State::Paused);
        writer.play();
    }
    while let Some(sample) = reader.output().try_pull_sample(gst::ClockTime::from_seconds(30)) {
        assert_eq!(sample.buffer().expect("a buffer").offset(), seen);
        seen += 1;
    }
    assert_eq!(seen, 200);
}

#[test]
fn reader_without_eos_waits_for_the_next_writer() {
    let channel = Channel::new();
    let reader = channel.sampling_reader("policy=queue forward-eos=false");
    for n in 0..3 {
        let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
        writer.push(buffer([n], 0));
        writer.input().end_of_stream().expect("taken");
        writer.wait_for_eos();
        assert_eq!(reader.pull_bytes(), [n]);
    }
}

#[test]
fn many_readers_come_and_go_while_frames_flow() {
    let channel = Channel::new();
    // A busy machine catches up with bursts, and this thread may be late: the writer waits, and there is room for all.
    let writer = channel.writer(LIVE, "lossless-timeout=60000000000");
    let steady = channel.sampling_reader("policy=lossless queue-size=64");
    steady.output().set_property("max-buffers", 0u32);
    let first = steady.pull().buffer().expect("a buffer").offset();
    let mut others: Vec<Play> = Vec::new();
    for round in 0..40 {
        let policy = ["latest", "queue"][round % 2];
        others.push(channel.reader(&format!("policy={policy}"), "fakesink sync=false"));
        if others.len() > 8 {
            others.remove(round % 5);
        }
        crate::stage::assert_accounts(&writer.readers());
    }
    drop(others);
    writer.wait_for_readers(1);
    let mut next = first + 1;
    while next < writer.stat("sink", "frames") {
        assert_eq!(steady.pull().buffer().expect("a buffer").offset(), next);
        next += 1;
    }
    assert_eq!(steady.stat("src", "lost"), 0);
}
