//! Every frame is accounted for: published = taken + dropped + waiting, for every reader, at any moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gst::prelude::*;

use crate::stage::pipeline::Pipeline;
use crate::stage::{Runtime, SOON, eventually};

fn stats(pipeline: &Pipeline) -> gst::Structure {
    pipeline.element("sink").property("stats")
}

fn number(structure: &gst::StructureRef, field: &str) -> u64 {
    structure.get::<u64>(field).unwrap_or_else(|error| panic!("{error}: {structure}"))
}

/// The readers of the stats, by their id.
fn readers(stats: &gst::StructureRef) -> BTreeMap<u32, gst::Structure> {
    let readers = stats.get::<gst::Array>("readers").expect("stats tell of readers");
    let structures = readers.iter().map(|reader| reader.get::<gst::Structure>().expect("a reader is a structure"));
    structures.map(|reader| (reader.get::<u32>("id").expect("a reader has an id"), reader)).collect()
}

#[test]
fn published_is_taken_plus_dropped_plus_waiting_at_any_moment() {
    let runtime = Runtime::new();
    let camera = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=320,height=240,framerate=500/1";
    let sink = "valkkashmsink name=sink sync=false lossless-timeout=10000000000";
    let writer = Pipeline::parse(&format!("{camera} ! {sink} socket-path={}", runtime.socket("a").display()));
    writer.play();
    let source = format!("valkkashmsrc socket-path={}", runtime.socket("a").display());
    let slow = "identity sleep-time=30000 ! fakesink sync=false";
    let _readers = [
        format!("{source} policy=latest ! fakesink sync=false"),
        format!("{source} policy=latest ! {slow}"),
        format!("{source} policy=queue queue-size=16 ! {slow}"),
        format!("{source} policy=queue queue-size=1 max-held=1 ! queue ! {slow}"),
        format!("{source} policy=lossless ! fakesink sync=false"),
    ]
    .map(|reader| runtime.launch(&reader));
    eventually("five readers are there", SOON, || {
        (writer.element("sink").property::<u32>("readers") == 5).then_some(())
    });

    let start = Instant::now();
    let (mut seen, mut dropped) = (0, 0);
    while start.elapsed() < Duration::from_secs(3) {
        let stats = stats(&writer);
        for reader in readers(&stats).values() {
            let [published, taken, waiting, lost] =
                ["published", "taken", "waiting", "dropped"].map(|field| number(reader, field));
            assert_eq!(published, taken + lost + waiting, "{reader}");
            let causes =
                ["dropped-slow", "dropped-keyframe", "dropped-held", "dropped-line"].map(|cause| number(reader, cause));
            assert_eq!(lost, causes.iter().sum::<u64>(), "every drop has a cause: {reader}");
            if reader.get::<&str>("policy") == Ok("lossless") {
                assert_eq!(lost, 0, "{reader}");
            }
            (seen, dropped) = (seen + 1, dropped + lost);
        }
        let [frames, zero_copy, copied] = ["frames", "zero-copy", "copied"].map(|field| number(&stats, field));
        assert_eq!(frames, zero_copy + copied, "{stats}");
    }
    assert!(seen > 100 && dropped > 100, "{seen} looks, {dropped} drops: the readers were not slow");
}

#[test]
fn a_source_that_fills_the_sinks_slots_itself_is_never_copied() {
    let runtime = Runtime::new();
    let frames = "videotestsrc num-buffers=200 ! video/x-raw,format=RGB,width=642,height=482,framerate=30/1";
    let sink = "valkkashmsink name=sink sync=false wait-for-reader=true lossless-timeout=60000000000";
    let writer = Pipeline::parse(&format!("{frames} ! {sink} socket-path={}", runtime.socket("a").display()));
    writer.play();
    let path = runtime.socket("a");
    let mut reader =
        runtime.launch(&format!("valkkashmsrc policy=lossless socket-path={} ! fakesink sync=false", path.display()));
    reader.finish(Duration::from_secs(60));
    let stats = stats(&writer);
    assert_eq!([number(&stats, "zero-copy"), number(&stats, "copied")], [200, 0], "{stats}");
}

#[test]
fn a_reader_that_stops_and_starts_changes_the_number_of_readers() {
    let runtime = Runtime::new();
    let camera = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=64,height=48,framerate=100/1";
    let socket = runtime.socket("a");
    let writer =
        Pipeline::parse(&format!("{camera} ! valkkashmsink name=sink sync=false socket-path={}", socket.display()));
    writer.play();
    let (told, changes) = std::sync::mpsc::channel();
    let sink = writer.element("sink");
    sink.connect_notify(Some("readers"), move |sink, _| {
        let _ = told.send(sink.property::<u32>("readers"));
    });
    for round in 0..3 {
        let reader = runtime.launch(&format!("valkkashmsrc socket-path={} ! fakesink", socket.display()));
        assert_eq!(changes.recv_timeout(SOON), Ok(1), "round {round}");
        reader.crash();
        assert_eq!(changes.recv_timeout(SOON), Ok(0), "round {round}");
    }
}
