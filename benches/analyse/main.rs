//! What analysing costs beside OpenCV: cameras per processor, age of the answers, and the same loop fed by `shmsrc ! appsink`.
//!
//! `./dev bench analyse` builds and starts it. A process ([`writer`], this program again) plays cameras: footage of 640x360 at five
//! frames a second, each channel a little later than the one before. On the other side is `valkka-analyse` as it is installed, or
//! ([`appsink`], this program again) the same motion detector, tracker and messages behind GStreamer's own transport: one
//! `shmsrc ! appsink` for each camera. Both look with one thread, and say the same lines.
//!
//! `all` is the processor time of the analysing process for a frame, `OpenCV` that of the calls into it, measured around them;
//! `rest` is the difference: what Valkka, or GStreamer, costs. `cameras` is how many fit a processor by that; `looked at` shows where that
//! ends: the last lines have more cameras than one thread can look at, of whose frames the newest are taken. Ages are of the
//! frame when its message is ready, from its time stamp on.
//!
//! Nothing here is asserted. Numbers are of this machine, at this moment.

mod appsink;
mod cost;
mod round;
#[path = "../shmpipe.rs"]
mod shmpipe;
mod writer;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use round::{Fed, Row, round};

/// Size and rate of the pictures.
const WIDTH: usize = 640;
const HEIGHT: usize = 360;
const FPS: usize = 5;
/// Cameras at a time; the last are too many.
const CAMERAS: [usize; 4] = [1, 8, 24, 96];
/// How often each is measured. Printed is the median; of ages those of all rounds together.
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    gst::init().expect("GStreamer is installed");
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["writer", transport, folder, footage, cameras] => {
            writer::play(transport, Path::new(folder), Path::new(footage), cameras.parse().expect("a number"));
            return ExitCode::SUCCESS;
        }
        ["appsink", folder, cameras] => {
            appsink::play(Path::new(folder), cameras.parse().expect("a number"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if gst::ElementFactory::find("valkkashmsink").is_none() {
        eprintln!("valkkashmsink is not found: ./dev bench says GStreamer where it is");
        return ExitCode::FAILURE;
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let footage = folder.path().join("footage.rgb");
    let shown = film(&footage);
    println!(
        "motion in {WIDTH}x{HEIGHT} RGB at {FPS} frames a second ({shown}), one analysis thread; medians of {ROUNDS} rounds"
    );
    println!("µs of processor time per frame; ages in ms; cameras: how many of these a processor can look at\n");
    println!(
        "{}",
        ["cameras at a time", "fed by", "all", "OpenCV", "rest", "age p50", "age p99", "cameras", "looked at"]
            .map(|c| format!("{c:>18}"))
            .concat()
    );
    for cameras in CAMERAS {
        for fed in Fed::BOTH {
            let rounds: Vec<Row> = (0..ROUNDS).filter_map(|_| round(fed, &footage, cameras)).collect();
            print(cameras, fed, &rounds);
        }
    }
    ExitCode::SUCCESS
}

/// Two seconds of pedestrians, or of a ball where they are not to be had.
fn film(to: &Path) -> &'static str {
    let video =
        PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("video/vtest.avi");
    let video = video.canonicalize().or_else(|_| Path::new("../../target/video/vtest.avi").canonicalize());
    let caps = format!("video/x-raw,format=RGB,width={WIDTH},height={HEIGHT}");
    let (source, shown) = match &video {
        Ok(video) => (
            format!("filesrc location={} ! decodebin ! videoconvert ! videoscale add-borders=false", video.display()),
            "pedestrians",
        ),
        Err(_) => ("videotestsrc num-buffers=120 pattern=ball".to_owned(), "a ball"),
    };
    let pipeline = format!(
        "{source} ! {caps},pixel-aspect-ratio=1/1 ! identity eos-after=100 ! filesink location={}",
        to.display()
    );
    let made = Command::new("gst-launch-1.0").arg("-q").args(pipeline.split_whitespace()).status();
    assert!(made.is_ok_and(|status| status.success()), "footage can be made: {pipeline}");
    shown
}

fn print(cameras: usize, fed: Fed, rounds: &[Row]) {
    let numbers = numbers(rounds).unwrap_or_else(|| vec!["-".to_owned(); 7]);
    let columns: Vec<_> = [cameras.to_string(), fed.name().to_owned()].into_iter().chain(numbers).collect();
    println!("{}", columns.iter().map(|column| format!("{column:>18}")).collect::<String>());
}

/// None if no round got that far.
fn numbers(rounds: &[Row]) -> Option<Vec<String>> {
    let middle = |of: fn(&Row) -> f64| at(rounds.iter().map(of).collect(), 0.5);
    let age = |share: f64| at(rounds.iter().flat_map(|row| row.ages_ms.iter().copied()).collect(), share);
    let (all, opencv) = (middle(|row| row.all_us)?, middle(|row| row.opencv_us)?);
    Some(vec![
        format!("{all:.0}"),
        format!("{opencv:.0}"),
        format!("{:.0}", middle(|row| row.all_us - row.opencv_us)?),
        format!("{:.1}", age(0.5)?),
        format!("{:.1}", age(0.99)?),
        format!("{:.0}", 1e6 / (all * FPS as f64)),
        format!("{:.0} %", middle(|row| row.looked_at)?.min(1.0) * 100.0),
    ])
}

/// The number that is larger than that share of them.
fn at(mut numbers: Vec<f64>, share: f64) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(((numbers.len().saturating_sub(1)) as f64 * share).round() as usize).copied()
}
