//! `valkka` as its user meets it: what it refuses, what it hides, what it brings back, what it tidies up.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, SCAN, SOON, Viewer, eventually};

const LIVE: Duration = Duration::from_secs(60);

/// The process of that name, and how often it was started again.
fn pid_and_restarts(valkka: &Orchestrator, name: &str) -> (Pid, u64) {
    let process = valkka.process(name);
    let pid = process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    (Pid::from_raw(pid), process["restarts"].as_u64().expect("a count"))
}

/// Waits until the first camera is in that state.
#[track_caller]
fn wait_for_state(valkka: &Orchestrator, state: &str) -> Value {
    let camera = || Some(valkka.status()["cameras"][0].clone()).filter(|camera| camera["state"] == state);
    eventually(&format!("the camera is {state}"), LIVE, camera)
}

/// What is answered to a request, head and body.
fn answer(valkka: &Orchestrator, path: &str, headers: &str) -> String {
    let host = valkka.address.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("the page's port is open");
    stream.set_read_timeout(Some(SOON)).expect("a socket has a time limit");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("a request is short");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer is text and ends");
    answer
}

#[test]
fn a_port_that_is_taken_is_told_before_anything_starts() {
    let runtime = Runtime::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let mut command = runtime.command("valkka");
    let said = runtime.start(command.args(["demo", "--listen", &address])).fail(SOON);
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
    assert_eq!(runtime.files(), Vec::<String>::new());
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let runtime = Runtime::new();
    for arguments in [&["run"][..], &["run", "nowhere.mp4"], &["run", "Lobby=test:ball"], &["run", "ftp://u:hush@cam/"]]
    {
        let mut process = runtime.start(runtime.command("valkka").args(arguments));
        let status = process.wait(SOON);
        assert_eq!(status.code(), Some(2), "{arguments:?}\n{}", process.errors());
        assert!(!process.errors().is_empty() && !process.errors().contains("hush"), "{}", process.errors());
    }
}

#[test]
fn options_that_would_be_ignored_are_refused() {
    let runtime = Runtime::new();
    std::fs::write(runtime.path("valkka.toml"), "").expect("the test's folder is writable");
    for (arguments, part) in [
        (&["run", "--latency", "9"][..], "--latency is for cameras"),
        (&["run", "valkka.toml", "--analysis-fps", "9"], "--analysis-fps is for cameras"),
        (&["run", "valkka.toml", "test:ball"], "valkka.toml is a configuration"),
    ] {
        let mut process = runtime.start(runtime.command("valkka").args(arguments));
        let status = process.wait(SOON);
        assert!(status.code() == Some(2) && process.errors().contains(part), "{arguments:?}\n{}", process.errors());
    }
}

#[test]
fn plug_ins_that_are_missing_are_named_with_the_way_to_get_them() {
    let runtime = Runtime::new();
    let mut command = runtime.command("valkka");
    command.env("GST_PLUGIN_PATH", runtime.path("empty")).env("GST_REGISTRY", runtime.path("registry"));
    let said = runtime.start(command.args(["run", "test:ball", "--listen", "127.0.0.1:0"])).fail(SCAN);
    assert!(said.contains("valkkashmsink") && said.contains("GST_PLUGIN_PATH"), "{said}");
}

