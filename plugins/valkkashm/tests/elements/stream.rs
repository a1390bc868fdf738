//! Everything of the stream that is not a picture: caps, metas, flags, tags, events, gaps, ends.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::stage::{Bare, Channel, Play, buffer, bytes, until};

/// Events that arrive at `out`, as they arrive.
fn events_of(reader: &Play) -> Arc<Mutex<Vec<gst::Event>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pad = reader.element("out").static_pad("sink").expect("an appsink has a pad");
    let into = seen.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        into.lock().expect("no panic").extend(info.event().cloned());
        gst::PadProbeReturn::Ok
    });
    seen
}

/// A reader, and all events that arrive at its `out`: looked for before it plays, since they may be there at once.
fn watched_reader(channel: &Channel) -> (Play, Arc<Mutex<Vec<gst::Event>>>) {
    let reader = Play::prepare(&format!("valkkashmsrc name=src {} ! appsink name=out sync=false", channel.at()));
    let seen = events_of(&reader);
    reader.play();
    (reader, seen)
}

fn wait_for_event<T>(seen: &Mutex<Vec<gst::Event>>, what: &str, find: impl Fn(&gst::Event) -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = seen.lock().expect("no panic").iter().find_map(&find);
        found.is_some()
    });
    found.expect("found")
}

fn send(writer: &Play, event: gst::Event) {
    assert!(writer.input().send_event(event), "the event was taken");
}

#[test]
fn caps_of_any_kind_arrive() {
    let caps = [
        "application/x-rtp, media=(string)video, clock-rate=(int)90000, encoding-name=(string)H264",
        "audio/x-raw, format=(string)S16LE, rate=(int)48000, channels=(int)2, layout=(string)interleaved",
        "video/x-h264, codec_data=(buffer)01640028ffe1, stream-format=(string)avc, alignment=(string)au",
        "video/x-raw, format=(string)RGB, width=(int)2, height=(int)1, framerate=(fraction)0/1, \
         colorimetry=(string)sRGB, note=(string)\"a \\\"b\\\"; c, d\"",
        "application/x-nested, s=(structure)[inner, array=(int)< 3, 4 >]",
    ];
    for text in caps {
        let channel = Channel::new();
        let caps: gst::Caps = text.parse().expect("valid caps");
        let writer = channel.fed_writer(text, "wait-for-reader=true");
        let reader = channel.sampling_reader("policy=queue");
        writer.push(buffer([0; 8], 0));
        assert_eq!(reader.pull().caps().map(|caps| caps.to_owned()), Some(caps));
    }
}

#[test]
fn streams_without_caps_pass_too() {
    let channel = Channel::new();
    let writer = channel.fed_writer("", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    writer.push(buffer(*b"anything", 0));
    assert_eq!(reader.pull_bytes(), b"anything");
}

#[test]
fn caps_change_to_larger_and_smaller_frames_without_loss() {
    let channel = Channel::new();
    let writer = channel.fed_writer("", "wait-for-reader=true lossless-timeout=30000000000");
    let reader = channel.sampling_reader("policy=lossless queue-size=2");
    let sizes = [(64, 48), (1920, 1080), (32, 32), (2560, 1440), (64, 48)];
    let mut held = Vec::new();
    let mut value = 0u8;
    for (width, height) in sizes {
        let caps = format!("video/x-raw,format=GRAY8,width={width},height={height}");
        writer.input().set_caps(Some(&caps.parse().expect("valid caps")));
        for n in 0..4 {
            value += 1;
            writer.push(buffer(vec![value; width * height], n));
            let sample = reader.pull();
            let structure = sample.caps().and_then(|caps| caps.structure(0)).expect("caps");
            assert_eq!((structure.get("width"), structure.get("height")), (Ok(width as i32), Ok(height as i32)));
            held.push((value, width * height, sample));
        }
    }
    assert_eq!(reader.stat("src", "lost"), 0);
    // Old frames stay as they were, in whatever memory they are.
    for (value, size, sample) in held {
        let map = sample.buffer().expect("a sample has a buffer").map_readable().expect("maps");
        assert!(map.len() == size && map.iter().all(|byte| *byte == value), "frame {value} has changed");
    }
}

#[test]
fn converter_upstream_follows_a_change_to_larger_frames_and_stays_without_copies() {
    let channel = Channel::new();
    let writer = channel.writer(
        "videotestsrc ! videoconvert ! videoscale ! capsfilter name=size caps=video/x-raw,format=RGB,width=160,height=120",
        "",
    );
    let reader = channel.sampling_reader("");
    let mut wanted = 160;
    for width in [640, 320, 1280] {
        let caps = format!("video/x-raw,format=RGB,width={width},height={}", width * 3 / 4);
        reader.pull();
        writer.element("size").set_property("caps", caps.parse::<gst::Caps>().expect("valid caps"));
        until("the new size", || {
            let sample = reader.pull();
            let caps = sample.caps().and_then(|caps| caps.structure(0)).expect("caps");
            wanted = caps.get::<i32>("width").expect("a width");
            sample.buffer().expect("a buffer").size() as i32 == wanted * wanted * 3 / 4 * 3 && wanted == width
        });
        reader.output().set_property("max-buffers", 1000u32);
    }
    let (zero_copy, copied) = (writer.stat("sink", "zero-copy"), writer.stat("sink", "copied"));
    assert!(copied <= 2 * 3, "{copied} of {} frames were copied", zero_copy + copied);
}

#[test]
fn flags_and_durations_arrive() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    let flags = gst::BufferFlags::MARKER | gst::BufferFlags::HEADER | gst::BufferFlags::DROPPABLE;
    for n in 0..2 {
        let mut sent = buffer([1], n);
        let sent_ref = sent.get_mut().expect("new");
        sent_ref.set_flags(flags);
        sent_ref.set_duration(gst::ClockTime::from_mseconds(40));
        writer.push(sent);
    }
    let first = reader.pull();
    let first = first.buffer().expect("a buffer");
    assert!(first.flags().contains(flags | gst::BufferFlags::DISCONT), "{:?}", first.flags());
    assert_eq!(first.duration(), Some(gst::ClockTime::from_mseconds(40)));
    let second = reader.pull();
    let second = second.buffer().expect("a buffer");
    assert!(second.flags().contains(flags) && !second.flags().contains(gst::BufferFlags::DISCONT));
    assert_eq!(second.offset(), first.offset() + 1);
}

