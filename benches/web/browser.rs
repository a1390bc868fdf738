//! How long it takes from a frame that leaves the encoder to its picture in Chromium.
//!
//! Each picture of the scene carries a number; when the encoded frame enters the sink, or the muxer in front of it, the time
//! is noted. The page reads the number from the canvas whenever the player says that another picture is shown. Both look at the same
//! machine's clock. A browser of its own, without a screen, for each row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gst::prelude::*;

#[path = "../../plugins/fmp4ws/tests/browser/blocks.rs"]
mod blocks;
#[path = "../../plugins/fmp4ws/tests/browser/stage.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod stage;

use crate::{proxy, ready};
use blocks::{READ_NUMBER, paint};
use stage::{Browser, Runtime, SOON};

/// For the player to know the network, and then to be measured.
const SETTLING: Duration = Duration::from_secs(12);
const MEASURING: Duration = Duration::from_secs(20);
/// ms from one picture to the next.
const FRAME_MS: f64 = 40.0;

/// One row of the table.
struct Row {
    title: &'static str,
    mux: &'static str,
    mode: &'static str,
    jitter_ms: u64,
}

const FRAMES: &str = "";
const MP4MUX: &str = "! mp4mux fragment-duration=1 streamable=true";
const ISOFMP4MUX: &str = "! isofmp4mux fragment-duration=1000000000 chunk-duration=1";

const ROWS: [Row; 10] = [
    Row { title: "encoded frames, WebCodecs", mux: FRAMES, mode: "webcodecs", jitter_ms: 0 },
    Row { title: "encoded frames, MSE", mux: FRAMES, mode: "mse", jitter_ms: 0 },
    Row { title: "mp4mux, WebCodecs", mux: MP4MUX, mode: "webcodecs", jitter_ms: 0 },
    Row { title: "mp4mux, MSE", mux: MP4MUX, mode: "mse", jitter_ms: 0 },
    Row { title: "isofmp4mux, WebCodecs", mux: ISOFMP4MUX, mode: "webcodecs", jitter_ms: 0 },
    Row { title: "isofmp4mux, MSE", mux: ISOFMP4MUX, mode: "mse", jitter_ms: 0 },
    Row { title: "encoded frames, WebCodecs, 30 ms of jitter", mux: FRAMES, mode: "webcodecs", jitter_ms: 30 },
    Row { title: "encoded frames, MSE, 30 ms of jitter", mux: FRAMES, mode: "mse", jitter_ms: 30 },
    Row { title: "encoded frames, WebCodecs, 100 ms of jitter", mux: FRAMES, mode: "webcodecs", jitter_ms: 100 },
    Row { title: "encoded frames, MSE, 100 ms of jitter", mux: FRAMES, mode: "mse", jitter_ms: 100 },
];

/// Measures each row, and prints a table.
pub fn run() {
    println!("\nfrom an encoded frame (H.264, 640x360, 25 a second) to its picture in Chromium");
    println!("{:<46}{:>9}{:>9}{:>9}{:>9}{:>11}", "", "p50 ms", "p99 ms", "shown %", "stalls", "target ms");
    for row in &ROWS {
        let mux = row.mux.split_whitespace().nth(1);
        if mux.is_some_and(|mux| gst::ElementFactory::find(mux).is_none()) {
            println!("{:<46}is not installed", row.title);
            continue;
        }
        print_row(row, &measure(row));
    }
}

/// What was seen in one row.
struct Seen {
    /// ms of each picture that was shown, in order.
    delays: Vec<f64>,
    /// ms at which each was shown.
    times: Vec<f64>,
    /// ms that the player keeps in hand.
    target: f64,
}

