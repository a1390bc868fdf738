//! The writer's and the reader's process. Each prints one line of JSON when it has measured long enough.
//!
//! A frame's first eight bytes are the time at which it came to the sink: nanoseconds on CLOCK_MONOTONIC.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::transport::Transport;

/// What a frame is.
pub const CAPS: &str = "video/x-raw,format=RGB,width=1920,height=1080";

/// What a peer leaves out in the beginning: caches are cold, and memory is touched for the first time.
const WARM_UP: Duration = Duration::from_millis(700);

/// And how long it measures then.
pub const MEASURED: Duration = Duration::from_secs(3);

/// What a peer prints when it begins to measure.
pub const MEASURING: &str = "measuring";

/// Plays a role, if that is one.
pub fn play(role: &str, arguments: &[String]) -> Option<ExitCode> {
    let [transport, socket, rest @ ..] = arguments else { return None };
    let (transport, socket) = (Transport::named(transport)?, Path::new(socket));
    let rest: Vec<_> = rest.iter().map(String::as_str).collect();
    match (role, &rest[..]) {
        ("writer", [fps, foreign]) => write(transport, socket, fps.parse().ok(), *foreign == "true"),
        ("reader", [every, hold_ms]) => read(transport, socket, *every == "true", hold_ms.parse().ok()?),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn write(transport: Transport, socket: &Path, fps: Option<u32>, foreign: bool) {
    let rate = fps.map_or(String::new(), |fps| format!(",framerate={fps}/1"));
    let live = fps.is_some();
    // What has to be copied comes from a pool of the element's own: drop the sink's proposal.
    let alien = if foreign { "! identity drop-allocation=true" } else { "" };
    let sink = transport.sink(socket);
    let description =
        format!("videotestsrc is-live={live} pattern=black ! {CAPS}{rate} {alien} ! identity name=here ! {sink}");
    let tally = Tally::new(false);
    run(&description, "here", tally, |buffer, _| {
        let frame = buffer.make_mut();
        let mut map = frame.map_writable().expect("a frame on its way to a sink is writable");
        map[..8].copy_from_slice(&now_ns().to_ne_bytes());
    });
}

fn read(transport: Transport, socket: &Path, every: bool, hold_ms: u64) {
    let source = transport.source(socket, every);
    let description = format!("{source} ! identity name=here ! fakesink sync=false enable-last-sample=false");
    let tally = Tally::new(true);
    run(&description, "here", tally, move |buffer, latencies| {
        let map = buffer.map_readable().expect("a frame can be read");
        let stamp = u64::from_ne_bytes(map[..8].try_into().expect("eight bytes"));
        latencies.push(now_ns().saturating_sub(stamp));
        drop(map);
        if hold_ms > 0 {
            std::thread::sleep(Duration::from_millis(hold_ms));
        }
    });
}

/// Counts while it is time to.
struct Tally {
    is_reader: bool,
    first_ns: Option<u64>,
    started: Option<(u64, u64)>,
    frames: u64,
    latencies: Vec<u64>,
    told: bool,
}

impl Tally {
    fn new(is_reader: bool) -> Arc<Mutex<Tally>> {
        let latencies = Vec::with_capacity(50_000);
        Arc::new(Mutex::new(Tally { is_reader, first_ns: None, started: None, frames: 0, latencies, told: false }))
    }

    /// A frame has come.
    fn frame(&mut self) {
        let now = now_ns();
        let first = *self.first_ns.get_or_insert(now);
        let Some((start, cpu)) = self.started else {
            if now - first > nanos(WARM_UP) {
                self.started = Some((now, cpu_us()));
                self.latencies.clear();
                println!("{MEASURING}");
            }
            return;
        };
        self.frames += 1;
        if now - start > nanos(MEASURED) && !self.told {
            self.told = true;
            self.tell((now - start) as f64 / 1e9, cpu_us() - cpu);
        }
    }

    fn tell(&mut self, seconds: f64, cpu_us: u64) {
        let mut line = json!({ "fps": self.frames as f64 / seconds, "cpu_us": cpu_us as f64 / self.frames as f64 });
        if self.is_reader {
            self.latencies.sort_unstable();
            let at = |share: f64| self.latencies[((self.latencies.len() - 1) as f64 * share) as usize] as f64 / 1e3;
            line["p50_us"] = json!(at(0.5));
            line["p99_us"] = json!(at(0.99));
        }
        println!("{line}");
    }
}

/// Runs a pipeline until it is killed; `each` frame that passes the element `name` is looked at.
fn run(
    description: &str,
    name: &str,
    tally: Arc<Mutex<Tally>>,
    each: impl Fn(&mut gst::Buffer, &mut Vec<u64>) + Send + Sync + 'static,
) {
    let pipeline = gst::parse::launch(description).expect("the description is right");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("several elements");
    let pad = pipeline.by_name(name).and_then(|here| here.static_pad("src")).expect("it stands in the description");
    let counted = tally.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let tally = &mut *counted.lock().expect("nothing panics under this lock");
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            tally.frame();
            each(buffer, &mut tally.latencies);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let end = bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Error, gst::MessageType::Eos]);
    if let Some(gst::MessageView::Error(error)) = end.as_ref().map(|message| message.view()) {
        // A peer that has told its part may have lost the other one.
        if !tally.lock().expect("nothing panics under this lock").told {
            eprintln!("{}", error.error());
        }
    }
    let _ = pipeline.set_state(gst::State::Null);
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().expect("some seconds fit")
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.num_nanoseconds().try_into().expect("it counts from the machine's start")
}

/// Processor time of this process up to now, the kernel's part included.
fn cpu_us() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask about itself");
    (usage.user_time() + usage.system_time()).num_microseconds().try_into().expect("time is not negative")
}
