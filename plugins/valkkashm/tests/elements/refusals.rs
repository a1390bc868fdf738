//! Bad input: each kind is an element error that says what to do.

use gst::prelude::*;

use crate::stage::{Channel, Play, buffer, init, larger_than_any_slot};

/// The text of the error with which `description` fails to start.
fn fails_to_start(description: &str) -> gst::glib::Error {
    let play = Play::prepare(description);
    assert!(play.0.set_state(gst::State::Playing).is_err(), "{description} starts");
    play.wait_for_error()
}

#[track_caller]
fn assert_says(error: &gst::glib::Error, kind: gst::ResourceError, words: &[&str]) {
    assert_eq!(error.kind::<gst::ResourceError>(), Some(kind), "{error}");
    for word in words {
        assert!(error.message().contains(word), "{error:?} does not say {word:?}");
    }
}

#[test]
fn element_without_a_channel_says_which_property_to_set() {
    init();
    for description in ["videotestsrc ! valkkashmsink", "valkkashmsrc ! fakesink"] {
        assert_says(&fails_to_start(description), gst::ResourceError::Settings, &["channel=", "socket-path="]);
    }
}

#[test]
fn wrong_channel_name_is_an_error() {
    init();
    for name in [
        "Lobby",
        "a/b",
        "..",
        "sp\\ ace",
        "\u{fc}",
        "x23456789012345678901234567890123456789012345678901234567890123456",
    ] {
        for description in
            [format!("videotestsrc ! valkkashmsink channel={name}"), format!("valkkashmsrc channel={name} ! fakesink")]
        {
            assert_says(&fails_to_start(&description), gst::ResourceError::Settings, &["channel"]);
        }
    }
}

#[test]
fn path_that_is_too_long_is_an_error() {
    init();
    let path = format!("/{}", "x".repeat(150));
    for description in [
        format!("videotestsrc ! valkkashmsink socket-path={path}"),
        format!("valkkashmsrc socket-path={path} ! fakesink"),
    ] {
        assert_says(&fails_to_start(&description), gst::ResourceError::Settings, &["107"]);
    }
}

#[test]
fn second_writer_is_refused_and_the_first_goes_on() {
    let channel = Channel::new();
    let first = channel.fed_writer("application/x-test", "wait-for-reader=true");
    let error = fails_to_start(&format!("videotestsrc ! valkkashmsink {}", channel.at()));
    assert_says(&error, gst::ResourceError::Busy, &["another"]);
    let reader = channel.sampling_reader("");
    first.push(buffer([1], 0));
    assert_eq!(reader.pull_bytes(), [1]);
}

#[test]
fn file_in_the_place_of_the_socket_is_an_error_and_stays() {
    let channel = Channel::new();
    std::fs::write(channel.socket(), "precious").expect("can be written");
    let error = fails_to_start(&format!("videotestsrc ! valkkashmsink {}", channel.at()));
    assert_says(&error, gst::ResourceError::OpenWrite, &["not a socket"]);
    assert_eq!(std::fs::read(channel.socket()).expect("is there"), b"precious");
}

#[test]
fn folder_that_does_not_exist_is_an_error() {
    let channel = Channel::new();
    let path = channel.socket().join("missing").join("c");
    let error = fails_to_start(&format!("videotestsrc ! valkkashmsink socket-path={}", path.display()));
    assert!(error.message().contains("missing"), "{error}");
}

#[test]
fn lossless_reader_is_refused_in_words_where_the_writer_waits_for_nobody() {
    let channel = Channel::new();
    let _writer = channel.fed_writer("application/x-test", "");
    let reader = channel.sampling_reader("policy=lossless");
    assert_says(&reader.wait_for_error(), gst::ResourceError::OpenRead, &["lossless-timeout"]);
}

#[test]
fn reader_too_many_is_refused_in_words_and_the_others_go_on() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "max-readers=1 async=false");
    let first = channel.sampling_reader("policy=queue");
    writer.wait_for_readers(1);
    let second = channel.sampling_reader("");
    assert_says(&second.wait_for_error(), gst::ResourceError::OpenRead, &["max-readers"]);
    writer.push(buffer([1], 0));
    assert_eq!(first.pull_bytes(), [1]);
    drop(second);
    drop(first);
    writer.wait_for_readers(0);
    let third = channel.sampling_reader("");
    assert_eq!(third.pull_bytes(), [1]);
}

#[test]
fn writer_that_does_not_come_in_time_is_an_error() {
    let channel = Channel::new();
    let reader = channel.sampling_reader("connect-timeout=50000000");
    assert_says(&reader.wait_for_error(), gst::ResourceError::NotFound, &["connect-timeout", "valkkashmsink"]);
}

#[test]
fn caps_that_downstream_does_not_take_are_an_error() {
    let channel = Channel::new();
    let writer = channel.fed_writer("video/x-raw,format=RGB,width=4,height=4", "wait-for-reader=true");
    let reader = channel.reader("", "video/x-raw,format=I420 ! fakesink");
    writer.push(buffer([0; 48], 0));
    let error = reader.wait_for_error();
    assert_eq!(error.kind::<gst::CoreError>(), Some(gst::CoreError::Negotiation), "{error}");
    assert!(error.message().contains("videoconvert"), "{error}");
}

#[test]
fn frames_in_other_memory_are_refused_before_they_flow() {
    let channel = Channel::new();
    let play = Play::prepare(&format!("fakesrc ! valkkashmsink name=sink {}", channel.at()));
    let pad = play.element("sink").static_pad("sink").expect("has a pad");
    let accepts = |caps: &str| pad.query_accept_caps(&caps.parse().expect("valid caps"));
    assert!(accepts("video/x-raw, format=RGB, width=1, height=1"));
    assert!(accepts("video/x-raw(memory:SystemMemory), format=RGB, width=1, height=1"));
    assert!(!accepts("video/x-raw(memory:GLMemory), format=RGBA, width=1, height=1"));
    assert!(!accepts("video/x-raw(meta:GstVideoOverlayComposition), format=RGBA, width=1, height=1"));
}

#[test]
fn frame_that_is_larger_than_any_slot_is_an_error() {
    let channel = Channel::new();
    let writer = channel.fed_writer("application/x-test", "");
    writer.push(larger_than_any_slot());
    let error = writer.wait_for_error();
    assert_says(&error, gst::ResourceError::NoSpaceLeft, &["more than a slot"]);
}
