//! The life of objects as it is told: that one stands still, which zones it is in, that it has gone.

use serde_json::{Value, json};
use valkka_command::Frontend;

use crate::analyser::Analyser;
use crate::camera::Camera;
use crate::detectors::{cells, dnn};
use crate::{SOON, eventually, runtime_dir};

/// A camera whose bright cells are objects, numbered from the upper left.
struct Scene {
    camera: Camera,
    analyser: Analyser,
    frontend: Frontend,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// With settings of the camera.
    fn new(settings: Value) -> Self {
        let folder = runtime_dir();
        let camera = Camera::open(folder.path(), "lobby.rgb");
        let (analyser, frontend) = Analyser::start_commanded(folder.path(), "");
        let mut attach = dnn("lobby.rgb", "yolov5", json!({}));
        attach.as_object_mut().expect("an object").extend(settings.as_object().expect("an object").clone());
        frontend.call("attach", &attach, SOON).expect("it can be attached");
        camera.wait_for_reader();
        Self { camera, analyser, frontend, _folder: folder }
    }

    /// Shows so many pictures with such cells, one after the other; what is said of objects meanwhile.
    fn play(&self, pictures: &[(usize, &[usize])]) -> Vec<Value> {
        let mut told = Vec::new();
        let all = pictures.iter().flat_map(|(count, bright)| std::iter::repeat_n(bright, *count));
        for bright in all {
            let id = self.camera.publish(&cells(bright), &[], Some(frame_ring::monotonic_now()));
            loop {
                let message = self.analyser.any_message();
                if message["seq"] == id.seq {
                    break;
                }
                told.push(message);
            }
        }
        told
    }
}

#[test]
fn one_that_stands_still_is_quiet_until_it_has_gone() {
    let scene = Scene::new(json!({ "tracker": { "confirm": 2, "stationary": 5, "patience": 3, "update_ms": 0 } }));
    let told = scene.play(&[(3, &[]), (40, &[5]), (5, &[])]);
    let lives: Vec<_> = told
        .iter()
        .map(|event| (event["type"].as_str().expect("text"), event["after"]["seq"].as_u64().expect("a number")))
        .collect();
    assert_eq!(lives, [("new", 4), ("update", 8), ("end", 42)], "{told:?}");
    let (update, end) = (&told[1], &told[2]);
    assert_eq!((&update["before"]["stationary"], &update["after"]["stationary"]), (&false.into(), &true.into()));
    assert_eq!((&update["after"]["active"], &update["after"]["motionless_count"]), (&false.into(), &5.into()));
    assert_eq!(end["after"]["end_time"], end["after"]["frame_time"], "when it was seen last");
    assert_eq!(end["before"]["end_time"], Value::Null);
    assert!(told.iter().all(|event| event["after"]["id"] == told[0]["after"]["id"]));
}

#[test]
fn zones_reach_to_the_edges_of_the_picture_and_are_about_some_labels() {
    let all = [[0, 0], [1, 0], [1, 1], [0, 1]];
    let scene = Scene::new(json!({ "zones": [
        { "name": "floor", "polygon": all },
        { "name": "cats", "polygon": all, "labels": ["cat"] },
        { "name": "upper half", "polygon": [[0, 0], [1, 0], [1, 0.6], [0, 0.6]] },
    ] }));
    // One of them stands on the picture's lower edge, the other in the middle.
    let told = scene.play(&[(4, &[6, 15])]);
    let mut zones: Vec<_> = told.iter().map(|event| event["after"]["current_zones"].to_string()).collect();
    zones.sort();
    assert_eq!(zones, [r#"["floor","upper half"]"#, r#"["floor"]"#], "{told:?}");
}

#[test]
fn lives_end_with_the_writer_and_with_the_camera_and_the_writer_hears_of_that() {
    let scene = Scene::new(json!({}));
    let told = scene.play(&[(4, &[5])]);
    assert_eq!((told.len(), &told[0]["type"]), (1, &"new".into()), "{told:?}");
    scene.frontend.call("detach", &json!({ "camera": "lobby" }), SOON).expect("it is attached");
    let end = scene.analyser.any_message();
    assert_eq!((&end["type"], &end["after"]["id"]), (&"end".into(), &told[0]["after"]["id"]));
    let replied = eventually("the writer is told", || {
        let (frame, json) = scene.camera.reply_now()?;
        let message: Value = serde_json::from_str(&json).expect("a reply is JSON");
        (message["type"] == "end").then_some((frame, message))
    });
    assert_eq!((replied.0.seq, replied.1), (3, end), "it is about the last frame that it was seen in");

    let scene = Scene::new(json!({}));
    let told = scene.play(&[(4, &[5])]);
    scene.camera.restart();
    let end = scene.analyser.any_message();
    assert_eq!((&end["type"], &end["after"]["id"]), (&"end".into(), &told[0]["after"]["id"]));
}
