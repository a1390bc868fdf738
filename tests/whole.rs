//! The whole chain on real video: pedestrians of `vtest.avi`, from an RTSP camera to the analyser and to a browser.

use std::path::PathBuf;
use std::time::Duration;

use gst::prelude::*;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::browser::Browser;
use crate::stage::orchestrator::Orchestrator;
use crate::stage::pipeline::{Pipeline, pull};
use crate::stage::runtime::{CHECKOUT, PROGRAMS};
use crate::stage::{Process, Runtime, SOON, Viewer, eventually};

const LIVE: Duration = Duration::from_secs(60);

/// So many frames are in the video.
const FRAMES: usize = 795;

/// Debian's video of pedestrians: 768x576, 10 frames a second. `./dev test` fetches it.
fn pedestrians() -> PathBuf {
    let target = PROGRAMS.parent().expect("programs are in a folder of cargo's").to_owned();
    let file = target.join("video/vtest.avi");
    assert!(file.exists(), "{} is missing: ./dev test fetches it", file.display());
    file
}

/// Grey pictures of the file, an eighth of its size in each direction: enough to tell one frame from the next.
fn pictures_of_the_file(count: usize) -> Vec<Vec<u8>> {
    let small = "videoconvertscale ! video/x-raw,format=RGB,width=768,height=576";
    let location = pedestrians();
    let sink = "appsink name=sink sync=false max-buffers=4";
    let file = Pipeline::parse(&format!("filesrc location={} ! decodebin ! {small} ! {sink}", location.display()));
    let sink = file.element("sink").downcast().expect("an appsink is an AppSink");
    file.play();
    (0..count).map(|_| small_grey(&pull(&sink, SOON))).collect()
}

/// A picture of 768x576 RGB as 96x72 grey, each pixel the mean of 64.
fn small_grey(sample: &gst::Sample) -> Vec<u8> {
    let buffer = sample.buffer().expect("a sample has a buffer");
    let map = buffer.map_readable().expect("a frame can be read");
    assert_eq!(map.len(), 768 * 576 * 3);
    let mut sums = vec![0u32; 96 * 72];
    for (y, row) in map.chunks_exact(768 * 3).enumerate() {
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            sums[(y / 8) * 96 + x / 8] += pixel.iter().map(|&part| u32::from(part)).sum::<u32>();
        }
    }
    sums.iter().map(|sum| (sum / 192) as u8).collect()
}

/// Sum of squared differences.
fn distance(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum()
}

