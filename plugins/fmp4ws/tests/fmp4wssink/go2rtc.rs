//! A player like go2rtc's, written from the description of its protocol: the order of messages, and what a Media Source does
//! with them when nobody ever seeks.
//!
//! It opens `/api/ws?src=NAME`, sends `mse` with a fixed list of codecs, expects `mse` with a type, makes a SourceBuffer of it and
//! appends each binary message, in order, joined while the buffer is busy. Playing starts at media time 0.

use crate::pipeline::{CAMERA, MUX, Pipeline, decode};
use crate::viewer::{Received, Viewer};
use serde_json::json;

/// What the page of go2rtc asks a browser about; this one plays all of it.
const CODECS: [&str; 9] = [
    "avc1.640029",
    "avc1.64002A",
    "avc1.640033",
    "hvc1.1.6.L153.B0",
    "mp4a.40.2",
    "mp4a.40.5",
    "flac",
    "opus",
    "av01.0.08M.08",
];

struct Player {
    viewer: Viewer,
    /// The type of its SourceBuffer, once there is one.
    mime: Option<String>,
    /// What was appended.
    buffer: Vec<u8>,
    appended: usize,
}

impl Player {
    async fn open(port: u16, src: &str) -> Self {
        let mut viewer = Viewer::connect(port, &format!("/api/ws?src={src}")).await;
        // It tries WebRTC beside MSE, on the same socket.
        viewer.say(json!({"type": "mse", "value": CODECS.join()})).await;
        viewer.say(json!({"type": "webrtc/offer", "value": "v=0\r\n"})).await;
        viewer.say(json!({"type": "webrtc/candidate", "value": "candidate:1 1 udp 1 127.0.0.1 9 typ host"})).await;
        Self { viewer, mime: None, buffer: Vec::new(), appended: 0 }
    }

    /// Takes messages until that many were appended.
    async fn play(&mut self, count: usize) {
        while self.appended < count {
            match self.viewer.next().await {
                Received::Json(message) => {
                    // Nothing else is known to it, and nothing else may come.
                    assert_eq!(message["type"], "mse", "{message}");
                    assert!(self.mime.is_none(), "a second type: {message}");
                    let mime = message["value"].as_str().expect("a type").to_owned();
                    assert!(mime.starts_with("video/mp4; codecs=\"") && mime.ends_with('"'), "{mime}");
                    self.mime = Some(mime);
                }
                Received::Media(data) => {
                    assert!(self.mime.is_some(), "media comes after the type");
                    self.buffer.extend(data);
                    self.appended += 1;
                }
                Received::Closed => panic!("the connection was closed"),
            }
        }
    }

    /// What it shows: decodes all that was appended.
    fn shown(&self) -> crate::pipeline::Decoded {
        let folder = tempfile::tempdir().expect("there is room");
        let file = folder.path().join("played.mp4");
        std::fs::write(&file, &self.buffer).expect("there is room");
        decode(&file)
    }
}

trait Join {
    fn join(&self) -> String;
}

impl Join for [&str; 9] {
    fn join(&self) -> String {
        self[..].join(",")
    }
}

#[tokio::test]
async fn a_player_of_go2rtc_plays_encoded_frames_and_muxed_ones() {
    for sink in ["fmp4wssink port=0".to_owned(), format!("{MUX} ! fmp4wssink port=0")] {
        let pipeline = Pipeline::ready(&format!("{CAMERA} ! {sink}"));
        pipeline.play();
        let mut first = Player::open(pipeline.port(), "stream").await;
        first.play(31).await;
        // Another one comes in the middle of a group of pictures, and sees the same from its own time 0.
        let mut second = Player::open(pipeline.port(), "stream").await;
        second.play(31).await;
        for player in [&first, &second] {
            let shown = player.shown();
            assert_eq!(shown.frames, 30, "{sink}");
            assert_eq!(shown.pts, Some(gst::ClockTime::ZERO), "{sink}");
            assert_eq!(shown.size, (320, 240));
        }
        assert_eq!(first.mime, second.mime);
    }
}

#[tokio::test]
async fn errors_are_told_as_go2rtc_tells_them() {
    let pipeline = Pipeline::ready("fakesrc ! fmp4wssink port=0");
    let mut viewer = Viewer::connect(pipeline.port(), "/api/ws?src=nobody").await;
    viewer.say(json!({"type": "mse", "value": CODECS.join()})).await;
    assert_eq!(viewer.json().await, json!({"type": "error", "value": "mse: stream not found: nobody"}));
}
