//! What readers say to the writer: replies and requests for keyframes.

use std::sync::{Arc, Mutex};

use gst::prelude::*;

use crate::stage::{Channel, Play, buffer, bytes, until};

/// Upstream events that come out of the sink.
fn upstream_events(writer: &Play) -> Arc<Mutex<Vec<gst::Event>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let pad = writer.element("sink").static_pad("sink").expect("a sink has a pad");
    let into = seen.clone();
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        into.lock().expect("no panic").extend(info.event().cloned());
        gst::PadProbeReturn::Ok
    });
    seen
}

/// Writer and reader that have met over one frame, and the frame's number.
fn met(channel: &Channel) -> (Play, Play, (u64, u64)) {
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    writer.push(buffer([1], 0));
    let sample = reader.pull();
    let meta = gst::meta::CustomMeta::from_buffer(sample.buffer().expect("a buffer"), "valkka-frame").expect("there");
    let number = |field| meta.structure().get::<u64>(field).expect("there");
    let frame = (number("generation"), number("seq"));
    (writer, reader, frame)
}

#[test]
fn json_reply_becomes_a_message_and_an_upstream_event() {
    let channel = Channel::new();
    let (writer, reader, (generation, seq)) = met(&channel);
    let events = upstream_events(&writer);
    let json = r#"{"boxes":[{"x":0.5,"label":"a \"cat\""}]}"#;
    let reply = gst::Structure::builder("valkka-reply").field("json", json);
    let reply = reply.field("generation", generation).field("seq", seq).build();
    // From downstream, as an element would.
    let pad = reader.element("out").static_pad("sink").expect("has a pad");
    assert!(pad.push_event(gst::event::CustomUpstream::new(reply)));
    let message = writer.wait_for_element_message("valkka-reply");
    assert_eq!(message.get::<&str>("json"), Ok(json));
    assert_eq!((message.get("generation"), message.get("seq")), (Ok(generation), Ok(seq)));
    assert_eq!(message.get::<u32>("reader"), writer.readers()[0].get::<u32>("id"));
    until("the event", || {
        let events = events.lock().expect("no panic");
        events.iter().any(|event| event.structure().is_some_and(|structure| *structure == *message))
    });
}

#[test]
fn reply_through_a_relay_names_the_frame_of_each_channel() {
    let (first, second) = (Channel::new(), Channel::new());
    let camera = first.fed_writer("application/x-test", "wait-for-reader=true");
    let relay = first.reader(
        "policy=queue queue-size=8",
        &format!("valkkashmsink name=sink sync=false wait-for-reader=true {}", second.at()),
    );
    let events = upstream_events(&camera);
    let reader = second.sampling_reader("policy=queue queue-size=8");
    // The relay's first frame is not the camera's first.
    for n in 0..4 {
        camera.push(buffer([n], u64::from(n)));
    }
    let answered = (0..4).map(|_| {
        let sample = reader.pull();
        let meta =
            gst::meta::CustomMeta::from_buffer(sample.buffer().expect("a buffer"), "valkka-frame").expect("there");
        let number = |field| meta.structure().get::<u64>(field).expect("there");
        let (frame, shown) = ((number("generation"), number("seq")), bytes(sample.buffer().expect("a buffer"))[0]);
        let json = format!("{{\"shown\":{shown}}}");
        let reply = gst::Structure::builder("valkka-reply").field("json", json);
        let reply = reply.field("generation", frame.0).field("seq", frame.1).build();
        assert!(reader.element("src").send_event(gst::event::CustomUpstream::new(reply)));
        let message = relay.wait_for_element_message("valkka-reply");
        assert_eq!((message.get("generation"), message.get("seq")), (Ok(frame.0), Ok(frame.1)), "its own frame");
        (
            shown,
            message.get::<u64>("origin-generation").expect("there"),
            message.get::<u64>("origin-seq").expect("there"),
        )
    });
    for (shown, generation, seq) in answered.collect::<Vec<_>>() {
        let message = camera.wait_for_element_message("valkka-reply");
        assert_eq!(message.get::<String>("json"), Ok(format!("{{\"shown\":{shown}}}")), "still JSON, and nothing else");
        assert_eq!((message.get("generation"), message.get("seq")), (Ok(generation), Ok(seq)));
        assert_eq!(u64::from(shown), seq, "the camera's frame");
        assert!(!message.has_field("origin-seq"), "the camera has nothing upstream");
    }
    until("four events", || events.lock().expect("no panic").len() >= 4);
}

#[test]
fn any_structure_can_be_a_reply() {
    let channel = Channel::new();
    let (writer, reader, _) = met(&channel);
    let box_ = gst::Structure::builder("box").field("x", 1).build();
    let reply = gst::Structure::builder("valkka-reply").field("box", box_.clone()).field("text", "a; b").build();
    // From the application, to the element.
    assert!(reader.element("src").send_event(gst::event::CustomUpstream::new(reply)));
    let message = writer.wait_for_element_message("valkka-reply");
    assert_eq!(message.get::<gst::Structure>("box"), Ok(box_));
    assert_eq!(message.get::<&str>("text"), Ok("a; b"));
    assert!(!message.has_field("seq"));
}