#[test]
fn each_buffer_says_which_frame_it_is() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true checksum=true");
    let reader = channel.sampling_reader("policy=queue");
    for n in 0..3u64 {
        let before = frame_ring::monotonic_now();
        writer.push(buffer([1], n));
        let sample = reader.pull();
        let buffer = sample.buffer().expect("a buffer");
        let meta = gst::meta::CustomMeta::from_buffer(buffer, "valkka-frame").expect("on every buffer");
        let structure = meta.structure();
        assert_eq!(structure.get::<u64>("seq"), Ok(n));
        assert_eq!(buffer.offset(), n);
        assert!(structure.get::<u64>("generation").expect("there") > 0);
        let published = structure.get::<i64>("published").expect("there");
        assert!(published >= before && published <= frame_ring::monotonic_now());
        assert!(structure.get::<u64>("latency").expect("there") < 30_000_000_000);
        assert!(!buffer.flags().contains(gst::BufferFlags::CORRUPTED));
    }
}

#[test]
fn metas_arrive_also_when_they_are_large() {
    use gst_video::VideoRegionOfInterestMeta as Region;

    let channel = Channel::new();
    gst::meta::CustomMeta::register("valkka-test-stream", &[]);
    let writer = channel.fed_writer("video/x-raw,format=GRAY8,width=64,height=64", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    for size in [10, 1_000_000, 10] {
        let text: String = "ab\"c;".chars().cycle().take(size).collect();
        let mut sent = buffer([7; 4096], 0);
        {
            let sent = sent.get_mut().expect("new");
            Region::add(sent, "person", (1, 2, 3, 4)).add_param(gst::Structure::builder("p").field("x", 5).build());
            let mut custom = gst::meta::CustomMeta::add(sent, "valkka-test-stream").expect("registered");
            custom.mut_structure().set("text", &text);
            let time = gst::ClockTime::from_seconds(9);
            gst::ReferenceTimestampMeta::add(sent, &gst::Caps::new_empty_simple("timestamp/x-ntp"), time, None);
        }
        writer.push(sent);
        let sample = reader.pull();
        let buffer = sample.buffer().expect("a buffer");
        let region = buffer.meta::<Region>().expect("arrives");
        assert_eq!((region.rect(), region.roi_type()), ((1, 2, 3, 4), "person"));
        assert_eq!(region.param("p").expect("arrives").get::<i32>("x"), Ok(5));
        let custom = gst::meta::CustomMeta::from_buffer(buffer, "valkka-test-stream").expect("arrives");
        assert!(custom.structure().get::<&str>("text").expect("arrives") == text);
        let reference = buffer.meta::<gst::ReferenceTimestampMeta>().expect("arrives");
        assert_eq!(reference.timestamp(), gst::ClockTime::from_seconds(9));
        assert!(buffer.map_readable().expect("maps").iter().all(|byte| *byte == 7));
    }
    assert_eq!(writer.stat("sink", "metas-dropped"), 0);
    assert_eq!(reader.stat("src", "metas-dropped"), 0);
}

#[test]
fn large_metas_on_a_frame_in_a_slot_cost_a_copy_once() {
    let channel = Channel::new();
    gst::meta::CustomMeta::register("valkka-test-slot", &[]);
    let source = "videotestsrc num-buffers=5 ! video/x-raw,format=GRAY8,width=64,height=64 ! identity name=probe";
    let writer =
        Play::prepare(&format!("{source} ! valkkashmsink name=sink sync=false wait-for-reader=true {}", channel.at()));
    let pad = writer.element("probe").static_pad("src").expect("has one");
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            let mut meta = gst::meta::CustomMeta::add(buffer.make_mut(), "valkka-test-slot").expect("registered");
            meta.mut_structure().set("text", "x".repeat(100_000));
        }
        gst::PadProbeReturn::Ok
    });
    writer.play();
    let reader = channel.sampling_reader("policy=queue queue-size=8");
    for _ in 0..5 {
        let sample = reader.pull();
        let meta = gst::meta::CustomMeta::from_buffer(sample.buffer().expect("a buffer"), "valkka-test-slot");
        assert_eq!(meta.expect("arrives").structure().get::<&str>("text").expect("there").len(), 100_000);
    }
    // From then on slots have room for them.
    let (zero_copy, copied) = (writer.stat("sink", "zero-copy"), writer.stat("sink", "copied"));
    assert!(zero_copy >= 3 && copied <= 2, "{zero_copy} without a copy, {copied} with");
}

