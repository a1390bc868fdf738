//! Detectors other than motion, and several cameras at one model. `models/make.py` says what the models find: bright cells
//! in pictures of four by four cells.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::analyser::Analyser;
use crate::camera::{Camera, HEIGHT, STRIDE, WIDTH};
use crate::{SOON, eventually, runtime_dir};

fn model(name: &str) -> String {
    format!("{}/tests/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"))
}

/// A camera that a model of `models/make.py` looks at, with more settings for the detector.
pub fn dnn(channel: &str, model_name: &str, more: Value) -> Value {
    let mut detector = json!({ "kind": "dnn", "model": model(model_name), "size": [16, 16], "fit": "stretch" });
    detector.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({ "channel": channel, "policy": "lossless", "detector": detector })
}

/// A dark picture with some bright cells of the four by four.
pub fn cells(bright: &[usize]) -> Vec<u8> {
    let mut bytes = vec![40; STRIDE * HEIGHT];
    for cell in bright {
        let (left, right) = (cell % 4 * WIDTH / 4, (cell % 4 + 1) * WIDTH / 4);
        for y in cell / 4 * HEIGHT / 4..(cell / 4 + 1) * HEIGHT / 4 {
            bytes[y * STRIDE + left * 3..y * STRIDE + right * 3].fill(230);
        }
    }
    bytes
}

/// The cells that a message tells of, and the label of the last.
fn told(message: &Value) -> (Vec<usize>, String) {
    let objects = message["objects"].as_array().expect("a list");
    let mut cells = Vec::new();
    for object in objects {
        let edges: Vec<f64> = object["box"].as_array().expect("a box").iter().filter_map(Value::as_f64).collect();
        let cell = (edges[1] * 4.0).round() as usize * 4 + (edges[0] * 4.0).round() as usize;
        let wanted = [cell % 4, cell / 4, cell % 4 + 1, cell / 4 + 1].map(|n| n as f64 / 4.0);
        assert!(edges.iter().zip(wanted).all(|(edge, wanted)| (edge - wanted).abs() < 1e-3), "{object}");
        cells.push(cell);
    }
    cells.sort_unstable();
    (cells, objects.last().map_or(String::new(), |object| object["label"].as_str().expect("text").to_owned()))
}

fn labels(folder: &Path, text: &str) -> String {
    let path = folder.join("labels.txt");
    fs::write(&path, text).expect("the folder is the test's own");
    path.display().to_string()
}

#[test]
fn onnx_models_of_every_layout_find_what_is_there() {
    for (name, more, label) in [
        ("yolov5", json!({}), "lamp"),
        ("yolov8", json!({ "output": "yolov8" }), "lamp"),
        ("ssd", json!({}), "window"),
        ("single", json!({}), "lamp"),
    ] {
        let folder = runtime_dir();
        let camera = Camera::open(folder.path(), "lobby.rgb");
        let mut attach = dnn("lobby.rgb", name, more);
        attach["detector"]["labels"] = labels(folder.path(), "lamp\nwindow\n").into();
        let analyser = Analyser::start_with(folder.path(), &[], &[&attach]);
        camera.wait_for_reader();
        for bright in [&[][..], &[5], &[0, 3, 15], &[9]] {
            camera.publish(&cells(bright), &[], None);
            let (cells, last) = told(&analyser.message());
            assert_eq!(cells, bright, "{name}");
            assert!(bright.is_empty() || last == label, "{name}: {last}");
        }
    }
}

#[test]
fn settings_of_a_camera_are_its_own_though_the_model_is_shared() {
    let folder = runtime_dir();
    let cameras = ["a.rgb", "b.rgb"].map(|name| Camera::open(folder.path(), name));
    let strict = dnn("a.rgb", "yolov5", json!({ "threshold": 0.95 }));
    let picky = dnn("b.rgb", "yolov5", json!({ "only": ["cat"] }));
    let analyser = Analyser::start_with(folder.path(), &[], &[&strict, &picky]);
    cameras.iter().for_each(Camera::wait_for_reader);
    for camera in &cameras {
        camera.publish(&cells(&[5]), &[], None);
        assert_eq!(analyser.message()["objects"], json!([]), "not that sure, and no cat");
    }
}

#[test]
fn frames_of_several_cameras_pass_the_model_together() {
    for model in ["yolov5", "single"] {
        let folder = runtime_dir();
        let cameras = ["a.rgb", "b.rgb", "c.rgb"].map(|name| Camera::open(folder.path(), name));
        let (analyser, frontend) = Analyser::start_commanded(folder.path(), "--threads 2");
        for name in ["a.rgb", "b.rgb", "c.rgb"] {
            frontend.call("attach", &dnn(name, model, json!({})), SOON).expect("it can be attached");
        }
        cameras.iter().for_each(Camera::wait_for_reader);
        let mut round = 0;
        let status = eventually("three frames wait at the same time", || {
            // What is in the pictures says whose they are.
            for (number, camera) in cameras.iter().enumerate() {
                camera.publish(&cells(&[number * 4 + round % 4]), &[], None);
            }
            for _ in 0..3 {
                let message = analyser.message();
                let number = ["a", "b", "c"].iter().position(|name| message["camera"] == *name).expect("one of them");
                assert_eq!(told(&message).0, [number * 4 + round % 4], "{message}");
            }
            round += 1;
            let status: Value = frontend.call_as("status", &Value::Null, SOON).expect("there is a status");
            let largest = status["models"][0]["largest_batch"].as_u64().expect("a number");
            // A model for one picture at a time sees them one by one, however many wait.
            let enough = if model == "single" { round >= 20 } else { largest >= 2 };
            enough.then_some(status)
        });
        let models = status["models"].as_array().expect("a list");
        assert_eq!(models.len(), 1, "three cameras, one model: {status}");
        assert_eq!(models[0]["pictures"], 3 * round as u64, "{status}");
        assert_eq!(models[0]["largest_batch"].as_u64() == Some(1), model == "single", "{status}");
    }
}

#[test]
fn models_that_nobody_understands_are_refused_before_the_first_frame() {
    let folder = runtime_dir();
    let broken = folder.path().join("broken.onnx");
    fs::write(&broken, b"no model").expect("the folder is the test's own");
    for (detector, explanation) in [
        (json!({ "kind": "dnn", "model": broken }), "dnn module"),
        (json!({ "kind": "dnn", "model": model("yolov5"), "size": [16, 16], "output": "ssd" }), "not understood"),
        (json!({ "kind": "dnn", "model": model("yolov5"), "size": [64, 64] }), "input of 64x64"),
        (json!({ "kind": "dnn", "model": model("ssd"), "labels": "/no/labels.txt" }), "/no/labels.txt"),
    ] {
        let attach = json!({ "channel": "lobby.rgb", "detector": detector });
        let mut analyser = Analyser::start_with(folder.path(), &[], &[&attach]);
        assert!(!analyser.end().success());
        analyser.says(explanation);
    }
}

#[test]
fn pictures_too_small_for_people_are_left_out_with_the_reason() {
    let folder = runtime_dir();
    let caps = "video/x-raw, format=(string)GRAY8, width=(int)32, height=(int)32";
    let camera = Camera::open_with(folder.path(), "lobby.grey", caps);
    let attach = json!({ "channel": "lobby.grey", "detector": "people" });
    let mut analyser = Analyser::start_with(folder.path(), &[], &[&attach]);
    camera.wait_for_reader();
    camera.publish(&[9; 32 * 32], &[], None);
    analyser.says("too small to find people");
    analyser.signal(Signal::SIGTERM);
    assert_eq!(analyser.end().code(), Some(0));
}
