//! Nothing is left behind. One test in a process of its own: it counts the descriptors of the whole process.

mod end;

use std::fs;
use std::os::fd::AsFd;

use end::by_hand::{Liar, Scene, message, send_with};
use end::wait_until;
use rustix::event::{EventfdFlags, eventfd};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn no_descriptor_is_left_by_readers_that_come_and_go_or_send_presents() {
    descriptors_that_a_reader_sends_are_closed();
    a_reader_that_comes_and_goes_a_thousand_times_leaves_nothing();
}

fn descriptors_that_a_reader_sends_are_closed() {
    let mut scene = Scene::new();
    let liar: Liar = scene.liar();
    let gift = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let before = descriptors();
    for _ in 0..20 {
        send_with(&liar.socket, &message(4, 0, &[]), &[gift.as_fd(); 200]);
        send_with(&liar.socket, &message(5, 0, &[]), &[gift.as_fd(); 10]);
    }
    send_with(&liar.socket, &message(3, 0, &[]), &[]);
    wait_until("all has been read", || !scene.channel.recorder().key_units().is_empty());
    assert_eq!(descriptors(), before);
    scene.honest_reader_is_served();
}

fn a_reader_that_comes_and_goes_a_thousand_times_leaves_nothing() {
    let mut scene = Scene::new();
    drop(scene.liar());
    wait_until("it is gone", || scene.writer.readers() == 1);
    let before = descriptors();
    for _ in 0..1000 {
        drop(scene.liar());
    }
    wait_until("all are gone", || scene.writer.readers() == 1);
    scene.honest_reader_is_served();
    // The thread that serves them closes a line a moment after it has let the reader go.
    wait_until("all is closed", || descriptors() <= before);
}
