//! What is said about frames: the lines, the replies, and that they go on whatever writers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;

use crate::analyser::Analyser;
use crate::camera::{Camera, SQUARE, assert_square, picture};
use crate::{eventually, runtime_dir};

#[test]
fn every_frame_is_answered_with_the_square_in_it() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let analyser = Analyser::start(folder.path(), "--channel lobby.rgb --policy lossless");
    camera.wait_for_reader();
    for n in 0..40 {
        let square = (n >= 10).then(|| (10 + n * 6, 20 + n * 2));
        let time = frame_ring::monotonic_now();
        let id = camera.publish(&picture(square), &[], Some(time));

        let line = analyser.line();
        let (replied_to, reply) = camera.reply();
        assert_eq!(replied_to, id);
        assert_eq!(reply, line, "the writer and the reader of lines hear the same");

        let message: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
        assert_eq!(message["v"], 1);
        assert_eq!((&message["camera"], &message["channel"]), (&"lobby".into(), &"lobby.rgb".into()));
        assert_eq!((&message["seq"], &message["generation"]), (&id.seq.into(), &id.generation.into()));
        assert_eq!(message["pts"], time);
        let utc = message["utc"].as_f64().expect("a number");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64();
        assert!((0.0..30.0).contains(&(now - utc)), "taken at {utc}, now it is {now}");
        let age = message["age_ms"].as_f64().expect("a number");
        assert!((0.0..30_000.0).contains(&age), "{age}");

        match square {
            None => assert_eq!(message["objects"], serde_json::json!([])),
            Some((left, top)) => {
                assert_square(&message, left, top);
                let object = &message["objects"][0];
                assert_eq!((&object["id"], &object["label"]), (&0.into(), &"motion".into()), "it is the same square");
                assert!(object["score"].as_f64().is_some_and(|score| (0.5..=1.0).contains(&score)), "{object}");
            }
        }
    }
}

#[test]
fn frame_without_time_has_the_time_of_its_publishing() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let analyser = Analyser::start(folder.path(), "--channel lobby.rgb --policy lossless");
    camera.wait_for_reader();
    let before = frame_ring::monotonic_now();
    camera.publish(&picture(None), &[], None);
    let after = frame_ring::monotonic_now();
    let pts = analyser.message()["pts"].as_i64().expect("a number");
    assert!((before..=after).contains(&pts), "{before} <= {pts} <= {after}");
}

#[test]
fn padded_and_cropped_pictures_are_seen_where_they_lie() {
    const STRIDE: usize = 1200;
    const OFFSET: usize = 600;
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let analyser = Analyser::start(folder.path(), "--channel lobby.rgb --policy lossless");
    camera.wait_for_reader();
    // A larger picture, of which the camera shows a part: its bytes end with the last row, without padding.
    let mut metas = vec![1, 0, 0, 0, 36, 0, 0, 0];
    for n in [400_u32, 200, 1, 0, 0] {
        metas.extend_from_slice(&n.to_le_bytes());
    }
    metas.extend_from_slice(&(OFFSET as u64).to_le_bytes());
    metas.extend_from_slice(&(STRIDE as i32).to_le_bytes());
    for n in 0..20 {
        let square = (n >= 10).then(|| (10 + n * 6, 20 + n * 2));
        let plain = picture(square);
        let rows = plain.chunks(plain.len() / crate::camera::HEIGHT);
        let mut bytes: Vec<u8> = (0..OFFSET).map(|at| (at * n) as u8).collect();
        for row in rows {
            bytes.extend_from_slice(row);
            // What stands between the rows changes, and is nobody's business.
            bytes.resize(bytes.len() + STRIDE - row.len(), (n * 10) as u8);
        }
        bytes.truncate(OFFSET + (crate::camera::HEIGHT - 1) * STRIDE + crate::camera::WIDTH * 3);
        camera.publish(&bytes, &metas, Some(0));
        let message = analyser.message();
        match square {
            None => assert_eq!(message["objects"], serde_json::json!([])),
            Some((left, top)) => assert_square(&message, left, top),
        }
    }
}

