//! The verbs that have a running orchestrator do something.

use std::{
    fs,
    io::{IsTerminal, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use axum::body::Body;
use futures_util::StreamExt;
use hyper::Method;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::{
    Unknown,
    client::{Client, segment},
    print,
};
use crate::{camera, cli, config::keys};

const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// `valkka camera`.
pub async fn camera(client: &Client, options: &cli::Camera) -> Result<()> {
    match options {
        cli::Camera::Add(options) => add(client, options).await,
        cli::Camera::Remove { name } => {
            let progress = Progress::begin(format!("{name}: its processes end"));
            client.send(Method::DELETE, &format!("/api/cameras/{}", segment(name)), None).await?;
            progress.end();
            print(&format!("{name} is removed\n"));
            Ok(())
        }
        cli::Camera::List { json } => {
            let answer = client.json(Method::GET, "/api/cameras", None).await?;
            if *json {
                print(&format!("{answer}\n"));
                return Ok(());
            }
            for camera in answer["cameras"].as_array().into_iter().flatten() {
                let source = camera["uri"].as_str().or(camera["pipeline"].as_str()).unwrap_or_default();
                print(&format!("{}  {source}\n", camera["name"].as_str().unwrap_or_default()));
            }
            Ok(())
        }
    }
}

async fn add(client: &Client, options: &cli::CameraAdd) -> Result<()> {
    let table = table_of(options)?;
    let name = table["name"].as_str().unwrap_or_default().to_owned();
    let progress = Progress::begin(format!("{name}: starting"));
    client.send(Method::POST, "/api/cameras", Some(&Value::Object(table))).await?;
    if options.no_wait {
        progress.end();
        print(&format!("{name} is added\n"));
        return Ok(());
    }
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    loop {
        let status = client.json(Method::GET, "/api/status", None).await?;
        let cameras = status["cameras"].as_array().cloned().unwrap_or_default();
        let Some(camera) = cameras.into_iter().find(|camera| camera["name"] == name.as_str()) else {
            bail!("{name} has been removed while it was starting");
        };
        let (state, reason) = (camera["state"].as_str().unwrap_or_default(), camera["reason"].as_str());
        if state == "live" {
            progress.end();
            print(&format!("{name} is live\n"));
            return Ok(());
        }
        if Instant::now() > deadline {
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            bail!("{name} is added, but {state} after {} s{reason}", options.timeout);
        }
        progress.say(&format!("{name}: {state} {}", reason.unwrap_or_default()));
        sleep(LOOK_AGAIN).await;
    }
}

/// What a `[cameras.NAME]` table would say, and the name.
fn table_of(options: &cli::CameraAdd) -> Result<Map<String, Value>> {
    let cameras = camera::parse_all(std::slice::from_ref(&options.camera), None, camera::LATENCY_MS)?;
    let camera = cameras.into_iter().next().expect("one argument is one camera");
    let mut table = Map::new();
    table.insert("name".to_owned(), camera.name.into());
    let source = match camera.source {
        camera::Source::Rtsp(uri) => uri,
        // As they were written, but absolute: the orchestrator runs in another folder.
        other => other.to_string(),
    };
    table.insert("uri".to_owned(), source.into());
    let mut set = |key: &str, value: Value| {
        debug_assert!(keys::CAMERA.iter().any(|known| known.name == key));
        table.insert(key.to_owned(), value)
    };
    if let Some(user) = &options.user {
        set("user", user.as_str().into());
    }
    if let Some(file) = &options.password_file {
        let password = fs::read_to_string(file).with_context(|| format!("password file {}", file.display()))?;
        set("password", password.trim_end_matches(['\n', '\r']).into());
    }
    for (key, value) in [("codec", &options.codec), ("transport", &options.transport)] {
        if let Some(value) = value {
            set(key, value.as_str().into());
        }
    }
    for (key, wanted) in [("audio", options.audio), ("record", options.record), ("restream", options.restream)] {
        if wanted {
            set(key, true.into());
        }
    }
    let mut values = Map::new();
    for value in &options.values {
        let (name, value) =
            value.split_once('=').ok_or_else(|| super::Usage(format!("--value {value}: NAME=VALUE")))?;
        values.insert(name.to_owned(), value.into());
    }
    if !values.is_empty() {
        set("values", values.into());
    }
    if options.no_analysis {
        set("analysis", json!({ "enabled": false }));
    } else if let Some(detector) = &options.detector {
        set("analysis", json!({ "detector": detector }));
    }
    Ok(table)
}

/// `valkka restart`: one process, or all of a camera.
pub async fn restart(client: &Client, name: &str) -> Result<()> {
    for process in processes_of(client, name).await? {
        client.send(Method::POST, &format!("/api/processes/{}/restart", segment(&process)), None).await?;
        print(&format!("{process} starts again\n"));
    }
    Ok(())
}

/// The process of that name, or all of the camera of that name.
async fn processes_of(client: &Client, name: &str) -> Result<Vec<String>> {
    let status = client.json(Method::GET, "/api/status", None).await?;
    let processes = status["processes"].as_array().cloned().unwrap_or_default();
    let of = |key: &str| {
        let named = processes.iter().filter(|process| process[key] == name);
        named.filter_map(|process| process["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let mut wanted = of("name");
    if wanted.is_empty() {
        wanted = of("camera");
    }
    if wanted.is_empty() {
        let all: Vec<_> = processes.iter().filter_map(|process| process["name"].as_str()).collect();
        return Err(Unknown(format!("there is no process or camera {name:?}; there is {}", all.join(", "))).into());
    }
    Ok(wanted)
}

/// `valkka logs`.
pub async fn logs(client: &Client, options: &cli::Logs) -> Result<()> {
    let of = options.name.as_ref().map(|name| format!("&process={}", segment(name))).unwrap_or_default();
    let path = format!("/api/logs?lines={}&follow={}{of}", options.lines, options.follow);
    let response = client.send(Method::GET, &path, None).await?;
    let mut chunks = Body::new(response.into_body()).into_data_stream();
    let (mut rest, mut told) = (Vec::new(), false);
    while let Some(chunk) = chunks.next().await {
        rest.extend_from_slice(&chunk.context("the orchestrator has gone")?);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<_> = rest.drain(..=end).collect();
            tell(&line, options)?;
            told = true;
        }
    }
    match &options.name {
        // What has said something is known, also when it is gone by now.
        Some(name) if !told => processes_of(client, name).await.map(drop),
        _ => Ok(()),
    }
}

fn tell(line: &[u8], options: &cli::Logs) -> Result<()> {
    let value: Value = serde_json::from_slice(line).context("the log is not JSON")?;
    let process = value["process"].as_str().unwrap_or_default();
    if options.json {
        print(&format!("{value}\n"));
        return Ok(());
    }
    let time = value["time"].as_f64().unwrap_or_default();
    let clock = gst::glib::DateTime::from_unix_local(time as i64).and_then(|time| time.format("%H:%M:%S"));
    let clock = clock.map(|clock| clock.to_string()).unwrap_or_default();
    print(&format!("{clock} {process}: {}\n", value["line"].as_str().unwrap_or_default()));
    Ok(())
}

/// `valkka call`.
pub async fn call(client: &Client, process: &str, command: &str, params: Option<&str>) -> Result<()> {
    let params: Value = match params {
        Some(text) => serde_json::from_str(text).map_err(|error| super::Usage(format!("PARAMETERS: {error}")))?,
        None => json!({}),
    };
    if !params.is_object() {
        return Err(super::Usage("PARAMETERS: a JSON object, as in '{\"name\": 1}'".to_owned()).into());
    }
    let path = format!("/api/processes/{}/commands/{}", segment(process), segment(command));
    let progress = Progress::begin(format!("{process}: {command}"));
    let answer = client.json(Method::POST, &path, Some(&params)).await?;
    progress.end();
    print(&format!("{}\n", answer["result"]));
    Ok(())
}

/// `valkka snapshot`: `-` is standard output.
pub async fn snapshot(client: &Client, camera: &str, file: &Path) -> Result<()> {
    let progress = Progress::begin(format!("{camera}: waiting for a picture"));
    let path = format!("/api/cameras/{}/frame.jpeg", segment(camera));
    let picture = client.bytes(Method::GET, &path, None).await?;
    progress.end();
    if file == Path::new("-") {
        return std::io::stdout().write_all(&picture).context("standard output cannot be written");
    }
    fs::write(file, picture).with_context(|| format!("{} cannot be written", file.display()))
}

/// `valkka reload`.
pub async fn reload(client: &Client) -> Result<()> {
    let progress = Progress::begin("reading the configuration again".to_owned());
    let changes = client.json(Method::POST, "/api/reload", None).await?;
    progress.end();
    for (what, told) in
        [("added", "added"), ("removed", "removed"), ("changed", "changed"), ("next_start", "from the next start on")]
    {
        let names: Vec<_> = changes[what].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !names.is_empty() {
            print(&format!("{told}: {}\n", names.join(", ")));
        }
    }
    Ok(())
}

/// A line that tells what takes so long, for people: on a terminal only, and gone in the end.
struct Progress {
    shown: bool,
}

impl Progress {
    fn begin(what: String) -> Self {
        let progress = Self { shown: std::io::stderr().is_terminal() };
        progress.say(&what);
        progress
    }

    fn say(&self, what: &str) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K{what} ...");
        }
    }

    fn end(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
