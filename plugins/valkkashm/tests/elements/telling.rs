//! The elements tell the application something, which asks them at once for more.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use gst::{glib, prelude::*};

use crate::stage::{Channel, Play, buffer, larger_than_any_slot, until};

/// Long for reading properties, and shorter than a test waits for what comes then.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was told, and whether all properties could be read before the element went on.
type Told = Arc<Mutex<Vec<(String, bool)>>>;

/// Reads all properties of `element` while it posts a message; in another thread, so that a test can fail and does not hang.
fn read_when_told(play: &Play, element: &str) -> Told {
    let (element, told) = (play.element(element), Told::default());
    let bus = play.0.bus().expect("a pipeline has a bus");
    bus.set_sync_handler({
        let told = told.clone();
        move |_, message| {
            if message.src() == Some(element.upcast_ref()) {
                let kind = message.structure().map_or("", |structure| structure.name()).to_string();
                told.lock().expect("no panic").push((kind, can_be_read(&element)));
            }
            gst::BusSyncReply::Pass
        }
    });
    told
}

fn can_be_read(element: &gst::Element) -> bool {
    let (done, all) = mpsc::channel();
    let element = element.clone();
    thread::spawn(move || {
        let readable = |property: &&glib::ParamSpec| property.flags().contains(glib::ParamFlags::READABLE);
        for property in element.list_properties().iter().filter(readable) {
            element.property_value(property.name());
        }
        // Too late for somebody who has lost patience.
        let _ = done.send(());
    });
    all.recv_timeout(PATIENCE).is_ok()
}

#[track_caller]
fn assert_read(told: &Told, kinds: &[&str]) {
    let told = told.lock().expect("no panic").clone();
    assert!(told.iter().all(|(_, read)| *read), "{told:?}");
    for kind in kinds {
        assert!(told.iter().any(|(other, _)| other == kind), "{kind} was not told: {told:?}");
    }
}

#[test]
fn properties_can_be_read_while_the_source_tells_that_its_writer_is_lost() {
    let channel = Channel::new();
    let reader = Play::prepare(&format!("valkkashmsrc name=src {} on-writer-lost=error ! fakesink", channel.at()));
    let told = read_when_told(&reader, "src");
    reader.play();
    let writer = channel.fed_writer("application/x-test", "wait-for-reader=true");
    writer.push(buffer([1], 0));
    until("a frame", || reader.stat("src", "frames") == 1);
    drop(writer);
    reader.wait_for_error();
    assert_read(&told, &["valkka-writer-connected", "valkka-writer-lost", "GstMessageError"]);
}

#[test]
fn properties_can_be_read_while_the_sink_tells_of_readers_and_of_a_frame_that_it_cannot_publish() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "async=false");
    let told = read_when_told(&writer, "sink");
    let reader = channel.sampling_reader("");
    writer.wait_for_readers(1);
    drop(reader);
    writer.wait_for_readers(0);
    writer.push(larger_than_any_slot());
    writer.wait_for_error();
    assert_read(&told, &["valkka-reader-added", "valkka-reader-removed", "GstMessageError"]);
}
