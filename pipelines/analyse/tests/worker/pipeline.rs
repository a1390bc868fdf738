//! The analyser beside pipelines of GStreamer, each a process of its own, as in the README.

use std::f64::consts::{PI, SQRT_2};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::analyser::Analyser;
use crate::{eventually, runtime_dir};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 240.0;
/// Of the ball that videotestsrc shows.
const RADIUS: f64 = 20.0;

/// No crop.
const WHOLE: [f64; 2] = [0.0, 0.0];

/// Lines in a row that cannot be right by chance.
const MANY: usize = 60;

/// `gst-launch-1.0` with a moving ball for a camera. Killed at its drop, like a crash.
struct Ball {
    child: Child,
    errors: PathBuf,
}

impl Ball {
    /// `crop` are the pixels that are cut off on either side, and at top and bottom.
    fn start(folder: &Path, channel: &str, crop: [f64; 2]) -> Self {
        let errors = format!("{channel}.err");
        let source = "videotestsrc pattern=ball animation-mode=frames is-live=true";
        let [left, top] = crop;
        let (width, height) = (WIDTH + 2.0 * left, HEIGHT + 2.0 * top);
        let caps = format!("video/x-raw,format=RGB,width={width},height={height},framerate=40/1");
        let crop = if crop == WHOLE { String::new() } else { cut_out(width, height, crop) };
        let sink = format!("valkkashmsink channel={channel} sync=false");
        let child = launch(folder, &format!("{source} ! {caps} {crop} ! {sink}"), &errors);
        Self { child, errors: folder.join(errors) }
    }

    fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for Ball {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `gst-launch-1.0` with the channels of that folder. What it complains about stands in the file `errors` of the folder.
pub fn launch(folder: &Path, description: &str, errors: &str) -> Child {
    with_elements(Command::new("gst-launch-1.0").arg("-q").args(description.split_whitespace()), folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join(errors)).expect("the folder is the test's own"))
        .spawn()
        .expect("GStreamer's tools are installed")
}

/// Has GStreamer find this build's elements, and them that folder.
pub fn with_elements<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    command.env("GST_PLUGIN_PATH", ELEMENTS.join("plugins")).env("GST_REGISTRY", ELEMENTS.join("registry.bin"));
    command.env("VALKKA_RUNTIME_DIR", folder).env_remove("VALKKA_CONTROL")
}

/// `plugins` with this build's plug-in, and `registry.bin`: what GStreamer knows of all plug-ins, written once before any test
/// uses it. Hundreds of plug-ins on a cold disk take long, and longer when many processes look at them at a time.
static ELEMENTS: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("analyse");
    let (plugins, part) = (folder.join("plugins"), folder.join(format!("{}.part", std::process::id())));
    fs::create_dir_all(&plugins).expect("cargo's folder for tests is writable");
    let link = symlink(plugin(), &part).and_then(|()| fs::rename(part, plugins.join("libgstvalkkashm.so")));
    link.expect("cargo's folder for tests is writable");
    let mut inspect = Command::new("gst-inspect-1.0");
    inspect.env("GST_PLUGIN_PATH", &plugins).env("GST_REGISTRY", folder.join("registry.bin"));
    let known = inspect.arg("valkkashmsink").output().expect("GStreamer's tools are installed");
    assert!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
    folder
});

/// Cuts without a copy: all bytes of the large picture go on, with a video meta that says where the small one is.
fn cut_out(width: f64, height: f64, [left, top]: [f64; 2]) -> String {
    let stride = (width * 3.0 / 4.0).ceil() * 4.0;
    let offset = top * stride + left * 3.0;
    let size = stride * height;
    format!(
        "! rawvideoparse format=rgb width={WIDTH} height={HEIGHT} framerate=40/1 frame-size={size} \
         plane-offsets=<{offset}> plane-strides=<{stride}>"
    )
}

