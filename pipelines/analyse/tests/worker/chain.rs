//! The whole chain on real video: pedestrians from an RTSP camera, decoded, through channels, to detectors. What they find is
//! what OpenCV finds in the same decoded frames in one process, frame by frame.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, Rect, Size, Vec3b, Vector};
use opencv::imgproc;
use opencv::objdetect::{CascadeClassifier, HOGDescriptor};
use opencv::prelude::*;
use serde_json::{Value, json};
use valkka_analyse::detect::{Motion, MotionConfig};

use crate::analyser::Analyser;
use crate::pipeline::{launch, with_elements};
use crate::runtime_dir;

const WIDTH: usize = 768;
const HEIGHT: usize = 576;
const FRAMES: usize = 16;

/// A camera that is not Valkka's. Ends with the test.
struct Rtsp {
    server: Child,
    address: String,
}

impl Rtsp {
    fn start(folder: &Path) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers");
        let mut python = Command::new("/usr/bin/python3");
        let python = python.arg(peers.join("rtsp_camera.py")).arg(video()).stdout(Stdio::piped());
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
fn video() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_valkka-analyse")).parent().and_then(Path::parent);
    let file = programs.expect("cargo has folders").join("video/vtest.avi");
    assert!(file.exists(), "{} is not there: ./dev test fetches it", file.display());
    file
}

type Boxes = Vec<[i32; 4]>;

fn sorted(rects: impl IntoIterator<Item = Rect>) -> Boxes {
    let mut boxes: Boxes =
        rects.into_iter().map(|rect| [rect.x, rect.y, rect.x + rect.width, rect.y + rect.height]).collect();
    boxes.sort_unstable();
    boxes
}

fn told(message: &Value) -> Boxes {
    let pixel =
        |edges: &Value, n: usize, side: usize| (edges[n].as_f64().expect("a number") * side as f64).round() as i32;
    let objects = message["objects"].as_array().expect("a list").iter().map(|object| &object["box"]);
    let mut boxes: Boxes =
        objects.map(|b| [pixel(b, 0, WIDTH), pixel(b, 1, HEIGHT), pixel(b, 2, WIDTH), pixel(b, 3, HEIGHT)]).collect();
    boxes.sort_unstable();
    boxes
}

/// OpenCV alone.
struct Reference {
    people: HOGDescriptor,
    bodies: CascadeClassifier,
    motion: Motion,
}

impl Reference {
    fn new() -> opencv::Result<Self> {
        let mut people = HOGDescriptor::default()?;
        people.set_svm_detector(HOGDescriptor::get_default_people_detector()?);
        let bodies = CascadeClassifier::new("/usr/share/opencv4/haarcascades/haarcascade_upperbody.xml")?;
        Ok(Self { people, bodies, motion: Motion::new(MotionConfig::default(), Vec::new()) })
    }

    fn find(&mut self, bytes: &[u8]) -> opencv::Result<[Boxes; 3]> {
        let pixels: Vec<Vec3b> = bytes.chunks_exact(3).map(|p| Vec3b::from([p[0], p[1], p[2]])).collect();
        let picture = Mat::new_rows_cols_with_data(HEIGHT as i32, WIDTH as i32, &pixels)?.clone_pointee();
        let (mut people, mut weights) = (Vector::<Rect>::new(), Vector::<f64>::new());
        let stride = Size::new(8, 8);
        self.people.detect_multi_scale_weights(
            &picture,
            &mut people,
            &mut weights,
            0.0,
            stride,
            Size::default(),
            1.05,
            2.0,
            false,
        )?;
        let (mut grey, mut even, mut bodies) = (Mat::default(), Mat::default(), Vector::<Rect>::new());
        imgproc::cvt_color_def(&picture, &mut grey, imgproc::COLOR_RGB2GRAY)?;
        imgproc::equalize_hist(&grey, &mut even)?;
        self.bodies.detect_multi_scale(&even, &mut bodies, 1.1, 3, 0, Size::new(24, 24), Size::default())?;
        let moving = self.motion.find(&BoxedRef::from(picture))?;
        Ok([sorted(people), sorted(bodies), sorted(moving.into_iter().map(|blob| blob.rect))])
    }
}

#[test]
fn detectors_find_through_the_whole_chain_what_opencv_finds_in_the_same_frames() {
    let folder = runtime_dir();
    let camera = Rtsp::start(folder.path());
    let names = ["people", "bodies", "motion"];
    let detectors = [
        json!("people"),
        json!({ "kind": "face", "cascade": "haarcascade_upperbody.xml", "label": "body" }),
        json!("motion"),
    ];
    let attach: Vec<_> = names
        .iter()
        .zip(detectors)
        .map(|(name, detector)| json!({ "channel": format!("{name}.rgb"), "detector": detector, "policy": "lossless" }))
        .collect();
    let analyser = Analyser::start_with(folder.path(), &attach.iter().collect::<Vec<_>>());

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
    while said.len() < 3 * FRAMES {
        let message = analyser.message();
        let seq = message["seq"].as_u64().expect("a number") as usize;
        said.insert((seq, message["camera"].as_str().expect("text").to_owned()), told(&message));
    }
    let _ = capture.kill();
    let _ = capture.wait();

    let frames = fs::read(&raw).expect("the pipeline has written the frames");
    let mut reference = Reference::new().expect("OpenCV and its data are installed");
    let mut found = [0; 3];
    for (seq, frame) in frames.chunks_exact(WIDTH * HEIGHT * 3).take(FRAMES).enumerate() {
        let alone = reference.find(frame).expect("OpenCV looks at a frame");
        for (n, boxes) in alone.into_iter().enumerate() {
            found[n] += boxes.len();
            assert_eq!(said[&(seq, names[n].to_owned())], boxes, "{} in frame {seq}", names[n]);
        }
    }
    assert!(found.iter().all(|count| *count > 0), "each has found something: {found:?}");
}
