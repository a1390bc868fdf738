//! Starts the processes of a scenario, and prints what they say.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::peer::{MEASURED, MEASURING};
use crate::scenario::Scenario;
use crate::shmpipe;
use crate::transport::Transport;

/// How often each scenario is measured with each transport.
pub const ROUNDS: usize = 3;

/// What one round has shown; `None` where there is nothing to say.
type Row = [Option<f64>; 7];

const COLUMNS: [&str; 7] = ["fps out", "fps in", "CPU out", "CPU in", "p50 µs", "p99 µs", "slow: age µs"];
const CALLS: [&str; 7] = ["fps out", "fps in", "calls out", "calls in", "", "", ""];

/// Measures one scenario with each transport, in turns, and prints a table.
pub fn run(scenario: &Scenario, transports: &[Transport]) {
    let fits = |transport: &&Transport| **transport != Transport::Nobody || !scenario.calls;
    let transports: Vec<_> = transports.iter().filter(fits).copied().collect();
    let mut rounds = vec![Vec::new(); transports.len()];
    for _ in 0..ROUNDS {
        for (rows, transport) in rounds.iter_mut().zip(&transports) {
            rows.push(round(scenario, *transport));
        }
    }

    println!("\n{}", scenario.title);
    let columns = if scenario.calls { CALLS } else { COLUMNS };
    println!("{:<12}{}", "", columns.map(|column| format!("{column:>13}")).concat());
    let rows: Vec<Row> = rounds.iter().map(|rows| median(rows)).collect();
    for (transport, row) in transports.iter().zip(&rows) {
        println!("{:<12}{}", transport.name(), row.map(|number| cell(number, "")).concat());
    }
    for (transport, row) in
        transports.iter().zip(&rows).skip(1).filter(|(transport, _)| **transport != Transport::Nobody)
    {
        let ratios: Vec<_> =
            rows[0].iter().zip(row).map(|(ours, theirs)| cell(ours.zip(*theirs).map(|(a, b)| a / b), "x")).collect();
        println!("{:<12}{}", format!("ours/{}", transport.name()), ratios.concat());
    }
}

fn cell(number: Option<f64>, unit: &str) -> String {
    let text = match number {
        None => "-".to_owned(),
        Some(number) if unit == "x" => format!("{number:.2}{unit}"),
        Some(number) if number < 10.0 => format!("{number:.2}"),
        Some(number) => format!("{number:.0}"),
    };
    format!("{text:>13}")
}

fn median(rows: &[Row]) -> Row {
    std::array::from_fn(|column| {
        let mut numbers: Vec<f64> = rows.iter().filter_map(|row| row[column]).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied()
    })
}

fn round(scenario: &Scenario, transport: Transport) -> Row {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("socket");
    let fps = scenario.fps.map_or("full".to_owned(), |fps| fps.to_string());
    let mut writer = Peer::start("writer", transport, &socket, [&fps, &scenario.foreign.to_string()]);
    if transport == Transport::Nobody {
        let told = writer.told();
        return [number(&told, "fps"), None, number(&told, "cpu_us"), None, None, None, None];
    }
    wait_for(&socket);
    let every = scenario.every.to_string();
    let reader = |hold_ms: &str| Peer::start("reader", transport, &socket, [&every, hold_ms]);
    let slow = scenario.slow.then(|| reader("500"));
    let mut readers: Vec<_> = (0..scenario.readers).map(|_| reader("0")).collect();
    if scenario.calls {
        return count_calls(&mut writer, &mut readers[0]);
    }

    let told: Vec<_> = readers.iter_mut().map(Peer::told).collect();
    let out = writer.told();
    let age = slow.map(|mut slow| slow.told()).and_then(|slow| number(&slow, "p50_us"));
    let mean = |field: &str| {
        let numbers: Vec<_> = told.iter().filter_map(|told| number(told, field)).collect();
        (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
    };
    [number(&out, "fps"), mean("fps"), number(&out, "cpu_us"), mean("cpu_us"), mean("p50_us"), mean("p99_us"), age]
}

fn number(told: &Value, field: &str) -> Option<f64> {
    told[field].as_f64()
}

/// System calls per frame of both sides, counted for as long as they measure. Without leave to trace, nothing.
fn count_calls(writer: &mut Peer, reader: &mut Peer) -> Row {
    // What a process does to come up is not what a frame costs.
    let traces = [&*writer, &*reader].map(|peer| peer.hear().and_then(|_| trace(peer.child.id())));
    let [out, into] = [writer.told(), reader.told()].map(|told| number(&told, "fps"));
    let [calls_out, calls_in] = traces.map(|trace| trace.and_then(calls_a_second));
    let per = |calls: Option<f64>, fps: Option<f64>| calls.zip(fps).map(|(calls, fps)| calls / fps);
    [out, into, per(calls_out, out), per(calls_in, into), None, None, None]
}

struct Trace {
    strace: Child,
    start: Instant,
}

fn trace(pid: u32) -> Option<Trace> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-q", "-p", &pid.to_string()]).stderr(Stdio::piped()).stdout(Stdio::null());
    Some(Trace { strace: strace.spawn().ok()?, start: Instant::now() })
}

fn calls_a_second(mut trace: Trace) -> Option<f64> {
    let interrupt = nix::sys::signal::Signal::SIGINT;
    let pid = nix::unistd::Pid::from_raw(trace.strace.id().try_into().ok()?);
    nix::sys::signal::kill(pid, interrupt).ok()?;
    let seconds = trace.start.elapsed().as_secs_f64();
    let summary = std::io::read_to_string(trace.strace.stderr.take()?).ok()?;
    trace.strace.wait().ok()?;
    // The last line is `100.00  SECONDS  USECS  CALLS  [ERRORS]  total`.
    let total = summary.lines().rfind(|line| line.ends_with("total"))?;
    let calls: f64 = total.split_whitespace().nth(3)?.parse().ok()?;
    Some(calls / seconds)
}

fn wait_for(socket: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !socket.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A writer or a reader, which ends with this value.
struct Peer {
    child: Child,
    lines: Receiver<String>,
}

impl Peer {
    fn start(role: &str, transport: Transport, socket: &Path, rest: [&str; 2]) -> Peer {
        let program = std::env::current_exe().expect("this program knows its path");
        let mut command = Command::new(program);
        command.args([role, transport.name()]).arg(socket).args(rest).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started again");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Peer { child, lines }
    }

    /// The next line that it prints. None if it has ended, or does not get that far.
    fn hear(&self) -> Option<String> {
        self.lines.recv_timeout(2 * MEASURED).ok()
    }

    /// What it has measured, or Null.
    fn told(&mut self) -> Value {
        // The first line says that it has begun; who was traced has said so already.
        let line = match self.hear() {
            Some(line) if line == MEASURING => self.hear(),
            line => line,
        };
        line.and_then(|line| serde_json::from_str(&line).ok()).unwrap_or_default()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        shmpipe::end(&mut self.child);
    }
}