#[test]
fn a_password_is_warned_of_and_never_shown() {
    let runtime = Runtime::new();
    // Nobody listens on this port any more.
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let uri = format!("lobby=rtsp://admin:hush@{nobody}/live?password=hush");
    let valkka = Orchestrator::start(&runtime, &["run", &uri, "-vv"]);
    let mut events = valkka.events("log,status");
    let camera = wait_for_state(&valkka, "lost");
    assert!(camera["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{camera}");
    assert_eq!(camera["source"], format!("rtsp://***@{nobody}/live?password=***"));
    let shown = [valkka.process.output(), valkka.process.errors(), valkka.status().to_string()];
    let told: Vec<_> = (0..5).map(|_| events.next("log").to_string()).collect();
    assert!(shown[1].contains("password in its URI"), "{}", shown[1]);
    for text in shown.iter().chain(&told) {
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn a_camera_that_stands_still_has_stalled_and_one_that_comes_back_is_live() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["demo", "--cameras", "1"]);
    valkka.live(LIVE);
    let (server, restarts) = pid_and_restarts(&valkka, "rtsp-server");

    signal::kill(server, Signal::SIGSTOP).expect("it runs");
    wait_for_state(&valkka, "stalled");
    // One that has not answered for long is killed and comes back.
    let _ = signal::kill(server, Signal::SIGCONT);
    valkka.live(LIVE);

    // Another process under the old address: captures find it again by themselves.
    signal::kill(server, Signal::SIGKILL).expect("it runs");
    let back = || (pid_and_restarts_now(&valkka, "rtsp-server")? > restarts).then_some(());
    eventually("the server is started again", LIVE, back);
    valkka.live(LIVE);
    valkka.events("detections").next("detections");
}

/// How often a process was started again, if it runs now.
fn pid_and_restarts_now(valkka: &Orchestrator, name: &str) -> Option<u64> {
    let process = valkka.process(name);
    if process["state"] == "running" { process["restarts"].as_u64() } else { None }
}

#[test]
fn a_second_interrupt_does_not_wait_for_a_process_that_hangs() {
    let runtime = Runtime::new();
    let mut valkka = Orchestrator::start(&runtime, &["-v", "demo", "--cameras", "1"]);
    valkka.live(LIVE);
    let mut awake = Viewer::connect(&valkka, "lobby");
    awake.fragments(1);
    let (web, _) = pid_and_restarts(&valkka, "lobby.web");
    let mut events = valkka.events("status");
    signal::kill(web, Signal::SIGSTOP).expect("it runs");
    valkka.process.signal(Signal::SIGINT);
    let stopping = |status: &Value| {
        let processes = status["processes"].as_array().expect("a status has processes");
        processes.iter().any(|process| process["name"] == "lobby.web" && process["state"] == "stopping")
    };
    while !stopping(&events.next("status")) {}
    valkka.process.signal(Signal::SIGINT);
    let status = valkka.process.wait(SOON);
    let errors = valkka.process.errors();
    assert!(status.success(), "{status}\n{errors}");
    assert!(!errors.contains("lobby.web: does not heed Signal(SIGTERM)"), "{errors}");
    assert!(!PathBuf::from(format!("/proc/{web}")).exists(), "the process that hangs is left behind");
    assert!(!valkka.channels.exists(), "the run's folder is left behind");
}

#[test]
fn a_run_has_a_folder_of_its_own_and_clears_those_of_killed_runs_away() {
    let runtime = Runtime::new();
    let killed = Orchestrator::start(&runtime, &["run", "test:ball"]);
    let mode = std::fs::metadata(&killed.channels).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let left = killed.channels.clone();
    killed.process.crash();
    assert!(left.exists(), "a killed process tidies nothing up");

    let next = Orchestrator::start(&runtime, &["run", "test:ball", "test:smpte"]);
    assert!(!left.exists(), "the next run clears it away");
    next.live(LIVE);
}

#[test]
fn a_file_plays_again_and_again() {
    let runtime = Runtime::new();
    let file = runtime.path("short film.mkv");
    let description = format!(
        "videotestsrc num-buffers=30 pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1 ! jpegenc \
         ! matroskamux ! filesink location={}",
        runtime.path("made.mkv").display()
    );
    runtime.launch(&description).finish(SOON);
    std::fs::rename(runtime.path("made.mkv"), &file).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", &file.to_string_lossy()]);
    valkka.live(LIVE);
    let again = || (valkka.process("short-film.capture")["restarts"].as_u64() > Some(1)).then_some(());
    eventually("the file begins for the third time", LIVE, again);
    let status = valkka.status();
    assert_eq!(status["cameras"][0]["name"], "short-film");
    assert_ne!(status["cameras"][0]["state"], "lost", "{status}");
}

#[test]
fn one_port_serves_page_player_status_and_each_cameras_socket() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    valkka.live(LIVE);
    for (path, part) in [("/", "<title>Valkka"), ("/valkka-video.js", "customElements.define"), ("/healthz", "ok")] {
        let answer = answer(&valkka, path, "");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(part), "{path}: {answer}");
    }
    assert!(answer(&valkka, "/api/status", "").contains(r#"{"cameras":[{"name":"ball","#));
    assert!(answer(&valkka, "/api/ws?src=nobody", "").starts_with("HTTP/1.1 404"));
    // Passed through: the sink itself wants a WebSocket.
    assert!(answer(&valkka, "/api/ws?src=ball", "").starts_with("HTTP/1.1 4"));
    let foreign = answer(&valkka, "/api/status", "Origin: https://example.org\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403"), "{foreign}");
}

#[test]
fn a_child_does_not_begin_when_its_orchestrator_is_gone() {
    let runtime = Runtime::new();
    let file = runtime.path("begun");
    let mut command = runtime.command("valkka");
    // Nobody's parent but init's children's.
    command.args(["exec", "--parent", "1", "--", "touch"]).arg(&file);
    let said = runtime.start(&command).fail(SOON);
    assert!(said.contains("orchestrator"), "{said}");
    assert!(!file.exists());
}

#[test]
fn a_reader_of_its_words_that_goes_away_ends_nothing() {
    let runtime = Runtime::new();
    let mut command = runtime.command("sh");
    command.args(["-c", "valkka run ball=test:ball --listen 127.0.0.1:0 | head -n 1"]);
    // `head` ends after the first line; the shell waits for valkka, which does not end by itself.
    let mut shell = runtime.start(&command);
    shell.line("Channels are in ", SOON);
    let folder = PathBuf::from(shell.output().trim().rsplit(' ').next().expect("a line has words"));
    eventually("the camera publishes", LIVE, || folder.join("ball.rgb").exists().then_some(()));
    assert!(shell.is_running());
}