#[test]
fn replies_keep_their_order_and_their_readers() {
    let channel = Channel::new();
    let (writer, first, _) = met(&channel);
    let second = channel.sampling_reader("policy=queue");
    writer.wait_for_readers(2);
    second.pull();
    for n in 0..50 {
        for (who, reader) in [("first", &first), ("second", &second)] {
            let reply = gst::Structure::builder("valkka-reply").field("n", n).field("who", who).build();
            assert!(reader.element("src").send_event(gst::event::CustomUpstream::new(reply)));
        }
    }
    let mut next = std::collections::HashMap::new();
    let mut readers = std::collections::HashMap::new();
    for _ in 0..100 {
        let message = writer.wait_for_element_message("valkka-reply");
        let who = message.get::<String>("who").expect("there");
        let reader = message.get::<u32>("reader").expect("there");
        assert_eq!(*readers.entry(who.clone()).or_insert(reader), reader);
        let next = next.entry(who).or_insert(0);
        assert_eq!(message.get::<i32>("n"), Ok(*next));
        *next += 1;
    }
    assert_ne!(readers["first"], readers["second"]);
}

#[test]
fn reply_that_is_too_long_or_has_no_writer_is_not_taken() {
    let channel = Channel::new();
    let (writer, reader, _) = met(&channel);
    let reply = |n| gst::Structure::builder("valkka-reply").field("json", "x".repeat(n)).build();
    let src = reader.element("src");
    assert!(!src.send_event(gst::event::CustomUpstream::new(reply(70_000))));
    assert!(src.send_event(gst::event::CustomUpstream::new(reply(65_536))));
    assert_eq!(writer.wait_for_element_message("valkka-reply").get::<&str>("json").expect("there").len(), 65_536);
    drop(writer);
    reader.wait_for_element_message("valkka-writer-lost");
    assert!(!src.send_event(gst::event::CustomUpstream::new(reply(1))));
}

#[test]
fn request_for_a_keyframe_goes_up_to_the_encoder() {
    let channel = Channel::new();
    let (writer, reader, _) = met(&channel);
    let events = upstream_events(&writer);
    let request = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
    let pad = reader.element("out").static_pad("sink").expect("has a pad");
    assert!(pad.push_event(request));
    until("the request", || {
        events.lock().expect("no panic").iter().any(|event| gst_video::ForceKeyUnitEvent::is(event))
    });
}

#[test]
fn application_hears_of_readers_that_come_and_go() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    let reader = channel.sampling_reader("policy=queue queue-size=3 max-held=5");
    let added = writer.wait_for_element_message("valkka-reader-added");
    assert_eq!(added.get::<&str>("policy"), Ok("queue"));
    assert_eq!((added.get("queue-size"), added.get("max-held")), (Ok(3u32), Ok(5u32)));
    assert_eq!(added.get::<i32>("pid"), Ok(std::process::id() as i32));
    let connected = reader.wait_for_element_message("valkka-writer-connected");
    assert_eq!(connected.get::<i32>("pid"), Ok(std::process::id() as i32));
    assert_eq!((connected.get("queue-size"), connected.get("max-held")), (Ok(3u32), Ok(5u32)));
    assert_eq!(connected.get::<u32>("reader"), added.get::<u32>("reader"));
    drop(reader);
    let removed = writer.wait_for_element_message("valkka-reader-removed");
    assert_eq!(removed.get::<u32>("reader"), added.get::<u32>("reader"));
    assert_eq!(removed.get::<bool>("error"), Ok(false));
    assert_eq!(writer.element("sink").property::<u32>("readers"), 0);
}

#[test]
fn number_of_readers_notifies() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    writer.element("sink").connect_notify(Some("readers"), move |sink, _| {
        into.lock().expect("no panic").push(sink.property::<u32>("readers"));
    });
    let reader = channel.sampling_reader("");
    until("one reader", || seen.lock().expect("no panic").contains(&1));
    drop(reader);
    until("none again", || seen.lock().expect("no panic").last() == Some(&0));
}

#[test]
fn slow_reader_is_told_of_and_its_losses_counted() {
    let channel = Channel::new();
    let writer = channel.writer("videotestsrc ! video/x-raw,width=64,height=64", "");
    let reader = channel.reader("policy=queue queue-size=2", "identity sleep-time=100000 ! fakesink sync=false");
    let slow = writer.wait_for_element_message("valkka-reader-slow");
    assert!(slow.get::<u64>("dropped").expect("there") > 0);
    let lost = reader.wait_for_element_message("valkka-frames-lost");
    assert!(lost.get::<u64>("lost").expect("there") > 0);
    until("losses", || reader.stat("src", "lost") > 0);
    crate::stage::assert_accounts(&writer.readers());
}