/// This build's plug-in: `cargo build` puts it beside the program, `cargo test` into `deps` only.
fn plugin() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_valkka-analyse")).parent().expect("a program is in a folder");
    let name = "libgstvalkkashm.so";
    let built = [programs.join(name), programs.join("deps").join(name)].into_iter().filter(|path| path.exists());
    let newest = built.max_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    newest.expect("cargo builds the plug-in for this test")
}

/// Where the ball is in the picture of that number (`gst_video_test_src_ball`): left, top, right, bottom.
fn ball(number: f64, crop: [f64; 2]) -> [f64; 4] {
    let turn = 2.0 * PI * number / 200.0;
    let x = RADIUS + (0.5 + 0.5 * turn.sin()) * (WIDTH + 2.0 * crop[0] - 2.0 * RADIUS) - crop[0];
    let y = RADIUS + (0.5 + 0.5 * (turn * SQRT_2).sin()) * (HEIGHT + 2.0 * crop[1] - 2.0 * RADIUS) - crop[1];
    let (across, down) = (|x: f64| x.clamp(0.0, WIDTH), |y: f64| y.clamp(0.0, HEIGHT));
    [across(x - RADIUS), down(y - RADIUS), across(x + RADIUS), down(y + RADIUS)]
}

/// Is there one object, a box within a few pixels of the ball?
fn over_the_ball(message: &Value, number: f64, crop: [f64; 2]) -> bool {
    let objects = message["objects"].as_array().expect("a list");
    let sides = [WIDTH, HEIGHT, WIDTH, HEIGHT];
    let near = |n: usize| {
        let edge = objects[0]["box"][n].as_f64().expect("a number") * sides[n];
        (edge - ball(number, crop)[n]).abs() <= 5.0
    };
    objects.len() == 1 && (0..4).all(near)
}

/// Takes lines about a camera until a good many of them in a row tell where the ball is.
#[track_caller]
fn follow(analyser: &Analyser, camera: &str, crop: [f64; 2]) {
    let mut in_a_row = 0;
    let take = || {
        let message = analyser.message();
        if message["camera"] != camera {
            return None;
        }
        // Both count from 0.
        let number = message["seq"].as_f64().expect("a number");
        in_a_row = if over_the_ball(&message, number, crop) { in_a_row + 1 } else { 0 };
        (in_a_row == MANY).then_some(())
    };
    eventually(&format!("boxes follow the ball of {camera}"), take);
}

#[test]
fn boxes_follow_a_ball_through_crash_and_restart_of_its_writer() {
    let folder = runtime_dir();
    let analyser_args = "--channel lobby.rgb --channel gate.rgb";
    let mut analyser = Analyser::start(folder.path(), analyser_args);
    let first = Ball::start(folder.path(), "lobby.rgb", WHOLE);
    analyser.says("lobby.rgb: pictures of 320x240 RGB");
    let message = analyser.message();
    assert_eq!((&message["camera"], &message["width"]), (&"lobby".into(), &320.into()), "{}", first.errors());
    follow(&analyser, "lobby", WHOLE);

    drop(first);
    analyser.says("lobby.rgb: has no writer any more");
    let again = Ball::start(folder.path(), "lobby.rgb", WHOLE);
    let other = Ball::start(folder.path(), "gate.rgb", WHOLE);
    follow(&analyser, "lobby", WHOLE);
    follow(&analyser, "gate", WHOLE);

    analyser.signal(Signal::SIGTERM);
    assert_eq!(analyser.end().code(), Some(0));
    assert_eq!((again.errors(), other.errors()), (String::new(), String::new()), "the writers do not mind");
}

#[test]
fn boxes_follow_a_ball_in_a_cropped_picture() {
    let folder = runtime_dir();
    let crop = [23.0, 9.0];
    let analyser = Analyser::start(folder.path(), "--channel lobby.rgb");
    let _cropped = Ball::start(folder.path(), "lobby.rgb", crop);
    follow(&analyser, "lobby", crop);
}
