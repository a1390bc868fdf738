//! Each example does what its README says.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::stage::browser::Browser;
use crate::stage::guide::Guide;
use crate::stage::runtime::{CHECKOUT, PROGRAMS};
use crate::stage::{Runtime, SOON, eventually};

const BUILT: Duration = Duration::from_secs(300);

fn example(name: &str) -> Guide {
    let guide = Guide::read(&Path::new("examples").join(name).join("README.md"), "\n");
    assert_eq!(guide.len(), 2, "an example has two terminals");
    guide
}

#[test]
fn share_rgb_has_a_slow_reader_and_one_that_misses_nothing() {
    let (runtime, example) = (Runtime::new(), example("share-rgb"));
    let _writer = example.paste(&runtime, 0);
    let readers = example.paste(&runtime, 1);
    // It reports once a second, if the machine has the time.
    let slow = |reader: &str| reader.lines().filter(|line| line.contains("progressreport0 (")).count();
    let sums =
        |reader: &str| reader.lines().filter(|line| line.split(' ').nth(1).is_some_and(|sum| sum.len() == 40)).count();
    readers.line("progressreport0 (", BUILT);
    let (reports, before) = (slow(&readers.output()), sums(&readers.output()));
    // The slow one gets five frames a second.
    let both = |output: &str| slow(output) >= reports + 3 && sums(output) > before + 30;
    readers.until("goes on with both", BUILT, both);
}

#[test]
fn browser_plays_and_the_sink_knows_its_viewers() {
    let (runtime, example) = (Runtime::new(), example("browser"));
    let server = example.paste(&runtime, 0);
    let mut streams = example.paste(&runtime, 1);
    // It may ask before the server is there: its first terminal has to look at the build.
    if !streams.wait(BUILT).success() {
        server.line("PLAYING", BUILT);
        streams = example.paste(&runtime, 1);
    }
    assert!(streams.finish(SOON).contains("lobby"));

    let browser = Browser::start(&runtime);
    browser.open(&format!("http://127.0.0.1:{}/", example.port));
    browser.ask_until("return all('valkka-video').some((player) => player.stats.width === 640)", SOON);
    let before = browser.ask("return all('valkka-video')[0].utc()");
    browser.ask_until(&format!("return all('valkka-video')[0].utc() > {before} + 2"), SOON);
    let told: Value = serde_json::from_str(&example.paste(&runtime, 1).finish(SOON)).expect("the sink answers in JSON");
    assert_eq!(told["lobby"]["viewers"].as_array().map(Vec::len), Some(1), "{told}");
}

#[test]
fn reply_arrives_at_the_writer_as_a_message() {
    let (runtime, example) = (Runtime::new(), example("reply"));
    let writer = example.paste(&runtime, 0);
    let reader = example.paste(&runtime, 1);
    reader.line("brightness", BUILT);
    // White and black, in the range of video.
    reader.line("brightness 235", SOON);
    reader.line("brightness 16", SOON);
    let message = writer.line("valkka-reply", SOON);
    for field in ["brightness=(double)", "generation=", "seq=", "reader="] {
        assert!(message.contains(field), "{field} in {message}");
    }
}

/// What an analyser says, as JSON in a line that gst-launch prints or a worker prints itself.
fn detections(line: &str) -> Value {
    let line = line.replace("\\\\", "\\").replace("\\", "");
    let json = &line[line.find("{\"").unwrap_or_else(|| panic!("no JSON in {line}"))..];
    let mut values = serde_json::Deserializer::from_str(json).into_iter();
    values.next().and_then(Result::ok).unwrap_or_else(|| panic!("no JSON in {line}"))
}

#[test]
fn worker_in_python_looks_at_two_channels_and_answers_each() {
    let (runtime, example) = (Runtime::new(), example("worker-python"));
    let cameras = example.paste(&runtime, 0);
    let worker = example.paste(&runtime, 1);
    worker.line("\"camera\": \"lobby\"", BUILT);
    let gate = detections(&worker.line("\"camera\": \"gate\"", SOON));
    assert_eq!((&gate["width"], &gate["height"]), (&322.into(), &240.into()), "{gate}");
    // The ball is found, and each sink hears of its own camera.
    worker.line("\"label\": \"motion\"", SOON);
    for (sink, camera, other) in [("valkkashmsink0", "lobby", "gate"), ("valkkashmsink1", "gate", "lobby")] {
        let reply = cameras.line(&format!("from element \"{sink}\" (element): valkka-reply"), SOON);
        assert!(reply.contains(camera) && !reply.contains(other), "{reply}");
    }
}

