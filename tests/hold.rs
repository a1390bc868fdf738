//! Who holds frames, and how many, is a process's own affair: nothing changes under its hands, and nobody else notices.

use std::time::Duration;

use crate::stage::pipeline::{Pipeline, pull};
use crate::stage::{Runtime, SOON};

const SNOW: &str =
    "videotestsrc is-live=true pattern=snow ! video/x-raw,format=RGB,width=640,height=480,framerate=100/1";

#[test]
fn a_frame_never_changes_while_a_slow_reader_holds_it() {
    let runtime = Runtime::new();
    let _writer = runtime.launch(&format!("{SNOW} ! valkkashmsink channel=a sync=false"));
    for policy in ["latest", "queue"] {
        let (reader, sink) = Pipeline::subscriber(&runtime.socket("a"), &format!("policy={policy} max-held=4"));
        reader.play();
        // Four are slots, the others copies: the rule is the same for both.
        let held: Vec<_> = (0..8).map(|_| pull(&sink, SOON).buffer_owned().expect("a sample has a buffer")).collect();
        let mapped: Vec<_> = held.iter().map(|frame| frame.map_readable().expect("a frame can be read")).collect();
        let before: Vec<_> = mapped.iter().map(|frame| crc32(frame)).collect();
        let newest = held[7].offset();
        // The writer has filled every slot that it has many times over.
        while pull(&sink, SOON).buffer().expect("a sample has a buffer").offset() < newest + 60 {
            for (frame, before) in mapped.iter().zip(&before) {
                assert_eq!(crc32(frame), *before, "a frame changed while it was held");
            }
        }
        let mut distinct = before.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 8, "snow is never the same twice");
    }
}

#[test]
fn a_held_frame_outlives_its_writer() {
    let runtime = Runtime::new();
    let writer = runtime.launch(&format!("{SNOW} ! valkkashmsink channel=a sync=false"));
    let (reader, sink) = Pipeline::subscriber(&runtime.socket("a"), "");
    reader.play();
    let held = pull(&sink, SOON).buffer_owned().expect("a sample has a buffer");
    let before = crc32(&held.map_readable().expect("a frame can be read"));
    writer.crash();
    let _successor = runtime.launch(&format!("{SNOW} ! valkkashmsink channel=a sync=false"));
    for _ in 0..30 {
        pull(&sink, SOON);
    }
    assert_eq!(crc32(&held.map_readable().expect("a frame can be read")), before);
}

#[test]
fn a_queue_of_two_hundred_behind_the_source_fills_and_runs() {
    let runtime = Runtime::new();
    let _writer = runtime.launch(&format!("{SNOW} ! valkkashmsink channel=a sync=false"));
    // The queue lets nothing out before it has 200 buffers: far more than the slots that a reader may hold.
    let limits = "max-size-buffers=220 min-threshold-buffers=200 max-size-bytes=0 max-size-time=0";
    let hoarder = runtime.launch(&format!("valkkashmsrc channel=a ! queue {limits} ! checksumsink sync=false"));
    let neighbour = runtime.launch("valkkashmsrc channel=a ! checksumsink sync=false");
    hoarder.line(":", SOON);
    hoarder.lines_more(50, SOON);
    neighbour.lines_more(50, SOON);
}

#[test]
fn a_queue_of_two_hundred_before_the_sink_loses_nothing() {
    let runtime = Runtime::new();
    let frames = "videotestsrc num-buffers=400 pattern=snow ! video/x-raw,format=RGB,width=320,height=240";
    let queue = "queue max-size-buffers=200 min-threshold-buffers=150 max-size-bytes=0 max-size-time=0";
    let mut original = runtime.launch(&format!("{frames} ! checksumsink sync=false"));
    let mut reader = runtime.launch("valkkashmsrc channel=a policy=lossless ! checksumsink sync=false");
    let sink = "valkkashmsink channel=a sync=false wait-for-reader=true lossless-timeout=60000000000";
    let mut writer = runtime.launch(&format!("{frames} ! {queue} ! {sink}"));
    writer.finish(Duration::from_secs(120));
    let sums = |output: &str| -> Vec<String> {
        output.lines().filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned)).collect()
    };
    let arrived = sums(&reader.finish(SOON));
    assert_eq!(arrived.len(), 400);
    assert_eq!(arrived, sums(&original.finish(SOON)));
}

#[test]
fn both_processes_end_well_when_the_reader_keeps_its_last_frame() {
    let runtime = Runtime::new();
    let mut reader = runtime.launch("valkkashmsrc channel=a ! fakesink enable-last-sample=true sync=false");
    let frames = "videotestsrc num-buffers=30 ! video/x-raw,format=RGB,width=320,height=240";
    let mut writer = runtime.launch(&format!("{frames} ! valkkashmsink channel=a wait-for-reader=true sync=false"));
    writer.finish(SOON);
    reader.finish(SOON);
    assert_eq!(runtime.files(), Vec::<String>::new(), "a writer that ends takes its socket away");
}

/// Enough to see a change.
fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}
