//! The pipelines of the README work when they are pasted. A webcam there is a test picture here, everything else is real.

use crate::pipeline::{DEADLINE, Pipeline};
use crate::viewer::{Received, Viewer, keyframe};
use gst::glib;
use gst_rtsp_server::prelude::*;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

const README: &str = include_str!("../../README.md");

/// The commands below `introduction`, as one line.
fn command(introduction: &str) -> String {
    let below = README.split_once(introduction).unwrap_or_else(|| panic!("no {introduction} in the README")).1;
    let block = below.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("```"));
    block.expect("commands follow").0.replace("\\\n", " ").trim().to_owned()
}

/// What stands behind gst-launch-1.0, on a port of its own.
fn pipeline(command: &str) -> Pipeline {
    let description = command.split_once("gst-launch-1.0 ").expect("it is a gst-launch line").1;
    Pipeline::ready(&description.replace("fmp4wssink", "fmp4wssink port=0"))
}

/// A viewer sees pictures of these codecs, from a keyframe on.
async fn assert_plays(pipeline: &Pipeline, codecs: &[&str]) {
    pipeline.play();
    let mut viewer = Viewer::connect(pipeline.port(), "/api/ws").await;
    viewer.say(serde_json::json!({"type": "mse", "value": "", "ext": 1})).await;
    let mut mime = viewer.json().await["value"].as_str().expect("a string").to_owned();
    // Pictures wait for the first sound for a second. On a busy machine it may come later, and is told then.
    let since = Instant::now();
    while mime.matches(',').count() + 1 < codecs.len() {
        assert!(since.elapsed() < DEADLINE, "it stays {mime}");
        if let Received::Json(value) = viewer.next().await
            && value["type"] == "reinit"
        {
            mime = value["value"].as_str().expect("a string").to_owned();
        }
    }
    assert_eq!(mime.matches(',').count() + 1, codecs.len(), "{mime}");
    assert!(codecs.iter().all(|codec| mime.contains(codec)), "{mime}");
    assert!(keyframe(&viewer.record(12).await.fragments[0]));
}

#[tokio::test]
async fn a_test_picture() {
    assert_plays(&pipeline(&command("a page included.")), &["avc1"]).await;
}

#[tokio::test]
async fn a_test_picture_with_sound() {
    assert_plays(&pipeline(&command("The same with sound")), &["avc1", "opus"]).await;
}

#[tokio::test]
async fn a_webcam() {
    let line = command("A webcam:").replace("v4l2src", "videotestsrc is-live=true");
    assert_plays(&pipeline(&line), &["avc1"]).await;
}

/// An RTSP server with a camera, until it is dropped.
struct Camera {
    port: u16,
    serving: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    fn start() -> Self {
        crate::pipeline::init();
        let context = glib::MainContext::new();
        let server = gst_rtsp_server::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let factory = gst_rtsp_server::RTSPMediaFactory::new();
        factory.set_launch(
            "( videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
             ! x264enc tune=zerolatency key-int-max=25 ! rtph264pay config-interval=-1 name=pay0 pt=96 \
             audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97 )",
        );
        server.mount_points().expect("a server has them").add_factory("/camera", factory);
        let _attached = server.attach(Some(&context)).expect("there is a free port");
        let port = u16::try_from(server.bound_port()).expect("it is bound");
        let serving = glib::MainLoop::new(Some(&context), false);
        let looping = serving.clone();
        let thread = std::thread::spawn(move || {
            let _server = server;
            context.with_thread_default(|| looping.run()).expect("nobody else runs this loop");
        });
        Self { port, serving, thread: Some(thread) }
    }

    /// The line with this camera's address in it.
    fn instead_of_the_readmes(&self, line: &str) -> String {
        line.replace("rtsp://CAMERA", &format!("rtsp://127.0.0.1:{}/camera protocols=tcp", self.port))
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.serving.quit();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn an_rtsp_camera() {
    let camera = Camera::start();
    assert_plays(&pipeline(&camera.instead_of_the_readmes(&command("without transcoding:"))), &["avc1"]).await;
}

#[tokio::test]
async fn an_rtsp_camera_with_sound() {
    let camera = Camera::start();
    let line = camera.instead_of_the_readmes(&command("A camera with sound"));
    assert_plays(&pipeline(&line), &["avc1", "mp4a.40.2"]).await;
}

/// A file with pictures and sound.
fn film(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("film.mp4").display().to_string();
    let pipeline = Pipeline::null(&format!(
        "mp4mux name=mux ! filesink location={path} \
         videotestsrc num-buffers=200 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
         ! x264enc speed-preset=ultrafast key-int-max=25 ! h264parse ! mux.video_0 \
         audiotestsrc num-buffers=375 samplesperbuffer=1024 ! audio/x-raw,rate=48000,channels=2 ! avenc_aac ! aacparse ! mux.audio_0"
    ));
    pipeline.play();
    pipeline.wait_eos();
    path
}

#[tokio::test]
async fn a_file() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let line = command("A file, at its own pace:").replace("FILE.mp4", &film(&folder));
    assert_plays(&pipeline(&line), &["avc1", "mp4a.40.2"]).await;
}

/// Ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_pipe_from_ffmpeg() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let line = command("for instance ffmpeg:").replace("FILE.mp4", &film(&folder));
    let (ffmpeg, sink) = line.split_once('|').expect("it is a pipe");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {ffmpeg}")]).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut ffmpeg = Killed(shell.spawn().expect("there is a shell"));
    let pipe = ffmpeg.0.stdout.take().expect("it was asked for");
    let pipeline = pipeline(&sink.replace("fdsrc", &format!("fdsrc fd={}", pipe.as_raw_fd())));
    pipeline.play();
    let mut viewer = Viewer::connect(pipeline.port(), "/api/ws").await;
    viewer.say(serde_json::json!({"type": "mse", "value": ""})).await;
    assert!(viewer.json().await["value"].as_str().is_some_and(|mime| mime.contains("avc1") && mime.contains("mp4a")));
    assert!(keyframe(&viewer.record(2).await.fragments[0]));
}
