//! Cameras that are recorded and heard, under a running orchestrator.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::stage::orchestrator::Orchestrator;
use crate::stage::runtime::CHECKOUT;
use crate::stage::{Runtime, SOON, Viewer, eventually, eventually_or};

const LIVE: Duration = Duration::from_secs(90);

/// What `ffprobe` finds in a file: kind and codec of each stream, with the number of its packets. Nothing in one that has only
/// just begun.
#[track_caller]
fn probe(runtime: &Runtime, file: &Path) -> Vec<(String, String, u64)> {
    let mut command = runtime.command("ffprobe");
    command.args(["-v", "error", "-count_packets", "-show_streams", "-of", "json"]).arg(file);
    let mut probe = runtime.start(&command);
    if !probe.wait(LIVE).success() {
        return Vec::new();
    }
    let found: Value = serde_json::from_str(&probe.output()).expect("ffprobe says JSON");
    let text = |stream: &Value, key: &str| stream[key].as_str().unwrap_or_default().to_owned();
    let packets = |stream: &Value| stream["nb_read_packets"].as_str().and_then(|n| n.parse().ok()).unwrap_or(0);
    let streams = found["streams"].as_array().cloned().unwrap_or_default();
    let mut streams: Vec<_> =
        streams.iter().map(|s| (text(s, "codec_type"), text(s, "codec_name"), packets(s))).collect();
    streams.sort();
    streams
}

/// Files of a folder, the oldest first; those that have just gone are none.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort_by_key(|file| fs::metadata(file).and_then(|found| found.modified()).ok());
    files
}

/// A file as an earlier recorder has left it.
fn recorded(folder: &Path, name: &str, ago: Duration) -> PathBuf {
    let path = folder.join(name);
    let file = fs::File::create(&path).expect("the test's folder is writable");
    file.set_modified(SystemTime::now() - ago).expect("it is ours");
    path
}

#[test]
fn a_camera_is_recorded_while_it_runs_and_old_files_go() {
    let runtime = Runtime::new();
    let folder = runtime.path("recordings/a");
    fs::create_dir_all(&folder).expect("the test's folder is writable");
    let old = recorded(&folder, "a-long-ago-00000.mkv", Duration::from_secs(7 * 86_400 + 60));
    let young = recorded(&folder, "a-yesterday-00000.mkv", Duration::from_secs(86_400));
    let text = "[analysis]\nenabled = false\n[recording]\nsegment = \"2s\"\n[restream]\nlisten = \"127.0.0.1:0\"\n\
                [cameras.a]\nuri = \"test:ball\"\nrecord = true\n\
                values = { test-width = 64, test-height = 48, test-fps = 10 }\n";
    let config = runtime.path("valkka.toml");
    fs::write(&config, text).expect("the test's folder is writable");
    let mut valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    valkka.live(LIVE);
    eventually("three files are there, and the old one is gone", LIVE, || {
        let files = files(&folder);
        (files.len() >= 4 && files.contains(&young) && !files.contains(&old)).then_some(())
    });
    fs::remove_file(&young).expect("it is ours");
    // Those that are not written to any more; the last of them may take a moment.
    let plays = || {
        let complete = files(&folder).into_iter().rev().skip(1);
        let recorded: Vec<_> = complete.flat_map(|file| probe(&runtime, &file)).collect();
        assert!(recorded.iter().all(|(kind, codec, _)| kind == "video" && codec == "h264"), "{recorded:?}");
        (recorded.iter().map(|(_, _, packets)| packets).sum::<u64>() > 10).then_some(())
    };
    eventually("what was recorded can be played", LIVE, plays);

    // What is said of the rest of the camera touches neither its capture nor its recorder.
    let pids = || ["a.capture", "a.record"].map(|name| valkka.process(name)["pid"].clone());
    let before = pids();
    fs::write(&config, text.replace("record = true", "record = true\nrestream = true")).expect("it is writable");
    let said = runtime.start(runtime.command("valkka").arg("reload")).finish(LIVE);
    assert_eq!(pids(), before, "{said}");
    eventually("it is served on", LIVE, || (valkka.process("restream")["state"] == "running").then_some(()));

    // The last file is complete, too: its recorder was sent the end of the stream.
    valkka.process.signal(nix::sys::signal::Signal::SIGINT);
    assert!(valkka.process.wait(LIVE).success());
    let last = files(&folder).pop().expect("there are files");
    let streams = probe(&runtime, &last);
    assert!(streams.first().is_some_and(|(_, codec, _)| codec == "h264"), "{}: {streams:?}", last.display());
}

