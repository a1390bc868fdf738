//! What cannot work is refused: the process ends badly, soon, and says what to do about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::Uid;

use crate::stage::runtime::PLUGINS;
use crate::stage::{Runtime, SCAN, SOON};

const CAMERA: &str = "videotestsrc is-live=true ! video/x-raw,format=RGB,width=320,height=240,framerate=50/1";

/// Fails unless the complaint names each of these.
#[track_caller]
fn says(complaint: &str, words: &[&str]) {
    for word in words {
        assert!(complaint.contains(word), "nothing about `{word}` in:\n{complaint}");
    }
    assert!(!complaint.contains("panicked"), "{complaint}");
}

#[test]
fn a_wrong_channel_name_is_refused_by_both_elements() {
    let runtime = Runtime::new();
    for name in ["Lobby", "a/b", "..", "größer", &"x".repeat(65)] {
        let mut writer = runtime.launch(&format!("{CAMERA} ! valkkashmsink channel={name}"));
        let mut reader = runtime.launch(&format!("valkkashmsrc channel={name} ! fakesink"));
        says(&writer.fail(SOON), &["channel name", "a-z 0-9"]);
        says(&reader.fail(SOON), &["channel name", "a-z 0-9"]);
    }
}

#[test]
fn neither_element_starts_without_a_channel() {
    let runtime = Runtime::new();
    says(&runtime.launch(&format!("{CAMERA} ! valkkashmsink")).fail(SOON), &["channel", "socket-path"]);
    says(&runtime.launch("valkkashmsrc ! fakesink").fail(SOON), &["channel", "socket-path"]);
}

#[test]
fn a_second_writer_is_refused_and_the_first_runs_on() {
    let runtime = Runtime::new();
    let _first = runtime.launch(&format!("{CAMERA} ! valkkashmsink channel=a"));
    let reader = runtime.launch("valkkashmsrc channel=a ! checksumsink sync=false");
    reader.lines_more(5, SOON);
    let mut second = runtime.launch(&format!("{CAMERA} ! valkkashmsink channel=a"));
    says(&second.fail(SOON), &["writer", "a"]);
    reader.lines_more(20, SOON);
}

#[test]
fn a_runtime_folder_that_cannot_be_made_is_named() {
    let runtime = Runtime::new();
    let file = runtime.path("file");
    fs::write(&file, "in the way").expect("the test's folder is writable");
    let folder = file.join("run");
    for pipeline in [&format!("{CAMERA} ! valkkashmsink channel=a"), "valkkashmsrc channel=a ! fakesink"] {
        let mut command = runtime.command("gst-launch-1.0");
        command.env("VALKKA_RUNTIME_DIR", &folder).args(pipeline.split_whitespace());
        says(&runtime.start(&command).fail(SOON), &[&folder.to_string_lossy(), "VALKKA_RUNTIME_DIR"]);
    }
}

#[test]
fn a_runtime_folder_of_another_user_is_refused() {
    let runtime = Runtime::new();
    let mut stranger = not_root(&runtime);
    stranger.env("VALKKA_RUNTIME_DIR", "/usr").arg("gst-launch-1.0");
    stranger.args(format!("{CAMERA} ! valkkashmsink channel=a").split_whitespace());
    says(&runtime.start(&stranger).fail(SCAN), &["/usr", "user"]);
}

/// A command that runs what follows as somebody who is not root, and may not be allowed into the checkout's folder.
fn not_root(runtime: &Runtime) -> Command {
    if !Uid::effective().is_root() {
        return runtime.command("env");
    }
    let (plugins, registry) = (runtime.path("plugins"), runtime.path("registry"));
    for (folder, mode) in [(runtime.path(""), 0o755), (plugins.clone(), 0o755), (registry.clone(), 0o777)] {
        fs::create_dir_all(&folder).expect("the test's folder is writable");
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("the folder is ours");
    }
    fs::copy(PLUGINS.join("libgstvalkkashm.so"), plugins.join("libgstvalkkashm.so")).expect("the plug-in is built");
    let mut command = runtime.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.env("GST_PLUGIN_PATH", plugins).env("GST_REGISTRY", registry.join("registry.bin"));
    command
}

#[test]
fn a_socket_of_another_user_is_refused() {
    let runtime = Runtime::new();
    let open = runtime.path("open");
    fs::create_dir(&open).expect("the test's folder is writable");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("the folder is ours");
    let socket = open.join("a");
    let _writer = runtime.launch(&format!("{CAMERA} ! valkkashmsink socket-path={}", socket.display()));
    let reader = format!("valkkashmsrc socket-path={} ! checksumsink sync=false", socket.display());
    runtime.launch(&reader).line(":", SOON);

    // Only root can become somebody else. Anybody can lock himself out, which connects as badly.
    let mut stranger = not_root(&runtime);
    if !Uid::effective().is_root() {
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).expect("the socket is ours");
    }
    stranger.arg("gst-launch-1.0").args(reader.split_whitespace());
    says(&runtime.start(&stranger).fail(SCAN), &["user"]);
}

#[test]
fn memory_that_cannot_be_had_is_an_error_and_not_a_crash() {
    let runtime = Runtime::new();
    let big = "videotestsrc ! video/x-raw,format=RGB,width=3840,height=2160";
    let mut command = runtime.command("prlimit");
    command.arg("--as=1500000000").arg("gst-launch-1.0");
    command.args(format!("{big} ! valkkashmsink channel=a slots=200").split_whitespace());
    says(&runtime.start(&command).fail(SOON), &["memory", "slots"]);
}

#[test]
fn a_socket_path_that_does_not_fit_is_refused_and_not_cut() {
    let runtime = Runtime::new();
    let long = runtime.path(&"x".repeat(120));
    says(&runtime.launch(&format!("{CAMERA} ! valkkashmsink socket-path={}", long.display())).fail(SOON), &["107"]);
    says(&runtime.launch(&format!("valkkashmsrc socket-path={} ! fakesink", long.display())).fail(SOON), &["107"]);
}

#[test]
fn a_reader_that_is_to_wait_a_second_says_that_nobody_writes() {
    let runtime = Runtime::new();
    let mut reader = runtime.launch("valkkashmsrc channel=nobody connect-timeout=1000000000 ! fakesink");
    says(&reader.fail(SOON), &["nobody", "writer"]);
}

#[test]
fn a_lossless_reader_is_refused_by_a_writer_that_does_not_wait() {
    let runtime = Runtime::new();
    let _writer = runtime.launch(&format!("{CAMERA} ! valkkashmsink channel=a"));
    let mut reader = runtime.launch("valkkashmsrc channel=a policy=lossless ! fakesink");
    says(&reader.fail(SOON), &["lossless-timeout"]);
}
