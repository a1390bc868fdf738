//! Every way to end the analyser.

use std::io::{Write, pipe};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;

use crate::analyser::Analyser;
use crate::camera::Camera;
use crate::runtime_dir;

#[test]
fn signals_end_it_well() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = runtime_dir();
        let camera = Camera::open(folder.path(), "lobby.rgb");
        let mut analyser = Analyser::start(folder.path(), "--channel lobby.rgb --channel never.rgb");
        camera.wait_for_reader();
        analyser.signal(signal);
        assert_eq!(analyser.end().code(), Some(0), "{signal}");
    }
}

#[test]
fn signal_ends_it_while_nobody_reads_its_lines() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let (_unread, mut full) = pipe().expect("there are descriptors left");
    let room = fcntl(&full, FcntlArg::F_SETPIPE_SZ(4096)).expect("a pipe can be small");
    full.write_all(&vec![b'\n'; room as usize]).expect("the pipe takes that much");
    let mut analyser = Analyser::start_onto(folder.path(), "--channel lobby.rgb", full);
    camera.wait_for_reader();
    let id = camera.show(None);
    // The writer is answered first; for the line there is no room.
    assert_eq!(camera.reply().0, id);
    analyser.signal(Signal::SIGTERM);
    assert_eq!(analyser.end().code(), Some(0));
}

#[test]
fn closed_output_ends_it_well_even_without_frames() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let (lines, stdout) = pipe().expect("there are descriptors left");
    let mut analyser = Analyser::start_onto(folder.path(), "--channel lobby.rgb", stdout);
    camera.wait_for_reader();
    drop(lines);
    assert_eq!(analyser.end().code(), Some(0));
}

#[test]
fn end_of_all_streams_ends_it_when_asked_to() {
    let folder = runtime_dir();
    let (first, second) = (Camera::open(folder.path(), "a.rgb"), Camera::open(folder.path(), "b.rgb"));
    let mut analyser = Analyser::start(folder.path(), "--channel a.rgb --channel b.rgb --policy lossless --until-eos");
    first.wait_for_reader();
    second.wait_for_reader();
    first.show(None);
    assert_eq!(analyser.message()["camera"], "a");
    first.eos();
    analyser.says("a.rgb: its stream has ended");
    second.show(None);
    assert_eq!(analyser.message()["camera"], "b", "the other channel is still served");
    second.eos();
    assert_eq!(analyser.end().code(), Some(0));
}
