//! A stream as a file, for players of files.

use crate::http::{connect, get, request, streams};
use crate::parsers::{ffprobe, qtdemux};
use crate::pipeline::{CAMERA, DEADLINE, Pipeline, decode};
use crate::slow::HEAVY;
use gst::prelude::*;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn curl_gets_a_file_that_others_decode() {
    let camera = CAMERA.replace("is-live=true", "is-live=true num-buffers=60");
    let pipeline = Pipeline::ready(&format!("{camera} ! fmp4wssink port=0 stream-name=\"front door\""));
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("door.mp4");
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "60", "--dump-header", "-", "--output"]).arg(&file);
    let curl = curl.arg(format!("http://127.0.0.1:{}/front%20door.mp4", pipeline.port())).stdout(Stdio::piped());
    let curl = curl.spawn().expect("curl is installed");
    pipeline.play_for(1);
    let output = curl.wait_with_output().expect("it ends with the stream");
    assert!(output.status.success(), "{output:?}");
    let head = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(head.contains("content-type: video/mp4") && head.contains("connection: close"), "{head}");
    assert_eq!(decode(&file).frames, 60);
    let times = ffprobe(&file);
    assert_eq!((times.video.len(), times.video[0]), (60, 0));
    assert_eq!(qtdemux(&file).video.len(), 60);
}

#[test]
fn a_late_player_starts_with_a_keyframe_at_time_0() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! fmp4wssink port=0"));
    pipeline.play();
    // The first second is over, and another keyframe has come.
    while streams(pipeline.port())["stream"]["keyframes"].as_u64() < Some(2) {
        std::thread::yield_now();
    }
    // GStreamer's own client; it stops by itself.
    let location = format!("http://127.0.0.1:{}/stream.mp4", pipeline.port());
    let player = Pipeline::null(&format!(
        "souphttpsrc location={location} is-live=true ! qtdemux ! h264parse ! avdec_h264 output-corrupt=false \
         ! identity eos-after=20 ! fakesink name=out sync=false"
    ));
    let (send, times) = std::sync::mpsc::channel();
    let pad = player.element("out").static_pad("sink").expect("a sink has a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let _ = send.send(info.buffer().and_then(|buffer| buffer.pts()));
        gst::PadProbeReturn::Ok
    });
    player.play();
    player.wait_eos();
    let times: Vec<_> = times.try_iter().collect();
    assert!(times.len() >= 19, "{times:?}");
    assert_eq!(times[0], Some(gst::ClockTime::ZERO));
    assert!(times[18] > times[0] && times[18] < Some(gst::ClockTime::from_seconds(2)), "{times:?}");
}

#[test]
fn ffprobe_reads_it_over_http_while_it_runs() {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! fmp4wssink port=0"));
    pipeline.play();
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-read_intervals",
        "%+#15",
        "-show_entries",
        "frame=pts_time,pict_type",
        "-of",
        "csv=p=0",
    ]);
    let output = command.arg(format!("http://127.0.0.1:{}/stream.mp4", pipeline.port())).output();
    let output = output.expect("ffprobe (package ffmpeg) is installed");
    let frames = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && frames.lines().count() >= 15, "{output:?}");
    assert!(frames.starts_with("0.000000,I"), "{frames}");
}

#[test]
fn what_there_is_no_film_of_is_answered_in_words() {
    let pipeline = Pipeline::ready("fakesrc ! fmp4wssink port=0 max-viewers=1");
    let port = pipeline.port();
    assert!(get(port, "/nobody.mp4").contains("stream not found: nobody"));
    assert!(get(port, "/stream.avi").starts_with("HTTP/1.1 404"));
    let head = request(port, &format!("HEAD /stream.mp4 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n"));
    assert!(head.contains("content-type: video/mp4"), "{head}");
    assert_eq!(pipeline.sink().property::<u32>("viewers"), 0);
    let mut seated = connect(port);
    seated.write_all(b"GET /stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the sink reads");
    let mut start = [0; 12];
    seated.read_exact(&mut start).expect("the sink answers before there is media");
    assert_eq!(&start, b"HTTP/1.1 200");
    let full = get(port, "/stream.mp4");
    assert!(full.starts_with("HTTP/1.1 503") && full.contains("has its 1 viewers already"), "{full}");
}

#[test]
fn a_slow_player_of_files_skips_and_sees_no_hole() {
    let pipeline = Pipeline::ready(&format!("{HEAVY} ! fmp4wssink port=0 max-queue-bytes=1500000"));
    let mut stream = connect(pipeline.port());
    stream.write_all(b"GET /stream.mp4 HTTP/1.0\r\n\r\n").expect("the sink reads");
    pipeline.play_for(1);
    // It reads nothing until the stream has ended; what waits for it is bounded.
    pipeline.wait_eos();
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it ends with the stream");
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("slow.mp4");
    std::fs::write(&file, &answer[head..]).expect("there is room");
    let times = ffprobe(&file).video;
    assert!(times.len() > 5 && times.len() < 60, "{}", times.len());
    let step = i64::try_from(Duration::from_millis(50).as_nanos()).expect("a number");
    for (index, pair) in times.windows(2).enumerate() {
        assert!((pair[1] - pair[0] - step).abs() < 2_000_000, "{index}: {times:?}");
    }
}
