//! Time stamps and latency, over pipelines with base times and clocks of their own.

use gst::prelude::*;

use crate::stage::{Bare, Channel, Play, buffer, until};

const MS: u64 = 1_000_000;

/// PTS of a sample as CLOCK_MONOTONIC, by the default clock of the pipeline that it is in.
fn channel_time(play: &Play, sample: &gst::Sample) -> u64 {
    let pts = sample.buffer().and_then(|buffer| buffer.pts()).expect("a PTS");
    (play.0.base_time().expect("plays") + pts).nseconds()
}

fn segment(start: u64, base: u64) -> gst::FormattedSegment<gst::ClockTime> {
    let mut segment = gst::FormattedSegment::new();
    segment.set_start(gst::ClockTime::from_mseconds(start));
    segment.set_base(gst::ClockTime::from_mseconds(base));
    segment
}

#[test]
fn frame_keeps_its_age_over_pipelines_that_began_at_different_times() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true async=false");
    until("some age", || writer.0.current_running_time() > Some(gst::ClockTime::from_mseconds(100)));
    let early = Play::prepare(&format!("valkkashmsrc {} ! appsink name=out sync=false", channel.at()));
    early.play();
    let frame = writer.0.current_running_time().expect("plays");
    let mut sent = gst::Buffer::from_slice([1]);
    sent.get_mut().expect("new").set_pts(frame);
    writer.push(sent);
    let expected = (writer.0.base_time().expect("plays") + frame).nseconds();
    let sample = early.pull();
    // Frames older than the pipeline are of its beginning; this one is perhaps.
    let beginning = early.0.base_time().expect("plays").nseconds();
    assert_eq!(channel_time(&early, &sample), expected.max(beginning));
    let late_frame = early.0.current_running_time().expect("plays") + early.0.base_time().expect("plays");
    let mut sent = gst::Buffer::from_slice([2]);
    sent.get_mut().expect("new").set_pts(late_frame - writer.0.base_time().expect("plays"));
    writer.push(sent);
    assert_eq!(channel_time(&early, &early.pull()), late_frame.nseconds(), "to the nanosecond");
}

#[test]
fn frame_older_than_the_pipeline_has_time_zero() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    writer.push(buffer([1], 0));
    until("a frame", || writer.stat("sink", "frames") == 1);
    until("some age", || writer.0.current_running_time() > Some(gst::ClockTime::from_mseconds(50)));
    let reader = channel.sampling_reader("");
    assert_eq!(reader.pull().buffer().and_then(|buffer| buffer.pts()), Some(gst::ClockTime::ZERO));
}

#[test]
fn running_time_counts_and_not_the_position_in_a_segment() {
    let channel = Channel::new();
    let writer = Bare::new(&channel, "");
    let reader = channel.sampling_reader("policy=queue");
    writer.play.wait_for_readers(1);
    // Far in the future, so that nothing becomes zero.
    let future = 1_000_000;
    writer.begin("a", "application/x-test", &segment(30_000, future));
    writer.push(buffer([1], 30_000));
    let first = channel_time(&reader, &reader.pull());
    writer.event(gst::event::Segment::new(&segment(0, future + 1_000)));
    writer.push(buffer([2], 0));
    let second = channel_time(&reader, &reader.pull());
    assert_eq!(second - first, 1_000 * MS);
    // Before the segment's beginning: negative in it, but the base makes up for that.
    writer.event(gst::event::Segment::new(&segment(500, future + 2_000)));
    writer.push(buffer([3], 750));
    let third = channel_time(&reader, &reader.pull());
    assert_eq!(third - second, 1_250 * MS);
}

#[test]
fn decoding_times_stay_relative_to_presentation_times() {
    let channel = Channel::new();
    let writer = Bare::new(&channel, "");
    let reader = channel.sampling_reader("policy=queue queue-size=16");
    writer.play.wait_for_readers(1);
    writer.begin("a", "application/x-test", &segment(0, 1_000_000));
    let order = [(100, Some(0)), (300, Some(40)), (200, Some(80)), (400, Some(120)), (500, None)];
    let mut before = None;
    for (pts, dts) in order {
        let mut sent = buffer([1], pts);
        sent.get_mut().expect("new").set_dts(dts.map(gst::ClockTime::from_mseconds));
        writer.push(sent);
        let sample = reader.pull();
        let got = sample.buffer().expect("a buffer");
        let offset = got.pts().zip(got.dts()).map(|(pts, dts)| pts.nseconds() as i64 - dts.nseconds() as i64);
        assert_eq!(offset, dts.map(|dts| (pts as i64 - dts as i64) * MS as i64));
        if got.dts().is_some() {
            assert!(got.dts() > before);
            before = got.dts();
        }
    }
    // A frame that has nothing but a decoding time.
    let mut sent = gst::Buffer::from_slice([1]);
    sent.get_mut().expect("new").set_dts(gst::ClockTime::from_mseconds(160));
    writer.push(sent);
    let sample = reader.pull();
    let got = sample.buffer().expect("a buffer").dts();
    assert_eq!(got.zip(before).map(|(got, before)| got - before), Some(gst::ClockTime::from_mseconds(40)));
}