#[test]
fn worker_in_rust_answers_and_takes_commands() {
    let (runtime, example) = (Runtime::new(), example("worker-rust"));
    let camera = example.paste(&runtime, 0);
    let worker = example.paste(&runtime, 1);
    let said = detections(&worker.line("bright", BUILT));
    let edges: Vec<f64> =
        said["objects"][0]["box"].as_array().expect("a box").iter().filter_map(Value::as_f64).collect();
    let (across, down) = ((edges[2] - edges[0]) * 322.0, (edges[3] - edges[1]) * 240.0);
    // The ball has a radius of 20 pixels, and a soft edge.
    assert!((30.0..=41.0).contains(&across) && (30.0..=41.0).contains(&down), "{said}");
    camera.line("valkka-reply", SOON);
    drop(worker);

    let (ours, childs) = valkka_command::pair().expect("there are descriptors left");
    let mut command = runtime.command("worker-rust");
    let path = std::env::var("PATH").unwrap_or_default();
    command.arg("lobby.grey").env("PATH", format!("{}:{path}", PROGRAMS.join("examples").display()));
    valkka_command::pass(&mut command, childs);
    let mut child = command.spawn().expect("cargo builds examples");
    // The command keeps a descriptor of the child's.
    drop(command);
    let (heard, events) = std::sync::mpsc::channel();
    let on_event = move |event: valkka_command::Event| drop(heard.send(event.value.get().to_owned()));
    let frontend = valkka_command::Frontend::new(ours, on_event).expect("a thread can be started");
    let objects = || detections(&events.recv_timeout(SOON).expect("events come"))["objects"].clone();
    assert_ne!(objects(), serde_json::json!([]));
    frontend.call("threshold", &255, SOON).expect("the worker has this command");
    eventually("nothing is brighter than white", SOON, || (objects() == serde_json::json!([])).then_some(()));
    assert!(frontend.call("threshold", &256, SOON).is_err(), "parameters are checked");
    drop(frontend);
    let end = eventually("the worker ends with its frontend", SOON, || child.try_wait().expect("it is our child"));
    assert!(end.success());
}

#[test]
fn worker_in_c_answers() {
    let (runtime, example) = (Runtime::new(), example("worker-c"));
    let camera = example.paste(&runtime, 0);
    let worker = example.paste(&runtime, 1);
    worker.line("brightness 235", BUILT);
    worker.line("brightness 16", SOON);
    let message = camera.line("valkka-reply", SOON);
    assert!(message.contains("brightness=(double)") && message.contains("seq="), "{message}");
}

#[test]
fn elements_that_exist_can_be_workers() {
    let (runtime, example) = (Runtime::new(), example("worker-launch"));
    let _camera = example.paste(&runtime, 0);
    let worker = example.paste(&runtime, 1);
    let said = worker.line("luma-average", BUILT);
    assert!(said.contains("GstVideoAnalyse"), "{said}");
}

#[test]
fn overlay_draws_on_the_frame_that_was_analysed() {
    let (runtime, example) = (Runtime::new(), example("overlay"));
    let _analyser = example.paste(&runtime, 0);
    let overlay = example.paste(&runtime, 1);
    // "frame SEQ: motion ID at X,Y WxH"
    overlay.line(": motion ", BUILT);
    let lines = overlay.until("draws a good many boxes", BUILT, |output| output.matches(": motion ").count() >= 80);
    let near = lines.lines().filter(|line| is_over_the_ball(line)).count();
    assert!(near >= 20, "{near} boxes are over the ball: {lines}");
}

/// Is the box where videotestsrc paints the ball in the frame of that number? (`gst_video_test_src_ball`, animation by frames.)
fn is_over_the_ball(line: &str) -> bool {
    let numbers: Vec<f64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let [frame, _, x, y, ..] = numbers[..] else { return false };
    let turn = 2.0 * std::f64::consts::PI * frame / 200.0;
    let left = (0.5 + 0.5 * turn.sin()) * 600.0;
    let top = (0.5 + 0.5 * (turn * std::f64::consts::SQRT_2).sin()) * 320.0;
    (x - left).abs() <= 5.0 && (y - top).abs() <= 5.0
}

#[test]
fn every_example_has_a_test() {
    let folders = fs::read_dir(CHECKOUT.join("examples")).expect("the checkout has examples").flatten();
    let mut names: Vec<_> = folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(
        names,
        ["browser", "overlay", "reply", "share-rgb", "worker-c", "worker-launch", "worker-python", "worker-rust"],
        "an example without a test, or the other way round"
    );
}
