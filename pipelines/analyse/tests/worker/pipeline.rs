//! The analyser beside pipelines of GStreamer, each a process of its own, as in the README.

use std::f64::consts::{PI, SQRT_2};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::analyser::Analyser;
use crate::{eventually, runtime_dir};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 240.0;
/// Of the ball that videotestsrc shows.
const RADIUS: f64 = 20.0;

/// Frames until a background that was learned with the ball in it has lost it.
const LEARNED: usize = 60;

/// `gst-launch-1.0` with a moving ball for a camera. Killed at its drop, like a crash.
struct Ball {
    child: Child,
    errors: PathBuf,
}

impl Ball {
    fn start(folder: &Path, channel: &str) -> Self {
        let plugins = folder.join("plugins");
        if !plugins.exists() {
            fs::create_dir(&plugins).expect("the folder is the test's own");
            symlink(plugin(), plugins.join("libgstvalkkashm.so")).expect("the folder is the test's own");
        }
        let errors = folder.join(format!("{channel}.err"));
        let source = "videotestsrc pattern=ball animation-mode=frames is-live=true";
        let caps = format!("video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate=40/1");
        let sink = format!("valkkashmsink channel={channel} sync=false");
        let child = Command::new("gst-launch-1.0")
            .arg("-q")
            .args(format!("{source} ! {caps} ! {sink}").split_whitespace())
            .env("GST_PLUGIN_PATH", &plugins)
            .env("GST_REGISTRY", folder.join("registry.bin"))
            .env("VALKKA_RUNTIME_DIR", folder)
            .env_remove("VALKKA_CONTROL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&errors).expect("the folder is the test's own"))
            .spawn()
            .expect("GStreamer's tools are installed");
        Self { child, errors }
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

/// This build's plug-in: `cargo build` puts it beside the program, `cargo test` into `deps` only.
fn plugin() -> PathBuf {
    let programs = Path::new(env!("CARGO_BIN_EXE_valkka-analyse")).parent().expect("a program is in a folder");
    let name = "libgstvalkkashm.so";
    let built = [programs.join(name), programs.join("deps").join(name)].into_iter().filter(|path| path.exists());
    let newest = built.max_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    newest.expect("cargo builds the plug-in for this test")
}

/// Where the ball is in the picture of that number (`gst_video_test_src_ball`): left, top, right, bottom.
fn ball(number: f64) -> [f64; 4] {
    let turn = 2.0 * PI * number / 200.0;
    let x = RADIUS + (0.5 + 0.5 * turn.sin()) * (WIDTH - 2.0 * RADIUS);
    let y = RADIUS + (0.5 + 0.5 * (turn * SQRT_2).sin()) * (HEIGHT - 2.0 * RADIUS);
    [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS]
}

/// Is there one object, a box within a few pixels of the ball?
fn over_the_ball(message: &Value, number: f64) -> bool {
    let objects = message["objects"].as_array().expect("a list");
    let sides = [WIDTH, HEIGHT, WIDTH, HEIGHT];
    let near = |n: usize| {
        let edge = objects[0]["box"][n].as_f64().expect("a number") * sides[n];
        (edge - ball(number)[n]).abs() <= 5.0
    };
    objects.len() == 1 && (0..4).all(near)
}

/// Takes lines about a camera until `count` of them in a row tell where the ball is.
#[track_caller]
fn follow(analyser: &Analyser, camera: &str, count: usize) {
    let mut in_a_row = 0;
    let take = || {
        let message = analyser.message();
        if message["camera"] != camera {
            return None;
        }
        // Both count from 0.
        let number = message["seq"].as_f64().expect("a number");
        in_a_row = if over_the_ball(&message, number) { in_a_row + 1 } else { 0 };
        (in_a_row == count).then_some(())
    };
    eventually(&format!("boxes follow the ball of {camera}"), take);
}

#[test]
fn boxes_follow_a_ball_through_crash_and_restart_of_its_writer() {
    let folder = runtime_dir();
    let analyser_args = "--channel lobby.rgb --channel gate.rgb";
    let mut analyser = Analyser::start(folder.path(), analyser_args);
    let first = Ball::start(folder.path(), "lobby.rgb");
    analyser.says("lobby.rgb: pictures of 320x240 RGB");
    let message = analyser.message();
    assert_eq!((&message["camera"], &message["width"]), (&"lobby".into(), &320.into()), "{}", first.errors());
    follow(&analyser, "lobby", LEARNED);

    drop(first);
    analyser.says("lobby.rgb: has no writer any more");
    let again = Ball::start(folder.path(), "lobby.rgb");
    let other = Ball::start(folder.path(), "gate.rgb");
    follow(&analyser, "lobby", LEARNED);
    follow(&analyser, "gate", LEARNED);

    analyser.signal(Signal::SIGTERM);
    assert_eq!(analyser.end().code(), Some(0));
    assert_eq!((again.errors(), other.errors()), (String::new(), String::new()), "the writers do not mind");
}