#[test]
fn frames_reach_the_analyser_one_by_one_and_their_times_are_the_files() {
    let runtime = Runtime::new();
    let file = pictures_of_the_file(300);
    let mut camera = runtime.command(&CHECKOUT.join("tests/peers/rtsp_camera.py").to_string_lossy());
    let camera = runtime.start(camera.arg(pedestrians()));
    let uri = camera.line("rtsp://", SOON);
    let named = format!("street={uri}");
    let valkka = Orchestrator::start(&runtime, &["run", &named, "--analysis-width", "768", "--analysis-fps", "25"]);
    let mut events = valkka.events("detections");
    let (reader, sink) = Pipeline::subscriber(&valkka.channels.join("street.rgb"), "policy=queue queue-size=16");
    reader.play();

    // What this reader sees of a frame, and what the analyser says of the same frame.
    let mut frames = Vec::new();
    // A camera's first frames come in a burst, of which those that nobody could use are dropped.
    (0..5).for_each(|_| drop(pull(&sink, LIVE)));
    while frames.len() < 60 {
        let sample = pull(&sink, LIVE);
        let buffer = sample.buffer().expect("a sample has a buffer");
        let pts = buffer.pts().expect("a camera's frame has a time") + reader.base_time();
        frames.push((buffer.offset(), pts.nseconds(), small_grey(&sample)));
    }
    let mut said = Vec::new();
    while said.last().is_none_or(|last: &Value| last["seq"].as_u64() < frames.last().map(|frame| frame.0)) {
        said.push(events.next("detections"));
    }

    let nearest = |picture: &Vec<u8>| {
        let best = (0..file.len()).min_by_key(|&index| distance(&file[index], picture)).expect("the file has frames");
        assert!(distance(&file[best], picture) < 96 * 72 * 40, "no frame of the file looks like this");
        best
    };
    let places: Vec<_> = frames.iter().map(|(_, _, picture)| nearest(picture)).collect();
    // A machine without time drops frames after the decoder; it shows none twice and none too early.
    assert!(places.is_sorted_by(|one, next| one < next), "the frames of the file, in order: {places:?}");

    let mut agreed = 0;
    for (index, (seq, pts, _)) in frames.iter().enumerate() {
        // RTP counts 90,000ths of a second, and the receiver follows the sender's clock.
        let expected = frames[0].1 + (places[index] - places[0]) as u64 * 100_000_000;
        assert!(pts.abs_diff(expected) < 50_000_000, "frame {index} is {} ns off", pts.abs_diff(expected));
        let Some(message) = said.iter().find(|message| message["seq"] == *seq) else { continue };
        let told = message["pts"].as_u64().expect("a message tells its frame's time");
        // The time stamp passed two pipelines on the one side and none on the other.
        assert_eq!(told, *pts, "the analyser and a pipeline agree on the time of frame {seq}");
        assert_eq!((&message["width"], &message["height"]), (&768.into(), &576.into()));
        agreed += 1;
    }
    // It looks at as many as it has time for.
    assert!(agreed > 5, "the analyser has told of {agreed} of these 60 frames");
    assert!(said.iter().any(|message| message["objects"].as_array().is_some_and(|objects| !objects.is_empty())));
}

#[test]
fn what_moves_in_the_file_is_in_the_analysers_boxes() {
    let runtime = Runtime::new();
    let file = pictures_of_the_file(200);
    let mut analyse = runtime.command("valkka-analyse");
    let mut analyser = runtime.start(analyse.args(["--channel", "a.rgb", "--policy", "lossless", "--until-eos"]));
    let frames = "decodebin ! videoconvertscale ! video/x-raw,format=RGB,width=768,height=576";
    let sink = "valkkashmsink wait-for-reader=true lossless-timeout=60000000000 sync=false channel=a.rgb";
    let location = pedestrians();
    // All of it: what an element in between cut off would depend on what the decoder still has in its threads.
    runtime
        .launch(&format!("filesrc location={} ! {frames} ! {sink}", location.display()))
        .finish(Duration::from_secs(120));
    let lines = analyser.finish(Duration::from_secs(120));
    let mut said: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    // What becomes of an object is told beside.
    said.retain(|message| message["type"].is_null());
    let seqs: Vec<_> = said.iter().filter_map(|message| message["seq"].as_u64()).collect();
    assert_eq!(seqs, Vec::from_iter(0..FRAMES as u64), "one line per frame");

    let (mut inside, mut outside) = ((0, 0), (0, 0));
    for (index, message) in said.iter().enumerate().take(file.len()).skip(100) {
        let boxes: Vec<Vec<f64>> =
            message["objects"].as_array().expect("objects are a list").iter().map(edges).collect();
        for (pixel, (now, before)) in file[index].iter().zip(&file[index - 1]).enumerate() {
            let (x, y) = ((pixel % 96) as f64 / 96.0 + 0.005, (pixel / 96) as f64 / 72.0 + 0.005);
            let boxed = boxes.iter().any(|b| x >= b[0] && y >= b[1] && x <= b[2] && y <= b[3]);
            let count = if boxed { &mut inside } else { &mut outside };
            *count = (count.0 + u64::from(now.abs_diff(*before) > 12), count.1 + 1);
        }
    }
    let share = |(moved, all): (u64, u64)| moved as f64 / all.max(1) as f64;
    assert!(share(inside) > 20.0 * share(outside), "moved: {inside:?} in boxes, {outside:?} outside");
    assert!(inside.0 > outside.0, "most of what moves is in a box: {inside:?}, {outside:?}");
}

