//! Readers that hold frames: as long as they like, without harm to anybody.

use gst::prelude::*;

use crate::stage::{Channel, assert_accounts, buffer, bytes, until};

#[test]
fn frames_that_are_held_do_not_change() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true slots=2");
    let reader = channel.sampling_reader("policy=queue queue-size=4 max-held=3");
    let mut held = Vec::new();
    for n in 0..200u8 {
        writer.push(buffer(vec![n; 10_000], n.into()));
        held.push((n, reader.pull()));
    }
    for (n, sample) in held {
        assert!(bytes(sample.buffer().expect("a buffer")).iter().all(|byte| *byte == n), "frame {n} has changed");
    }
    assert!(reader.stat("src", "copied-on-hold") >= 190);
    assert_eq!((reader.stat("src", "lost"), writer.stat("sink", "dropped")), (0, 0));
}

#[test]
fn long_queue_behind_the_source_fills_with_copies() {
    let channel = Channel::new();
    let writer =
        channel.writer("videotestsrc is-live=true ! video/x-raw,format=RGB,width=64,height=64,framerate=200/1", "");
    let reader = channel.reader(
        "policy=queue queue-size=8",
        "queue name=q max-size-buffers=200 max-size-bytes=0 max-size-time=0 ! identity name=i ! fakesink name=out sync=false",
    );
    // The queue's other end stands still.
    let pad = reader.element("i").static_pad("sink").expect("has a pad");
    let block = pad.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER, |_, _| gst::PadProbeReturn::Ok);
    until("a full queue", || reader.element("q").property::<u32>("current-level-buffers") >= 199);
    let published = writer.stat("sink", "frames");
    until("the writer goes on", || writer.stat("sink", "frames") > published + 20);
    assert_accounts(&writer.readers());
    pad.remove_probe(block.expect("was added"));
    until("the queue runs empty", || reader.element("q").property::<u32>("current-level-buffers") < 20);
    let frames = reader.stat("src", "frames");
    until("new frames", || reader.stat("src", "frames") > frames + 20);
}

#[test]
fn sink_that_keeps_its_last_sample_keeps_nobody_from_anything() {
    let channel = Channel::new();
    let writer =
        channel.writer("videotestsrc num-buffers=100 ! video/x-raw,width=64,height=64", "wait-for-reader=true slots=2");
    let reader = channel.reader("max-held=1", "fakesink name=out enable-last-sample=true sync=false");
    reader.wait_for_eos();
    writer.wait_for_eos();
    let last = reader.element("out").property::<Option<gst::Sample>>("last-sample").expect("kept");
    let before = bytes(last.buffer().expect("a buffer"));
    drop(writer);
    drop(reader);
    // Both ends are gone; the frame is not.
    assert_eq!(bytes(last.buffer().expect("a buffer")), before);
}

#[test]
fn hoarder_takes_nothing_from_another_reader() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "slots=2 async=false");
    let hoarder = channel.sampling_reader("policy=queue queue-size=4 max-held=4");
    let other = channel.sampling_reader("policy=queue queue-size=4 max-held=1");
    writer.wait_for_readers(2);
    let mut hoard = Vec::new();
    for n in 0..100u8 {
        writer.push(buffer([n; 100], n.into()));
        hoard.push(hoarder.pull());
        assert_eq!(other.pull_bytes(), [n; 100]);
    }
    assert_eq!((other.stat("src", "lost"), writer.stat("sink", "dropped")), (0, 0));
}

#[test]
fn frames_are_read_only_to_downstream() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let reader = channel.sampling_reader("policy=queue");
    writer.push(buffer([1; 100], 0));
    let sample = reader.pull();
    let mut copy = sample.buffer_owned().expect("a buffer");
    drop(sample);
    // Who wants to write gets a copy.
    copy.make_mut().map_writable().expect("a copy can be written to").fill(9);
    assert_eq!(bytes(&copy), [9; 100]);
    let again = channel.sampling_reader("");
    assert_eq!(again.pull_bytes(), [1; 100]);
}

#[test]
fn consumer_that_goes_while_frames_are_out_leaves_the_writer_as_it_was() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "slots=2 async=false");
    writer.push(buffer([0; 100], 0));
    for round in 0..30u8 {
        let reader = channel.sampling_reader("policy=queue max-held=2");
        writer.wait_for_readers(1);
        let held: Vec<_> = (0..3)
            .map(|_| {
                writer.push(buffer([round; 100], round.into()));
                reader.pull()
            })
            .collect();
        drop(reader);
        writer.wait_for_readers(0);
        drop(held);
    }
    assert_eq!(writer.stat("sink", "dropped-no-slot"), 0);
    let slots = writer.stat("sink", "slots");
    assert!(slots < 30, "{slots} slots after thirty readers");
}
