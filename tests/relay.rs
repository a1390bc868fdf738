//! Clients and a master as the orchestrator runs them: relays between cameras and the analyser, registered at run time.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::stage::orchestrator::{Events, Orchestrator};
use crate::stage::{Runtime, SOON, eventually};

const LIVE: Duration = Duration::from_secs(90);

/// Calls a command of the analyser, as a person does.
#[track_caller]
fn call(runtime: &Runtime, valkka: &Orchestrator, command: &str, params: &Value) {
    let mut verb = runtime.command("valkka");
    let run = valkka.channels.file_name().expect("a run has a folder");
    verb.arg("--run").arg(run).args(["call", "analyse", command, &params.to_string()]);
    runtime.start(&verb).finish(SOON);
}

/// The next message about a frame of that client.
#[track_caller]
fn answer(events: &mut Events, client: &str) -> Value {
    eventually(&format!("frames of {client} are analysed"), LIVE, || {
        Some(events.next("detections")).filter(|message| message["camera"] == client)
    })
}

#[test]
fn clients_are_registered_while_it_runs_and_one_that_is_killed_comes_back() {
    let runtime = Runtime::new();
    let config = runtime.path("valkka.toml");
    let client = |name: &str, values: &str| {
        format!("[pipelines.{name}-client]\ntemplate = \"relay\"\ncamera = \"{name}\"\nvalues = {{ {values} }}\n")
    };
    let text = format!(
        "[cameras.left]\nuri = \"test:ball\"\n[cameras.right]\nuri = \"test:ball\"\n{}{}",
        client("left", "width = 320"),
        client("right", "right = 64, width = 160")
    );
    fs::write(&config, text).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", &config.to_string_lossy()]);
    valkka.live(LIVE);

    let mut events = valkka.events("detections");
    for name in ["left-client", "right-client"] {
        call(&runtime, &valkka, "attach", &json!({ "channel": format!("{name}.rgb") }));
    }
    assert_eq!(answer(&mut events, "left-client")["width"], 320);
    let before = answer(&mut events, "right-client");
    assert_eq!((&before["width"], &before["channel"]), (&160.into(), &"right-client.rgb".into()));

    let pid = valkka.process("right-client")["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    eventually("another process writes the client's channel", LIVE, || {
        Some(answer(&mut events, "right-client")).filter(|message| message["generation"] != before["generation"])
    });
    answer(&mut events, "left-client");

    call(&runtime, &valkka, "detach", &json!({ "camera": "right-client" }));
    // What was said before may still be on its way.
    let mut others = 0;
    eventually("nothing more is said of it", LIVE, || {
        let is_other = events.next("detections")["camera"] != "right-client";
        others = if is_other { others + 1 } else { 0 };
        (others == 30).then_some(())
    });
    call(&runtime, &valkka, "attach", &json!({ "channel": "right-client.rgb" }));
    answer(&mut events, "right-client");
}