#[test]
fn tags_reach_readers_that_come_later() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    let mut tags = gst::TagList::new();
    tags.get_mut().expect("new").add::<gst::tags::Title>(&"Lobby; \"north\"", gst::TagMergeMode::Append);
    writer.push(buffer([1], 0));
    send(&writer, gst::event::Tag::new(tags));
    writer.push(buffer([2], 1));
    until("two frames", || writer.stat("sink", "frames") == 2);
    let (reader, seen) = watched_reader(&channel);
    assert_eq!(reader.pull_bytes(), [2], "the newest frame, at once");
    let title = wait_for_event(&seen, "the tags", |event| match event.view() {
        gst::EventView::Tag(tag) => tag.tag().get::<gst::tags::Title>().map(|title| title.get().to_string()),
        _ => None,
    });
    assert_eq!(title, "Lobby; \"north\"");
}

#[test]
fn custom_events_arrive_in_order_with_frames() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue queue-size=16");
    writer.push(buffer([0], 0));
    reader.pull();
    let order = Arc::new(Mutex::new(Vec::new()));
    let pad = reader.element("out").static_pad("sink").expect("an appsink has a pad");
    let into = order.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER, move |_, info| {
        let n = match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => Some(i32::from(buffer.map_readable().expect("maps")[0])),
            Some(gst::PadProbeData::Event(event)) => event.structure().and_then(|s| s.get::<i32>("n").ok()),
            _ => None,
        };
        into.lock().expect("no panic").extend(n);
        gst::PadProbeReturn::Ok
    });
    for n in 1..6 {
        let structure = gst::Structure::builder("my-event").field("n", -i32::from(n)).build();
        send(&writer, gst::event::CustomDownstream::new(structure));
        writer.push(buffer([n], n.into()));
    }
    until("all of them", || order.lock().expect("no panic").len() >= 10);
    assert_eq!(*order.lock().expect("no panic"), [-1, 1, -2, 2, -3, 3, -4, 4, -5, 5]);
}

#[test]
fn event_without_a_frame_behind_it_arrives_at_once() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    writer.push(buffer([0], 0));
    until("a frame", || writer.stat("sink", "frames") == 1);
    let reader = Play::prepare(&format!("valkkashmsrc {} initial-frame=next ! appsink name=out", channel.at()));
    let seen = events_of(&reader);
    reader.play();
    writer.wait_for_readers(1);
    let structure = gst::Structure::builder("alone").build();
    send(&writer, gst::event::CustomDownstream::new(structure));
    let is = |name: &'static str| {
        move |event: &gst::Event| event.structure().is_some_and(|s| s.name() == name).then_some(())
    };
    wait_for_event(&seen, "the event", is("alone"));
    let kinds: Vec<_> = seen.lock().expect("no panic").iter().map(|event| event.type_()).collect();
    use gst::EventType as Type;
    let position =
        |kind| kinds.iter().position(|found| *found == kind).unwrap_or_else(|| panic!("{kind:?} in {kinds:?}"));
    assert!(position(Type::StreamStart) < position(Type::Caps));
    assert!(position(Type::Caps) < position(Type::Segment));
    assert!(position(Type::Segment) < position(Type::CustomDownstream));
    assert_eq!(kinds.iter().filter(|kind| **kind == Type::Segment).count(), 1);
}

