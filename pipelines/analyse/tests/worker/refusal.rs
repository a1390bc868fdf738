//! What the analyser cannot use, and what it says about it.

use crate::analyser::Analyser;
use crate::camera::Camera;
use crate::runtime_dir;

#[test]
fn arguments_that_make_no_sense_are_explained() {
    for (args, explanation) in [
        ("", "--channel"),
        ("--channel Lobby!", "Lobby!"),
        ("--channel a.rgb --channel a.rgb", "twice"),
        ("--channel a.rgb --min-area 2", "from 0 to 1"),
        ("--channel a.rgb --threshold -1", "greater than 0"),
        ("--channel a.rgb --policy fastest", "lossless"),
    ] {
        let folder = runtime_dir();
        let mut analyser = Analyser::start(folder.path(), args);
        assert!(!analyser.end().success(), "{args}");
        analyser.says(explanation);
    }
}

#[test]
fn encoded_channel_is_passed_over_with_a_word_of_advice() {
    let folder = runtime_dir();
    let encoded = Camera::open_with(folder.path(), "lobby.h264", "video/x-h264, width=(int)640, height=(int)480");
    let raw = Camera::open(folder.path(), "gate.rgb");
    let analyser = Analyser::start(folder.path(), "--channel lobby.h264 --channel gate.rgb");
    encoded.wait_for_reader();
    raw.wait_for_reader();
    encoded.publish(b"not a picture", &[], None);
    analyser.says("warning: lobby.h264: is not analysed");
    analyser.says("videoconvert");
    raw.show(None);
    assert_eq!(analyser.message()["camera"], "gate");
}

#[test]
fn frames_that_are_too_short_are_left_out() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let analyser = Analyser::start(folder.path(), "--channel lobby.rgb --policy lossless");
    camera.wait_for_reader();
    camera.publish(&[0; 1000], &[], None);
    camera.publish(&[], &[], None);
    camera.publish(&crate::camera::picture(None), &[1, 0, 0], None);
    let id = camera.show(None);
    assert_eq!(analyser.message()["seq"], id.seq);
    analyser.says("warning: lobby.rgb: a frame is left out: a frame has 1000 bytes");
    analyser.says("metas end in the middle");
}
