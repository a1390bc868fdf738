//! One measurement: starts both processes, waits until they are warm, and counts.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use valkka_command::Frontend;

use crate::{FPS, cost, shmpipe};

/// Backgrounds are learned, caches warm.
const WARM_UP: Duration = Duration::from_secs(3);
const MEASURED: Duration = Duration::from_secs(6);

/// By what the analysing process gets its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// `valkka-analyse`, through channels.
    Channels,
    /// The same loop, through `shmsink`, `shmsrc` and `appsink`.
    Appsink,
}

impl Fed {
    /// Ours first.
    pub const BOTH: [Fed; 2] = [Fed::Channels, Fed::Appsink];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Fed::Channels => "channels",
            Fed::Appsink => "shmsrc ! appsink",
        }
    }
}

/// What a round has shown.
#[derive(Clone, Debug)]
pub struct Row {
    /// Per frame.
    pub all_us: f64,
    /// Per frame.
    pub opencv_us: f64,
    /// Of the frames that the cameras made.
    pub looked_at: f64,
    /// Of each frame.
    pub ages_ms: Vec<f64>,
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        shmpipe::end(&mut self.0);
    }
}

/// Measures. None if it does not get that far.
pub fn round(fed: Fed, footage: &Path, cameras: usize) -> Option<Row> {
    let folder = tempfile::tempdir().ok()?;
    let this = std::env::current_exe().ok()?;
    let transport = if fed == Fed::Channels { "valkka" } else { "shm" };
    let mut writer = Command::new(&this);
    writer.args(["writer", transport]).arg(folder.path()).arg(footage).arg(cameras.to_string());
    let _writer = Running(writer.spawn().ok()?);
    let last = folder.path().join(format!("{}.rgb", cameras - 1));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !last.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    match fed {
        Fed::Channels => by_channels(folder.path(), cameras),
        Fed::Appsink => by_appsink(&this, folder.path(), cameras),
    }
}

fn by_channels(folder: &Path, cameras: usize) -> Option<Row> {
    let (ours, childs) = valkka_command::pair().ok()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_valkka-analyse"));
    command.stderr(Stdio::null());
    valkka_command::pass(&mut command, childs);
    let analyser = Running(command.spawn().ok()?);
    drop(command);
    let (sender, events) = mpsc::channel();
    let on_event = move |event: valkka_command::Event| drop(sender.send(event.value.get().to_owned()));
    let frontend = Frontend::new(ours, on_event).ok()?;
    for n in 0..cameras {
        let channel = folder.join(format!("{n}.rgb"));
        frontend.call("attach", &json!({ "channel": channel, "camera": n.to_string() }), WARM_UP).ok()?;
    }
    let opencv_us = || {
        let status: Value = frontend.call_as("status", &Value::Null, WARM_UP).ok()?;
        let cameras = status["cameras"].as_array()?;
        Some(cameras.iter().filter_map(|camera| camera["opencv_ms"].as_f64()).sum::<f64>() * 1e3)
    };
    collect(&events, WARM_UP);
    let (opencv, all) = (opencv_us()?, cost::of_process(analyser.0.id())?);
    let ages = ages(&collect(&events, MEASURED));
    row(cameras, ages, cost::of_process(analyser.0.id())? - all, opencv_us()? - opencv)
}

fn by_appsink(this: &Path, folder: &Path, cameras: usize) -> Option<Row> {
    let mut command = Command::new(this);
    command.arg("appsink").arg(folder).arg(cameras.to_string()).stdout(Stdio::piped());
    let mut looking = Running(command.spawn().ok()?);
    let output = BufReader::new(looking.0.stdout.take()?);
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let opencv_us = |lines: &[Value]| lines.iter().rev().find_map(|line| line["opencv_us"].as_f64());
    let opencv = opencv_us(&collect(&lines, WARM_UP))?;
    let all = cost::of_process(looking.0.id())?;
    let said = collect(&lines, MEASURED);
    row(cameras, ages(&said), cost::of_process(looking.0.id())? - all, opencv_us(&said)? - opencv)
}

/// What is said in a time.
fn collect(lines: &Receiver<String>, during: Duration) -> Vec<Value> {
    let end = Instant::now() + during;
    let next = || lines.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    std::iter::from_fn(next).filter_map(|line| serde_json::from_str(&line).ok()).collect()
}

fn ages(said: &[Value]) -> Vec<f64> {
    said.iter().filter_map(|message| message["age_ms"].as_f64()).collect()
}

fn row(cameras: usize, ages_ms: Vec<f64>, all: Duration, opencv_us: f64) -> Option<Row> {
    let frames = ages_ms.len() as f64;
    let looked_at = frames / (cameras as f64 * FPS as f64 * MEASURED.as_secs_f64());
    (frames > 0.0).then(|| Row {
        all_us: all.as_micros() as f64 / frames,
        opencv_us: opencv_us / frames,
        looked_at,
        ages_ms,
    })
}