#[test]
fn frames_without_time_pass() {
    let channel = Channel::new();
    let writer = Bare::new(&channel, "");
    let reader = channel.sampling_reader("policy=queue");
    writer.play.wait_for_readers(1);
    writer.begin("a", "application/x-test", &segment(0, 0));
    writer.push(buffer([1], 0));
    reader.pull();
    writer.push(gst::Buffer::from_slice([2]));
    let sample = reader.pull();
    assert_eq!(sample.buffer().and_then(|buffer| buffer.pts()), None);
}

#[test]
fn do_timestamp_gives_the_time_of_arrival() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue do-timestamp=true");
    let before = reader.0.current_running_time();
    let mut sent = gst::Buffer::from_slice([1]);
    sent.get_mut().expect("new").set_pts(gst::ClockTime::NONE);
    writer.push(sent);
    let sample = reader.pull();
    let pts = sample.buffer().and_then(|buffer| buffer.pts());
    assert!(pts.is_some() && pts >= before.or(Some(gst::ClockTime::ZERO)) && pts <= reader.0.current_running_time());
}

#[test]
fn another_clock_on_either_side_changes_nothing_but_noise() {
    let realtime = || gst::glib::Object::builder::<gst::SystemClock>().property("clock-type", gst::ClockType::Realtime);
    for (writers, readers) in [(true, false), (false, true), (true, true)] {
        let channel = Channel::new();
        let writer = Play::prepare(&format!(
            "appsrc name=in format=time caps=application/x-test ! valkkashmsink name=sink sync=false async=false \
             wait-for-reader=true {}",
            channel.at()
        ));
        let reader =
            Play::prepare(&format!("valkkashmsrc {} policy=queue ! appsink name=out sync=false", channel.at()));
        if writers {
            writer.0.use_clock(Some(&realtime().build()));
        }
        if readers {
            reader.0.use_clock(Some(&realtime().build()));
        }
        writer.arrive(gst::State::Playing);
        reader.play();
        until("some age", || reader.0.current_running_time() > Some(gst::ClockTime::from_mseconds(100)));
        // Now, by the writer's clock; a moment later it is not yet later by the reader's.
        let mut sent = gst::Buffer::from_slice([1]);
        let before = reader.0.current_running_time().expect("plays");
        sent.get_mut().expect("new").set_pts(writer.0.current_running_time());
        let after = reader.0.current_running_time().expect("plays");
        writer.push(sent);
        let pts = reader.pull().buffer().and_then(|buffer| buffer.pts()).expect("a PTS");
        let noise = gst::ClockTime::from_mseconds(20);
        assert!(pts + noise >= before && pts <= after + noise, "{before} <= {pts} <= {after}");
    }
}

#[test]
fn writers_latency_is_the_sources_latency() {
    let channel = Channel::new();
    // A live source of 10 frames a second has 100 ms of latency.
    let writer = Play::launch(&format!(
        "videotestsrc is-live=true ! video/x-raw,framerate=10/1,width=64,height=64 \
         ! identity name=i ! valkkashmsink name=sink sync=true {}",
        channel.at()
    ));
    let reader = channel.reader("", "queue ! fakesink name=out sync=true");
    reader.wait_for("a change of latency", |message| {
        matches!(message.view(), gst::MessageView::Latency(_)).then_some(())
    });
    let mut query = gst::query::Latency::new();
    assert!(reader.element("src").query(&mut query));
    let (live, min, max) = query.result();
    assert!(live && max.is_none());
    let mut upstream = gst::query::Latency::new();
    assert!(writer.element("i").query(&mut upstream));
    assert_eq!(min, upstream.result().1, "what is published late is late for the readers");
    drop(writer);
    // A writer that does not wait tells what upstream needs.
    let writer = Play::launch(&format!(
        "videotestsrc is-live=true ! video/x-raw,framerate=5/1,width=64,height=64 ! identity name=i \
         ! valkkashmsink name=sink sync=false {}",
        channel.at()
    ));
    let mut upstream = gst::query::Latency::new();
    until("the new latency", || {
        let mut query = gst::query::Latency::new();
        reader.element("src").query(&mut query)
            && writer.element("i").query(&mut upstream)
            && query.result().1 == upstream.result().1
            && upstream.result().1 > gst::ClockTime::ZERO
    });
}

#[test]
fn synchronised_reader_shows_live_frames_in_time() {
    let channel = Channel::new();
    let _writer = Play::launch(&format!(
        "videotestsrc is-live=true ! video/x-raw,framerate=20/1,width=64,height=64 ! valkkashmsink {}",
        channel.at()
    ));
    // A sink that throws away what comes too late.
    let reader = channel.reader("", "fakevideosink name=out sync=true max-lateness=50000000 qos=true");
    let sink = reader.element("out");
    until("frames in time", || {
        let stats = sink.property::<gst::Structure>("stats");
        stats.get::<u64>("rendered").unwrap_or(0) >= 30
    });
}
