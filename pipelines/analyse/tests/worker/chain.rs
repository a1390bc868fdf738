//! The whole chain on real pictures: pedestrians from an RTSP camera, decoded, through channels, to detectors. What they find is
//! what OpenCV finds in the same decoded frames in one process, frame by frame: `tests/peers/opencv_alone.py`, which has nothing of
//! Valkka in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::analyser::Analyser;
use crate::pipeline::{launch, with_elements};
use crate::{eventually, runtime_dir};

/// Of the pedestrians. They are too small to be found in pictures that are scaled down.
const WIDTH: usize = 768;
const HEIGHT: usize = 576;

/// Six seconds: people come, walk past each other and go, the background is learned, and three keyframes pass. More would tell
/// nothing new, and cost half a second of processor time each: people are looked for twice.
const FRAMES: usize = 64;

/// A camera that is not Valkka's. Ends with the test.
struct Rtsp {
    server: Child,
    address: String,
}

impl Rtsp {
    fn start(folder: &Path) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers");
        let mut python = Command::new("/usr/bin/python3");
        let python = python.arg(peers.join("rtsp_camera.py")).arg(footage("vtest.avi")).stdout(Stdio::piped());
        let mut server = with_elements(python, folder).spawn().expect("Python is installed");
        let mut address = String::new();
        let told = BufReader::new(server.stdout.take().expect("asked for")).read_line(&mut address);
        assert!(told.is_ok() && address.starts_with("rtsp://"), "the camera says where it is, not {address:?}");
        Self { server, address: address.trim().to_owned() }
    }
}

impl Drop for Rtsp {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// `./dev test` fetches it.
fn footage(name: &str) -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_valkka-analyse")).parent().and_then(Path::parent);
    let file = programs.expect("cargo has folders").join("video").join(name);
    assert!(file.exists(), "{} is not there: ./dev test fetches it", file.display());
    file
}

/// Left, top, right, bottom in pixels, in the order of these numbers.
type Boxes = Vec<[i32; 4]>;

/// What OpenCV finds by itself in a file of RGB frames: for each frame what each of the detectors finds.
fn alone(frames: &Path, [width, height]: [usize; 2], detectors: &[&str]) -> Vec<Vec<Boxes>> {
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/opencv_alone.py");
    let mut python = Command::new("/usr/bin/python3");
    python.arg(peer).arg(frames).args([width, height].map(|side| side.to_string())).args(detectors);
    let said = python.stderr(Stdio::inherit()).output().expect("Python is installed");
    assert!(said.status.success(), "{python:?}");
    let said = String::from_utf8(said.stdout).expect("JSON is UTF-8");
    said.lines().map(|line| serde_json::from_str(line).expect("a list of boxes for each detector")).collect()
}

/// What a message tells of a picture of that size.
fn told(message: &Value, [width, height]: [usize; 2]) -> Boxes {
    let pixel =
        |edges: &Value, n: usize, side: usize| (edges[n].as_f64().expect("a number") * side as f64).round() as i32;
    let objects = message["objects"].as_array().expect("a list").iter().map(|object| &object["box"]);
    let mut boxes: Boxes =
        objects.map(|b| [pixel(b, 0, width), pixel(b, 1, height), pixel(b, 2, width), pixel(b, 3, height)]).collect();
    boxes.sort_unstable();
    boxes
}