#[test]
fn sticky_custom_events_reach_readers_that_come_later() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    writer.push(buffer([1], 0));
    for n in [1, 2] {
        let structure = gst::Structure::builder("sticky-one").field("n", n).build();
        send(&writer, gst::event::CustomDownstreamSticky::new(structure));
    }
    send(&writer, gst::event::CustomDownstreamSticky::new(gst::Structure::new_empty("sticky-two")));
    writer.push(buffer([2], 1));
    until("two frames", || writer.stat("sink", "frames") == 2);
    let (reader, seen) = watched_reader(&channel);
    reader.pull();
    let of = |name: &'static str| {
        move |event: &gst::Event| event.structure().filter(|s| s.name() == name).map(|s| s.to_owned())
    };
    assert_eq!(wait_for_event(&seen, "the first", of("sticky-one")).get::<i32>("n"), Ok(2));
    wait_for_event(&seen, "the second", of("sticky-two"));
}

#[test]
fn gaps_and_downstream_key_units_arrive_with_their_time() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    let seen = events_of(&reader);
    writer.push(buffer([0], 1_000));
    let first = reader.pull().buffer().and_then(|buffer| buffer.pts()).expect("has a time");
    let ms = gst::ClockTime::from_mseconds;
    send(&writer, gst::event::Gap::builder(ms(1_500)).duration(ms(40)).build());
    let key_unit = gst_video::DownstreamForceKeyUnitEvent::builder().running_time(ms(1_700)).all_headers(true).count(3);
    send(&writer, key_unit.build());
    let (start, duration) = wait_for_event(&seen, "the gap", |event| match event.view() {
        gst::EventView::Gap(gap) => Some(gap.get()),
        _ => None,
    });
    assert_eq!((start, duration), (first + ms(500), Some(ms(40))));
    let key_unit =
        wait_for_event(&seen, "the key unit", |event| gst_video::DownstreamForceKeyUnitEvent::parse(event).ok());
    assert_eq!(key_unit.running_time, Some(first + ms(700)));
    assert_eq!((key_unit.all_headers, key_unit.count), (true, 3));
}

#[test]
fn end_of_stream_arrives_and_stopping_afterwards_is_no_error() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue on-writer-lost=error");
    for n in 0..4 {
        writer.push(buffer([n], n.into()));
    }
    writer.input().end_of_stream().expect("taken");
    writer.wait_for_eos();
    drop(writer);
    for n in 0..4 {
        assert_eq!(reader.pull_bytes(), [n]);
    }
    reader.wait_for_eos();
}

#[test]
fn flush_is_not_forwarded_but_the_next_frame_is_discontinuous() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    let seen = events_of(&reader);
    for n in 0..2 {
        writer.push(buffer([n], n.into()));
        reader.pull();
    }
    let input = writer.input();
    assert!(input.send_event(gst::event::FlushStart::new()));
    assert!(input.send_event(gst::event::FlushStop::new(true)));
    writer.push(buffer([2], 0));
    let sample = reader.pull();
    let flags = sample.buffer().expect("a buffer").flags();
    assert!(flags.contains(gst::BufferFlags::DISCONT), "{flags:?}");
    let flushed = |event: &gst::Event| event.type_() == gst::EventType::FlushStart;
    assert!(!seen.lock().expect("no panic").iter().any(flushed));
}

#[test]
fn stream_after_the_end_reaches_readers_that_wait_for_it() {
    let channel = Channel::new();
    let writer = Bare::new(&channel, "");
    let reader = channel.sampling_reader("policy=queue forward-eos=false");
    writer.play.wait_for_readers(1);
    let segment = gst::FormattedSegment::new();
    writer.begin("first", "application/x-test", &segment);
    writer.push(buffer([1], 0));
    assert_eq!(reader.pull_bytes(), [1]);
    let mut tags = gst::TagList::new();
    tags.get_mut().expect("new").add::<gst::tags::Title>(&"first", gst::TagMergeMode::Append);
    writer.event(gst::event::Tag::new(tags));
    writer.event(gst::event::Eos::new());
    // A sink that has ended begins again after a flush only.
    writer.event(gst::event::FlushStart::new());
    writer.event(gst::event::FlushStop::new(true));
    writer.begin("second", "application/x-other", &segment);
    writer.push(buffer([2], 0));
    let sample = reader.pull();
    let second = sample.buffer().expect("a buffer");
    assert_eq!(bytes(second), [2]);
    assert!(second.flags().contains(gst::BufferFlags::DISCONT));
    assert_eq!(sample.caps().map(|caps| caps.to_string()).as_deref(), Some("application/x-other"));
    // The first stream's tags are not the second's.
    let (late, seen) = watched_reader(&channel);
    late.pull();
    let tagged = |event: &gst::Event| match event.view() {
        gst::EventView::Tag(tag) => tag.tag().n_tags() > 0,
        _ => false,
    };
    assert!(!seen.lock().expect("no panic").iter().any(tagged));
}