#[test]
fn a_recorder_whose_disk_is_away_for_long_goes_on_when_it_is_back() {
    let runtime = Runtime::new();
    let folder = runtime.path("recordings/a");
    let text = "[analysis]\nenabled = false\n[recording]\nsegment = \"2s\"\n[cameras.a]\nuri = \"test:ball\"\nrecord = true\n\
                values = { test-width = 64, test-height = 48, test-fps = 10 }\n";
    let config = runtime.path("valkka.toml");
    fs::write(&config, text).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    valkka.live(LIVE);
    eventually("it is recorded", LIVE, || files(&folder).pop());

    let away = runtime.path("away");
    fs::rename(runtime.path("recordings"), &away).expect("the folder is ours");
    // More early ends in a row than others are granted.
    let tried = || (valkka.process("a.record")["restarts"].as_u64() > Some(8)).then_some(());
    eventually_or(LIVE * 2, tried, || format!("it is tried again and again\n{}", valkka.status()));
    fs::rename(&away, runtime.path("recordings")).expect("the folder is ours");
    let before = files(&folder);
    let recorded = || files(&folder).into_iter().find(|file| !before.contains(file));
    eventually_or(LIVE, recorded, || format!("it is recorded again\n{}", valkka.status()));
    assert_eq!(valkka.status()["cameras"][0]["state"], "live", "who watches does not notice");
}

/// The beginning of a camera's picture and sound as a browser gets it, from the socket of its web process.
fn beginning(socket: &Path, camera: &str, bytes: usize) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).expect("its web process runs");
    stream.set_read_timeout(Some(SOON)).expect("a socket has a time limit");
    write!(stream, "GET /{camera}.mp4 HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("a request is short");
    let mut answer = Vec::new();
    stream.take(bytes as u64).read_to_end(&mut answer).expect("the stream goes on");
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("an answer has a head");
    answer.split_off(end + 4)
}

#[test]
fn the_sound_of_a_camera_reaches_browsers_and_one_without_any_is_seen_all_the_same() {
    let runtime = Runtime::new();
    let camera = runtime.start(&runtime.command(&CHECKOUT.join("tests/peers/sound_camera.py").to_string_lossy()));
    camera.line("/silent", SOON);
    let text = "[analysis]\nenabled = false\n".to_owned();
    let table = |uri: &str| {
        let name = uri.rsplit('/').next().expect("an address has a path");
        format!("[cameras.{name}]\nuri = \"{uri}\"\naudio = true\nlatency = 100\n")
    };
    let config = runtime.path("valkka.toml");
    let tables: String = camera.output().lines().map(table).collect();
    fs::write(&config, text + &tables).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    valkka.live(LIVE);

    for (name, expected) in [("silent", &["video h264"][..]), ("sound", &["audio aac", "video h264"])] {
        let mut viewer = Viewer::connect(&valkka, name);
        viewer.fragments(5);
        let socket = valkka.channels.join(format!("{name}.web"));
        let file = runtime.path(&format!("{name}.mp4"));
        // Sound that comes later than the first picture is taken in with the next keyframe.
        let complete = || {
            fs::write(&file, beginning(&socket, name, 60_000)).expect("the test's folder is writable");
            let seen = probe(&runtime, &file);
            let kinds: Vec<_> = seen.iter().map(|(kind, codec, _)| format!("{kind} {codec}")).collect();
            (kinds == expected && seen.iter().all(|(_, _, packets)| *packets > 5)).then_some(())
        };
        eventually_or(LIVE, complete, || format!("{name} has {expected:?}\n{}", valkka.status()));
    }
    // A camera that is not ready when it is first asked costs one; whoever waits for sound in vain is not started again and again.
    for name in ["silent.capture", "sound.capture"] {
        assert!(valkka.process(name)["restarts"].as_u64() <= Some(1), "{name}: {}", valkka.status());
    }
}