fn print_row(row: &Row, seen: &Seen) {
    let mut delays = seen.delays.clone();
    delays.sort_by(f64::total_cmp);
    let part = |part: f64| delays.get((delays.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN);
    let expected = MEASURING.as_secs_f64() * 1000.0 / FRAME_MS;
    let shown = 100.0 * delays.len() as f64 / expected;
    // A picture that stands for two more than its own time is seen to stand.
    let stalls = seen.times.windows(2).filter(|pair| pair[1] - pair[0] > 3.0 * FRAME_MS).count();
    let [p50, p99] = [part(0.5), part(0.99)];
    println!("{:<46}{p50:>9.1}{p99:>9.1}{shown:>9.0}{stalls:>9}{:>11.0}", row.title, seen.target);
}

fn measure(row: &Row) -> Seen {
    let entered = Arc::new(Mutex::new(HashMap::new()));
    let pipeline = camera(row.mux, entered.clone());
    pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    let sink = pipeline.by_name("sink").expect("it is in the description");
    let port = u16::try_from(sink.property::<u32>("port")).expect("a port has 16 bits");
    let port = proxy::start(port, Duration::from_millis(row.jitter_ms));

    let runtime = Runtime::new();
    let browser = Browser::start(&runtime);
    browser.open(&format!("http://127.0.0.1:{port}/?src=nothing"));
    browser.ask(&format!("document.body.replaceChildren();\n{READ_NUMBER}\n{WATCH}"));
    browser.ask_until("return customElements.get('valkka-video') !== undefined", SOON);
    browser.ask(&format!("watch('{}')", row.mode));
    browser.ask_until("return seen.length > 10", SOON);
    thread::sleep(SETTLING);
    browser.ask("seen.length = 0");
    thread::sleep(MEASURING);
    let told = browser.ask("return [seen, player.stats.target]");
    let _ = pipeline.set_state(gst::State::Null);

    let entered = entered.lock().expect("nobody panics with it");
    let pictures = told[0].as_array().into_iter().flatten();
    let pairs = pictures.filter_map(|pair| Some((pair[0].as_u64()?, pair[1].as_f64()?)));
    let timed: Vec<_> = pairs.filter_map(|(number, at)| Some((at - entered.get(&number)?, at))).collect();
    Seen {
        delays: timed.iter().map(|(delay, _)| *delay).collect(),
        times: timed.iter().map(|(_, at)| *at).collect(),
        target: told[1].as_f64().map_or(f64::NAN, |seconds| seconds * 1000.0),
    }
}

/// A page that notes which picture is shown when: [number, ms since 1970], each number once.
const WATCH: &str = "
    window.seen = [];
    window.watch = (mode) => {
      const player = window.player = document.createElement('valkka-video');
      player.style.cssText = 'display: block; width: 640px; height: 360px';
      player.setAttribute('mode', mode);
      player.setAttribute('src', '/api/ws?src=stream');
      player.addEventListener('frame', ({ detail: { width, height } }) => {
        const at = performance.timeOrigin + performance.now();
        const number = readNumber(player.picture, width, height);
        if (number !== null && number !== seen.at(-1)?.[0]) seen.push([number, at]);
      });
      document.body.replaceChildren(player);
    };
    return import('/valkka-video.js').then(() => true)";

/// A test picture with numbers, whose encoded frames are noted when they come, by number: ms since 1970.
fn camera(mux: &str, entered: Arc<Mutex<HashMap<u64, f64>>>) -> gst::Pipeline {
    let description = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate=25/1 \
         ! identity name=scene ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 \
         ! h264parse name=parse {mux} ! fmp4wssink name=sink stream-name=stream port=0"
    );
    let pipeline = ready(&description);
    let pad = |name: &str| pipeline.by_name(name).and_then(|element| element.static_pad("src")).expect("it has a pad");
    pad("scene").add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            let ms = buffer.pts().map_or(0, gst::ClockTime::mseconds);
            paint(&mut buffer.make_mut().map_writable().expect("raw video is writable"), 640, ms);
        }
        gst::PadProbeReturn::Ok
    });
    pad("parse").add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        // x264enc adds a thousand hours to all times, and says so in the segment.
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let segment = segment.and_then(|event| event.segment().downcast_ref::<gst::ClockTime>().cloned());
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        if let Some(time) = segment.zip(pts).and_then(|(segment, pts)| segment.to_running_time(pts)) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
            entered.lock().expect("nobody panics with it").insert(time.mseconds(), now.as_secs_f64() * 1000.0);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline
}