fn edges(object: &Value) -> Vec<f64> {
    let edges = object["box"].as_array().expect("an object has a box");
    edges.iter().map(|edge| edge.as_f64().expect("an edge is a number")).collect()
}

#[test]
fn pedestrians_play_in_a_browser_with_boxes_on_them() {
    let runtime = Runtime::new();
    let file = pedestrians();
    let valkka = Orchestrator::start(&runtime, &["demo", "--video", &file.to_string_lossy()]);
    valkka.live(LIVE);
    let browser = Browser::start(&runtime);
    browser.open(&valkka.address);

    browser.ask_until("return all('valkka-video').some((player) => player.state === 'playing')", LIVE);
    let before = browser.ask_until("return all('valkka-video')[0].utc()", LIVE);
    browser.ask_until(&format!("return all('valkka-video')[0].utc() > {before} + 3"), LIVE);
    browser.ask_until("return all('valkka-video')[0].stats.frames > 20", LIVE);
    assert_eq!(
        browser.ask("const { width, height } = all('valkka-video')[0].stats; return [width, height]"),
        serde_json::json!([768, 576])
    );

    // Somebody walks at all times in this video. What is drawn lies over the picture and lets it through elsewhere.
    let drawn = "
        for (const canvas of all('canvas').filter((c) => c.width > 0 && c.height > 0)) {
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let opaque = 0;
            for (let i = 3; i < data.length; i += 4) opaque += data[i] > 0;
            if (opaque > 50 && opaque < data.length / 8) return opaque;
        }
        return 0";
    browser.ask_until(drawn, LIVE);
    std::fs::write(PROGRAMS.join("page.png"), browser.screenshot()).expect("cargo's folder is writable");
}

#[test]
fn what_is_killed_comes_back_and_an_interrupt_leaves_nothing_behind() {
    let runtime = Runtime::new();
    let mut valkka = Orchestrator::start(&runtime, &["demo", "--cameras", "2"]);
    valkka.live(LIVE);
    for name in ["lobby.capture", "lobby.web", "analyse"] {
        let mut awake = Viewer::connect(&valkka, "lobby");
        awake.fragments(1);
        let victim = valkka.process(name);
        let pid = victim["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
        signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
        let back = || {
            let process = valkka.process(name);
            (process["restarts"] != victim["restarts"] && process["state"] == "running").then_some(())
        };
        eventually(&format!("{name} runs again"), LIVE, back);
        valkka.live(LIVE);
        valkka.events("detections").next("detections");
    }

    let mut awake = ["lobby", "gate"].map(|camera| Viewer::connect(&valkka, camera));
    awake.iter_mut().for_each(|viewer| viewer.fragments(1));
    let status = valkka.status();
    let processes = status["processes"].as_array().expect("a status has processes");
    let pids: Vec<_> = processes.iter().filter_map(|process| process["pid"].as_i64()).collect();
    assert!(pids.len() >= 6, "a server, two captures, two web processes and an analyser: {status}");
    valkka.process.signal(Signal::SIGINT);
    ends_well(&mut valkka.process);
    for pid in pids {
        assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "process {pid} is left behind: {status}");
    }
    assert!(!valkka.channels.exists(), "the run's folder is left behind");
}

#[test]
fn a_killed_orchestrator_takes_its_processes_along() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["demo", "--cameras", "1"]);
    valkka.live(LIVE);
    let status = valkka.status();
    let processes = status["processes"].as_array().expect("a status has processes");
    let pids: Vec<_> = processes.iter().filter_map(|process| process["pid"].as_i64()).collect();
    valkka.process.crash();
    for pid in pids {
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        };
        eventually(&format!("process {pid} ends with its orchestrator"), SOON, gone);
    }
}

#[track_caller]
fn ends_well(process: &mut Process) {
    let status = process.wait(LIVE);
    assert!(status.success(), "{status}\n{}", process.errors());
}