#[test]
fn channel_that_comes_later_and_again_is_analysed() {
    let folder = runtime_dir();
    let analyser = Analyser::start(folder.path(), "--channel gate.rgb --channel lobby.rgb --policy lossless");
    // The other channel never comes; that is no reason to wait.
    let mut last = None;
    for _ in 0..3 {
        let camera = Camera::open(folder.path(), "lobby.rgb");
        camera.wait_for_reader();
        for _ in 0..5 {
            camera.show(None);
            let message = analyser.message();
            assert_eq!(message["objects"], serde_json::json!([]), "{message}");
        }
        camera.show(Some((100, 60)));
        let message = analyser.message();
        assert_square(&message, 100, 60);
        let frame = (message["generation"].as_u64(), message["seq"].as_u64());
        assert!(Some(frame) > last, "{frame:?} after {last:?}");
        last = Some(frame);
        camera.restart();
        analyser.says("waits for the next");
    }
}

#[test]
fn another_size_of_picture_goes_on_with_a_new_background() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let analyser = Analyser::start(folder.path(), "--channel lobby.rgb --policy lossless");
    camera.wait_for_reader();
    for _ in 0..5 {
        camera.show(None);
        analyser.message();
    }
    camera.set_caps("video/x-raw, format=(string)GRAY8, width=(int)640, height=(int)480");
    let mut grey = vec![90; 640 * 480];
    for _ in 0..5 {
        camera.publish(&grey, &[], None);
        let message = analyser.message();
        assert_eq!((&message["width"], &message["height"]), (&640.into(), &480.into()));
        assert_eq!(message["objects"], serde_json::json!([]));
    }
    grey[640 * 240..640 * 360].fill(200);
    camera.publish(&grey, &[], None);
    assert_eq!(analyser.message()["objects"][0]["box"], serde_json::json!([0.0, 0.5, 1.0, 0.75]));
}

#[test]
fn busy_camera_does_not_starve_another() {
    let folder = runtime_dir();
    let slow = Camera::open(folder.path(), "slow.rgb");
    let busy = Camera::open(folder.path(), "busy.rgb");
    let analyser = Analyser::start(folder.path(), "--channel busy.rgb --channel slow.rgb");
    slow.wait_for_reader();
    busy.wait_for_reader();
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    let flood = thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            // Far more than can be analysed.
            busy.show(Some((0, 0)));
        }
    });
    let busy_is_served = || while analyser.message()["camera"] != "busy" {};
    busy_is_served();
    for n in 0..20 {
        let id = slow.show(Some((n * SQUARE / 4, 0)));
        assert_eq!(slow.reply().0, id, "every frame of the slow camera is answered before its next");
        while analyser.message()["camera"] != "slow" {}
    }
    busy_is_served();
    over.store(true, Ordering::Relaxed);
    flood.join().expect("the busy camera could always write");
}

#[test]
fn lines_can_go_to_a_file() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let path = folder.path().join("said");
    let mut analyser =
        Analyser::start_onto(folder.path(), "--channel lobby.rgb", std::fs::File::create(&path).expect("it is ours"));
    camera.wait_for_reader();
    let ids = [camera.show(None), camera.show(None)];
    eventually("the last frame is answered", || (camera.reply().0 == ids[1]).then_some(()));
    analyser.signal(Signal::SIGTERM);
    assert!(analyser.end().success());
    let said = std::fs::read_to_string(&path).expect("lines are text");
    assert!(said.lines().last().expect("a line").contains("\"camera\":\"lobby\""), "{said}");
}

#[test]
fn quiet_analyser_answers_the_writer_alone() {
    let folder = runtime_dir();
    let camera = Camera::open(folder.path(), "lobby.rgb");
    let mut analyser = Analyser::start(folder.path(), "--quiet --channel lobby.rgb --policy lossless --until-eos");
    camera.wait_for_reader();
    let id = camera.show(None);
    assert_eq!(camera.reply().0, id);
    camera.eos();
    assert!(analyser.end().success());
    assert_eq!(analyser.rest(), [""; 0]);
}
