//! A reader that stands still (SIGSTOP) is a nuisance to nobody.

use nix::sys::signal::Signal;

use crate::stage::{Runtime, SOON};

const CAMERA: &str = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=640,height=480,framerate=50/1";

#[test]
fn a_stopped_reader_changes_nothing_for_the_others_nor_for_the_writers_memory() {
    let runtime = Runtime::new();
    let mut writer = runtime.launch(&format!("{CAMERA} ! valkkashmsink channel=a sync=false"));
    let readers: Vec<_> = ["latest", "queue"]
        .iter()
        .map(|policy| runtime.launch(&format!("valkkashmsrc channel=a policy={policy} ! checksumsink sync=false")))
        .collect();
    let other = runtime.launch("valkkashmsrc channel=a policy=queue ! checksumsink sync=false");
    for reader in readers.iter().chain([&other]) {
        reader.lines_more(25, SOON);
    }
    let memory_before = writer.memory_bytes();
    for reader in &readers {
        reader.signal(Signal::SIGSTOP);
    }

    // Five seconds of video: 230 MB, were it kept for somebody. A few MB come and go with whoever shares libraries with it.
    other.lines_more(250, SOON);
    let grown = writer.memory_bytes().saturating_sub(memory_before);
    assert!(grown < 64 << 20, "the writer has grown by {grown} bytes");

    writer.signal(Signal::SIGINT);
    writer.wait(SOON);

    for reader in &readers {
        reader.signal(Signal::SIGCONT);
    }
    let mut successor = runtime.launch(&format!("{CAMERA} ! valkkashmsink channel=a sync=false"));
    for reader in readers.iter().chain([&other]) {
        reader.lines_more(10, SOON);
    }
    assert!(successor.is_running());
}

#[test]
fn a_stopped_lossless_reader_is_left_behind_after_the_timeout() {
    let runtime = Runtime::new();
    let sink = "valkkashmsink channel=a sync=false lossless-timeout=5000000000";
    let mut writer = runtime.launch(&format!("{CAMERA} ! {sink}"));
    let mut stopped = runtime.launch("valkkashmsrc channel=a policy=lossless ! checksumsink sync=false");
    let other = runtime.launch("valkkashmsrc channel=a ! checksumsink sync=false");
    stopped.lines_more(10, SOON);
    other.lines_more(10, SOON);
    stopped.signal(Signal::SIGSTOP);
    other.lines_more(100, SOON);
    stopped.signal(Signal::SIGCONT);
    assert!(!stopped.fail(SOON).is_empty(), "a reader that loses frames that it was promised says so");
    assert!(writer.is_running());
}

#[test]
fn a_stopped_writer_does_not_keep_a_reader_from_ending() {
    let runtime = Runtime::new();
    let writer = runtime.launch(&format!("{CAMERA} ! valkkashmsink channel=a sync=false"));
    let mut reader = runtime.launch("valkkashmsrc channel=a ! checksumsink sync=false");
    reader.lines_more(10, SOON);
    writer.signal(Signal::SIGSTOP);
    reader.signal(Signal::SIGINT);
    reader.wait(SOON);
}

#[test]
fn a_reader_that_waits_for_its_writer_ends_when_asked() {
    let runtime = Runtime::new();
    let mut reader = runtime.launch("valkkashmsrc channel=never ! checksumsink sync=false");
    reader.watches(SOON);
    reader.signal(Signal::SIGINT);
    reader.wait(SOON);
}