#[test]
fn detectors_find_through_the_whole_chain_what_opencv_finds_in_the_same_frames() {
    let folder = runtime_dir();
    let camera = Rtsp::start(folder.path());
    // Each is the name of a detector, of its channel, and of the same thing in Python.
    let names = ["people", "motion"];
    let attach = names.map(|name| json!({ "channel": format!("{name}.rgb"), "detector": name, "policy": "lossless" }));
    let analyser = Analyser::start_with(folder.path(), &["--threads", "2"], &attach.iter().collect::<Vec<_>>());

    let raw = folder.path().join("frames.rgb");
    // Whatever the detectors take, the camera's pictures wait.
    let queue = "queue max-size-buffers=0 max-size-bytes=0 max-size-time=0";
    let sinks = names.map(|name| {
        format!("frames. ! {queue} ! valkkashmsink channel={name}.rgb wait-for-reader=true lossless-timeout=120000000000 sync=false async=false")
    });
    let decode = "rtph264depay ! h264parse ! avdec_h264 ! videoconvert ! video/x-raw,format=RGB";
    let pipeline = format!(
        "rtspsrc location={} protocols=tcp latency=200 ! {decode} ! identity eos-after={} ! tee name=frames {} \
         frames. ! {queue} ! filesink location={} buffer-mode=unbuffered async=false",
        camera.address,
        FRAMES + 1,
        sinks.join(" "),
        raw.display()
    );
    let mut capture = launch(folder.path(), &pipeline, "capture.err");

    let mut said: BTreeMap<(usize, String), Boxes> = BTreeMap::new();
    while said.len() < names.len() * FRAMES {
        let message = analyser.message();
        let seq = message["seq"].as_u64().expect("a number") as usize;
        // More frames pass than were asked for: those that the decoder still has in its threads.
        if seq < FRAMES {
            let boxes = told(&message, [WIDTH, HEIGHT]);
            said.insert((seq, message["camera"].as_str().expect("text").to_owned()), boxes);
        }
    }
    let _ = capture.kill();
    let _ = capture.wait();

    let mut found = [0; 2];
    let by_frame = alone(&raw, [WIDTH, HEIGHT], &names);
    assert!(by_frame.len() >= FRAMES, "every frame that was published was written down, too: {}", by_frame.len());
    for (seq, by_detector) in by_frame.into_iter().take(FRAMES).enumerate() {
        for (n, boxes) in by_detector.into_iter().enumerate() {
            found[n] += boxes.len();
            assert_eq!(said[&(seq, names[n].to_owned())], boxes, "{} in frame {seq}", names[n]);
        }
    }
    assert!(found.iter().all(|count| *count > 0), "each has found something: {found:?}");
}

#[test]
fn a_face_in_a_photograph_is_found_where_it_is_and_where_opencv_finds_it() {
    const SIZE: [usize; 2] = [548, 342];
    // As a person has marked it: from the hair to the chin, from cheek to cheek.
    const FACE: [i32; 4] = [226, 92, 262, 131];
    let folder = runtime_dir();
    let attach = json!({ "channel": "photograph.rgb", "detector": "face", "policy": "lossless" });
    let analyser = Analyser::start_with(folder.path(), &[], &[&attach]);
    let raw = folder.path().join("frames.rgb");
    let pipeline = format!(
        "filesrc location={} ! jpegdec ! videoconvert ! video/x-raw,format=RGB ! tee name=frames \
         frames. ! queue ! valkkashmsink channel=photograph.rgb wait-for-reader=true lossless-timeout=120000000000 sync=false async=false \
         frames. ! queue ! filesink location={} buffer-mode=unbuffered async=false",
        footage("messi5.jpg").display(),
        raw.display()
    );
    let mut picture = launch(folder.path(), &pipeline, "picture.err");
    let message = analyser.message();
    // The end of the stream: all is written.
    let ended = eventually("the picture's pipeline ends", || picture.try_wait().expect("a child can be waited for"));
    assert!(ended.success());
    assert_eq!((&message["width"], &message["objects"][0]["label"]), (&SIZE[0].into(), &"face".into()), "{message}");

    let boxes = told(&message, SIZE);
    let cascade = "/usr/share/opencv4/haarcascades/haarcascade_frontalface_default.xml";
    assert_eq!(alone(&raw, SIZE, &[cascade]), [[boxes.clone()]]);
    let marked = |found: &&[i32; 4]| found.iter().zip(FACE).all(|(edge, marked)| (edge - marked).abs() <= 6);
    assert_eq!(boxes.iter().filter(marked).count(), 1, "{boxes:?}");
}
