//! The API as its description says it, and as those meet it who make mistakes, or mean ill.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use jsonschema::Validator;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::stage::http::{Answer, ask, ask_socket};
use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, Viewer, eventually};

const LIVE: Duration = Duration::from_secs(60);
const JSON: &str = "Content-Type: application/json";

/// The description, as the server tells it.
struct Description(Value);

impl Description {
    fn of(valkka: &Orchestrator) -> Self {
        Self(ask(&valkka.host(), "GET", "/api/openapi.json", &[], "").json())
    }

    /// Holds an answer against what is described for it.
    #[track_caller]
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let status = answer.status.to_string();
        let described = &self.0["paths"][path][method.to_ascii_lowercase()]["responses"][&status];
        assert!(described.is_object(), "{method} {path} answers {status}, which is not described: {}", answer.text());
        let Some(content) = described["content"].as_object() else {
            assert!(answer.body.is_empty(), "{method} {path} {status} has a body: {}", answer.text());
            return;
        };
        let (kind, described) = content.iter().next().expect("content has a type");
        let told = answer.header("content-type").unwrap_or_default();
        assert!(told.starts_with(kind.as_str()), "{method} {path} {status} is {told}, not {kind}");
        if kind == "application/json" {
            self.validate(&described["schema"], &answer.json());
        }
    }

    #[track_caller]
    fn validate(&self, schema: &Value, value: &Value) {
        let mut whole = schema.clone();
        whole["components"] = self.0["components"].clone();
        let validator: Validator = jsonschema::validator_for(&whole).expect("a schema is a schema");
        let mistakes: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(mistakes.is_empty(), "{mistakes:?} in {value}");
    }

    fn schema(&self, name: &str) -> Value {
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

#[test]
fn every_answer_is_as_described() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    valkka.live(LIVE);
    let description = Description::of(&valkka);
    let host = valkka.host();
    let camera = |name: &str| json!({ "name": name, "uri": "test:smpte" }).to_string();
    // Path as described, path as asked, body, status.
    let requests = [
        ("GET", "/api/status", "/api/status", String::new(), 200),
        ("GET", "/api/cameras", "/api/cameras", String::new(), 200),
        ("GET", "/api/cameras/{name}", "/api/cameras/ball", String::new(), 200),
        ("GET", "/api/cameras/{name}", "/api/cameras/nobody", String::new(), 404),
        ("POST", "/api/cameras", "/api/cameras", camera("bars"), 201),
        ("POST", "/api/cameras", "/api/cameras", camera("bars"), 409),
        ("POST", "/api/cameras", "/api/cameras", camera("Not A Name"), 422),
        ("POST", "/api/cameras", "/api/cameras", json!({ "uri": "ftp://u:hush@cam/" }).to_string(), 422),
        ("POST", "/api/cameras", "/api/cameras", json!({ "uri": "test:ball", "colour": 7 }).to_string(), 422),
        ("POST", "/api/cameras", "/api/cameras", json!({ "pipeline": "videotestsrc" }).to_string(), 403),
        ("POST", "/api/cameras", "/api/cameras", "{".into(), 400),
        ("DELETE", "/api/cameras/{name}", "/api/cameras/bars", String::new(), 204),
        ("DELETE", "/api/cameras/{name}", "/api/cameras/bars", String::new(), 404),
        ("PUT", "/api/cameras/{name}/zones", "/api/cameras/ball/zones", r#"[{"name":"x","points":[]}]"#.into(), 422),
        ("PUT", "/api/cameras/{name}/zones", "/api/cameras/nobody/zones", "[]".into(), 404),
        ("GET", "/api/cameras/{name}/frame.jpeg", "/api/cameras/ball/frame.jpeg", String::new(), 200),
        ("GET", "/api/cameras/{name}/frame.jpeg", "/api/cameras/nobody/frame.jpeg", String::new(), 404),
        ("POST", "/api/processes/{name}/restart", "/api/processes/ball.web/restart", String::new(), 202),
        ("POST", "/api/processes/{name}/restart", "/api/processes/nobody/restart", String::new(), 404),
        ("POST", "/api/processes/{name}/commands/{command}", "/api/processes/nobody/commands/ping", "{}".into(), 404),
        ("GET", "/api/ws", "/api/ws?src=nobody", String::new(), 404),
        ("GET", "/api/ws", "/api/ws", String::new(), 400),
        ("GET", "/api/events", "/api/events?only=everything", String::new(), 400),
        ("GET", "/api/logs", "/api/logs?lines=5", String::new(), 200),
        ("GET", "/api/logs", "/api/logs?lines=many", String::new(), 400),
        ("POST", "/api/reload", "/api/reload", String::new(), 503),
        ("POST", "/api/login", "/api/login", r#"{"token":"whatever"}"#.into(), 204),
        ("POST", "/api/login", "/api/login", r#"{"password":"whatever"}"#.into(), 422),
        ("GET", "/api/openapi.json", "/api/openapi.json", String::new(), 200),
        ("GET", "/metrics", "/metrics", String::new(), 200),
        ("GET", "/healthz", "/healthz", String::new(), 200),
    ];
    for (method, described, path, body, status) in requests {
        let answer = ask(&host, method, path, if body.is_empty() { &[] } else { &[JSON] }, &body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
        description.check(method, described, &answer);
        assert!(!answer.text().contains("hush"), "{}", answer.text());
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
    }
    for line in ask(&host, "GET", "/api/logs?process=ball.capture&lines=3", &[], "").text().lines() {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        description.validate(&description.schema("LogLine"), &line);
        assert_eq!(line["process"], "ball.capture");
    }
    let mut events = valkka.events("status,detections,object,log");
    for kind in ["status", "detections", "object"] {
        let event = json!({ "type": kind, "value": events.next(kind) });
        description.validate(&description.schema("Event"), &event);
    }
    // Who comes later is told of it as well.
    let objects = ask(&host, "GET", "/api/objects", &[], "");
    description.check("GET", "/api/objects", &objects);
    assert_eq!(objects.json()["objects"][0]["after"]["camera"], "ball");
}

#[test]
fn what_is_unknown_or_too_much_is_told_in_json() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    let host = valkka.host();
    let long = format!(r#"{{"uri":"{}"}}"#, "x".repeat(300_000));
    for (method, path, headers, body, status) in [
        ("GET", "/api/nothing", &[][..], "", 404),
        ("PATCH", "/api/cameras", &[], "", 405),
        ("POST", "/api/cameras", &[], "{}", 415),
        ("POST", "/api/cameras", &["Content-Type: text/plain"], "{}", 415),
        ("POST", "/api/cameras", &[JSON], long.as_str(), 413),
        ("POST", "/api/cameras", &[JSON, "Origin: https://example.org"], "{}", 403),
        ("DELETE", "/api/cameras/ball", &["Origin: null"], "", 403),
        ("GET", "/api/events", &["Origin: https://example.org"], "", 403),
        ("GET", "/api/cameras/ball/frame.jpeg", &["Sec-Fetch-Site: cross-site"], "", 403),
        ("GET", "/api/status", &["Host: evil.example:8080"], "", 421),
        ("GET", "/api/cameras/..%2f..%2fetc", &[], "", 404),
        ("GET", "/api/ws?src=..%2f..%2fx", &[], "", 404),
    ] {
        let answer = ask(&host, method, path, headers, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    assert_eq!(valkka.status()["cameras"][0]["name"], "ball", "nothing has changed");
}

#[test]
fn a_token_guards_the_port_and_not_the_socket() {
    let runtime = Runtime::new();
    let file = runtime.path("token");
    std::fs::write(&file, "correct-horse-battery\n").expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball", "--token-file", &file.to_string_lossy()]);
    let host = valkka.host();
    let status = |headers: &[&str]| ask(&host, "GET", "/api/status", headers, "").status;
    assert_eq!(status(&[]), 401);
    let refused = ask(&host, "GET", "/api/status", &[], "").text();
    assert!(refused.contains("/api/login"), "it says what to do: {refused}");
    assert_eq!(status(&["Authorization: Bearer wrong-horse-battery"]), 401);
    assert_eq!(status(&["Authorization: Bearer correct-horse-battery"]), 200);
    assert_eq!(ask(&host, "GET", "/healthz", &[], "").status, 200, "a probe needs none");
    assert_eq!(ask(&host, "GET", "/", &[], "").status, 200, "the page asks for it");

    assert_eq!(ask(&host, "POST", "/api/login", &[JSON], r#"{"token":"wrong-horse-battery"}"#).status, 401);
    let login = ask(&host, "POST", "/api/login", &[JSON], r#"{"token":"correct-horse-battery"}"#);
    let cookie = login.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().expect("a cookie has a value");
    assert_eq!(status(&[&format!("Cookie: {pair}")]), 200);

    let socket = valkka.channels.join("valkka.sock");
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let answer = ask_socket(&socket, "GET", "/api/status", &[], "");
    assert_eq!((answer.status, &answer.json()["cameras"][0]["name"]), (200, &json!("ball")));
    assert!(!valkka.process.errors().contains("horse"), "{}", valkka.process.errors());
}

#[test]
fn a_client_that_says_nothing_keeps_nobody_from_the_port() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    let host = valkka.host();
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(&host).expect("the port is open")).collect();
    assert_eq!(ask(&host, "GET", "/healthz", &[], "").text(), "ok\n");
    drop(silent);
}

#[test]
fn a_camera_that_does_not_answer_keeps_no_browser_waiting() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    let mut viewer = Viewer::connect(&valkka, "ball");
    viewer.fragments(1);
    let pid = || valkka.process("ball.web")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    let web = Pid::from_raw(pid());
    signal::kill(web, Signal::SIGSTOP).expect("it runs");
    // Chromium opens one WebSocket after the other: this handshake would keep all others from it.
    let waiting = Viewer::connect(&valkka, "ball");
    assert_eq!(pid(), web.as_raw(), "it was not started again before");
    // One that has not answered for long is killed and comes back.
    let _ = signal::kill(web, Signal::SIGCONT);
    drop(waiting);
    viewer.fragments(20);
}

#[test]
fn what_runs_anything_is_taken_from_this_user_alone() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    for camera in [
        json!({ "name": "evil", "pipeline": "videotestsrc is-live=true" }),
        json!({ "name": "evil", "uri": "test:ball", "values": { "test-fps": "5/1 ! filesink location=x" } }),
        json!({ "name": "evil", "uri": "test:ball", "template": "capture-test" }),
    ] {
        let answer = ask(&valkka.host(), "POST", "/api/cameras", &[JSON], &camera.to_string());
        assert!(answer.status == 403 && answer.text().contains("valkka camera add"), "{camera}: {}", answer.text());
    }
    let own = json!({ "name": "own", "pipeline": "videotestsrc is-live=true" }).to_string();
    let answer = ask_socket(&valkka.channels.join("valkka.sock"), "POST", "/api/cameras", &[JSON], &own);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn a_log_is_followed_line_by_line() {
    use std::io::{BufRead, BufReader, Write};
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    valkka.live(LIVE);
    let mut stream = TcpStream::connect(valkka.host()).expect("the port is open");
    stream.set_read_timeout(Some(LIVE)).expect("a socket has a time limit");
    let request =
        format!("GET /api/logs?process=ball.capture&lines=1&follow=true HTTP/1.1\r\nHost: {}\r\n\r\n", valkka.host());
    stream.write_all(request.as_bytes()).expect("a request is short");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("the answer goes on"));
    let mut count = || lines.find(|line| line.starts_with('{')).expect("lines come");
    let past: Value = serde_json::from_str(&count()).expect("a line is JSON");
    // Something to tell: its end and its beginning.
    ask(&valkka.host(), "POST", "/api/processes/ball.capture/restart", &[], "");
    let new: Value = serde_json::from_str(&count()).expect("a line is JSON");
    assert_eq!((&past["process"], &new["process"]), (&json!("ball.capture"), &json!("ball.capture")));
    assert!(new["time"].as_f64() > past["time"].as_f64(), "{past} {new}");
}

#[test]
fn metrics_tell_of_cameras_and_processes() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "ball=test:ball"]);
    valkka.live(LIVE);
    let metrics = || ask(&valkka.host(), "GET", "/metrics", &[], "").text();
    let live = r#"valkka_camera_state{camera="ball",state="live"} 1"#;
    let memory = r#"valkka_process_memory_bytes{process="ball.capture",camera="ball"}"#;
    let text = eventually("it is live here as well", LIVE, || {
        Some(metrics()).filter(|text| text.contains(live) && text.contains(memory))
    });
    for part in [
        r#"valkka_camera_state{camera="ball",state="lost"} 0"#,
        r#"valkka_camera_frames_per_second{camera="ball"}"#,
        r#"valkka_camera_viewers{camera="ball"} 0"#,
        r#"valkka_process_up{process="ball.capture",camera="ball"} 1"#,
        r#"valkka_process_cpu_seconds_total{process="ball.capture",camera="ball"}"#,
        r#"valkka_process_restarts_total{process="ball.capture",camera="ball"} 0"#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
}
