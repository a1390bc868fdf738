//! The templates as a user meets them: printed for a camera, pasted into a shell, run by `gst-launch-1.0` itself.

use std::fs;
use std::time::Duration;

use crate::stage::{Process, Runtime, SOON, eventually};

const LIVE: Duration = Duration::from_secs(60);

/// The line that `valkka template show` prints.
#[track_caller]
fn printed(runtime: &Runtime, name: &str, camera: &str) -> String {
    let mut command = runtime.command("valkka");
    let mut process = runtime.start(command.args(["template", "show", name, "--camera", camera, "--secrets"]));
    process.finish(SOON).trim().to_owned()
}

/// A shell that runs it.
fn pasted(runtime: &Runtime, line: &str) -> Process {
    runtime.start(runtime.command("sh").args(["-c", &format!("exec {line}")]))
}

/// Waits until frames come out of a channel.
#[track_caller]
fn publishes(runtime: &Runtime, channel: &str, writer: &mut Process) {
    let reader = format!("valkkashmsrc channel={channel} num-buffers=5 forward-eos=false ! fakesink");
    let mut reader = runtime.launch(&reader);
    let read = || match (writer.is_running(), reader.is_running()) {
        (_, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    };
    let came = eventually(&format!("frames in {channel}"), LIVE, read);
    assert!(came, "it has ended: {}\n{}", writer.output(), writer.errors());
    reader.finish(SOON);
}

/// Writes a file with a few seconds of video; in its name what shells and parsers stumble over.
fn video(runtime: &Runtime) -> String {
    let plain = runtime.path("video.mkv");
    let description = format!(
        "videotestsrc num-buffers=1200 ! video/x-raw,width=64,height=48,framerate=10/1 ! jpegenc ! matroskamux \
         ! filesink location={}",
        plain.display()
    );
    runtime.launch(&description).finish(LIVE);
    let name = runtime.path("it's \"my\" video; $(rm x) ! {camera}.mkv");
    fs::rename(plain, &name).expect("the test's folder is writable");
    name.to_string_lossy().into_owned()
}

#[test]
fn a_test_picture_and_its_readers_run_as_they_are_printed() {
    let runtime = Runtime::new();
    let mut capture = pasted(&runtime, &printed(&runtime, "capture-test", "ball=test:ball"));
    publishes(&runtime, "ball.h264", &mut capture);
    publishes(&runtime, "ball.rgb", &mut capture);

    let mut relay = pasted(&runtime, &printed(&runtime, "relay", "ball=test:ball"));
    publishes(&runtime, "relay.rgb", &mut relay);

    let socket = runtime.sockets().join("ball.web");
    let mut web = pasted(&runtime, &printed(&runtime, "web", "ball=test:ball"));
    eventually("the web pipeline listens", LIVE, || socket.exists().then_some(()));
    assert!(web.is_running());

    let folder = runtime.path("recordings/ball");
    fs::create_dir_all(&folder).expect("the test's folder is writable");
    let record = printed(&runtime, "record", "ball=test:ball");
    assert!(record.contains("recordings/ball/ball-by-hand-%05d.mkv"), "{record}");
    let mut record = pasted(&runtime, &record.replace("gst-launch-1.0", "gst-launch-1.0 -e"));
    let file = folder.join("ball-by-hand-00000.mkv");
    eventually("something is recorded", LIVE, || (fs::metadata(&file).ok()?.len() > 10_000).then_some(()));
    record.signal(nix::sys::signal::Signal::SIGINT);
    record.finish(SOON);
    let decode = format!("filesrc location={} ! matroskademux ! h264parse ! avdec_h264 ! fakesink", file.display());
    runtime.launch(&decode).finish(LIVE);

    let mut restream = pasted(&runtime, &printed(&runtime, "restream", "ball=test:ball"));
    let playing = || restream.output().contains("PLAYING").then_some(());
    eventually("packets are sent", LIVE, playing);
    assert!(restream.is_running(), "{}", restream.errors());
}

#[test]
fn a_file_with_a_wild_name_and_a_description_run_as_they_are_printed() {
    let runtime = Runtime::new();
    let file = printed(&runtime, "capture-file", &format!("film={}", video(&runtime)));
    publishes(&runtime, "film.rgb", &mut pasted(&runtime, &file));

    let text = "[cameras.mine]\npipeline = \"videotestsrc is-live=true ! video/x-raw,width=64,height=48 ! jpegenc\"\n";
    fs::write(runtime.path("valkka.toml"), text).expect("the test's folder is writable");
    let line = printed(&runtime, "capture-pipeline", "mine");
    assert!(line.contains("videotestsrc is-live=true ! video/x-raw"), "{line}");
    publishes(&runtime, "mine.h264", &mut pasted(&runtime, &line));
}

/// Starts an RTSP server in a process of its own; its address.
fn rtsp_server(runtime: &Runtime) -> (Process, String) {
    let server = runtime.start(runtime.command("valkka").args(["rtsp-server", "--camera", "lobby"]));
    let address = server.line("rtsp://", LIVE);
    (server, address)
}

#[test]
fn an_rtsp_camera_runs_as_it_is_printed_over_tcp_and_udp() {
    let runtime = Runtime::new();
    let (_server, uri) = rtsp_server(&runtime);
    let text = format!(
        "[cameras.tcp]\nuri = \"{uri}\"\n[cameras.udp]\nuri = \"{uri}\"\ntransport = \"udp\"\n[cameras.h265]\n\
         uri = \"{uri}\"\ncodec = \"h265\"\n[cameras.sound]\nuri = \"{uri}\"\naudio = true\n"
    );
    fs::write(runtime.path("valkka.toml"), text).expect("the test's folder is writable");
    for camera in ["tcp", "udp"] {
        let line = printed(&runtime, "capture-rtsp", camera);
        assert!(line.contains(&format!("protocols={camera}")), "{line}");
        let mut capture = pasted(&runtime, &line);
        publishes(&runtime, &format!("{camera}.h264"), &mut capture);
        publishes(&runtime, &format!("{camera}.rgb"), &mut capture);
    }
    let line = printed(&runtime, "capture-rtsp", "h265");
    assert!(line.contains("rtph265depay ! video/x-h265,stream-format=hvc1"), "{line}");
    // What has no source here is at least parsed, to the last element and property.
    for (template, camera) in [("capture-rtsp", "h265"), ("capture-rtsp-audio", "sound"), ("record-audio", "sound")] {
        parses(&runtime, &printed(&runtime, template, camera));
    }
    parses(&runtime, &printed(&runtime, "capture-usb", "/dev/video9"));
}

/// `gst-launch-1.0` understands every word: a pipeline that it sets up before anything else is waited for.
#[track_caller]
fn parses(runtime: &Runtime, line: &str) {
    let mut process = pasted(runtime, line);
    let set_up = || (process.output().contains("Setting pipeline to PAUSED") || !process.is_running()).then_some(());
    eventually("it is parsed", LIVE, set_up);
    let said = process.errors();
    assert!(
        !said.contains("erroneous") && !said.contains("no element") && !said.contains("no property"),
        "{line}\n{said}"
    );
    assert!(process.output().contains("Setting pipeline to PAUSED"), "{line}\n{said}");
}

#[test]
fn passwords_are_shown_only_to_who_asks_for_them() {
    let runtime = Runtime::new();
    let show = |more: &[&str]| {
        let mut command = runtime.command("valkka");
        command.args(["template", "show", "capture-rtsp", "--camera", "a=rtsp://me:hush@cam/1"]).args(more);
        runtime.start(&command).finish(SOON)
    };
    assert!(show(&[]).contains("location=rtsp://***@cam/1"));
    assert!(show(&["--secrets"]).contains("me:hush@cam"));
    let mut unknown = runtime.start(runtime.command("valkka").args(["template", "show", "nothing"]));
    assert_eq!(unknown.wait(SOON).code(), Some(4));
}

#[test]
fn channels_are_served_on_by_rtsp() {
    let runtime = Runtime::new();
    let mut capture = pasted(&runtime, &printed(&runtime, "capture-test", "ball=test:ball"));
    publishes(&runtime, "ball.h264", &mut capture);
    let description = printed(&runtime, "restream", "ball=test:ball");
    let description = description.strip_prefix("gst-launch-1.0 ").expect("it is a line for gst-launch");
    let mount = format!("ball={description}");
    let server =
        runtime.start(runtime.command("valkka").args(["restream", "--listen", "127.0.0.1:0", "--mount", &mount]));
    let uri = server.line("rtsp://", LIVE);
    let viewer = format!(
        "rtspsrc location={uri} protocols=tcp ! rtph264depay ! h264parse ! avdec_h264 ! fakesink num-buffers=10"
    );
    runtime.launch(&viewer).finish(LIVE);
}
