//! The program: arguments, signals, and the exit code. What it does is in the library.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use valkka_analyse::analyser::{Analyser, Ended, Options};
use valkka_analyse::config::{CameraConfig, PolicyName};
use valkka_analyse::detect::{DetectorConfig, MotionConfig};
use valkka_analyse::log;
use valkka_analyse::outlet::Outlet;
use valkka_command::Backend;

/// Looks at the pictures of channels, and says what it found: one line of JSON per frame, and per change of an object.
///
/// A channel need not exist yet. Raw video in RGB, BGR or GRAY8 can be analysed. Every message goes to standard output,
/// and as a reply to the writer of the frame. SIGINT and SIGTERM end the analyser, and so does closing its output.
///
/// Started by a frontend (VALKKA_COMMANDS in the environment), it takes the commands attach, detach, zones and status,
/// tells events instead of lines, and ends with the frontend.
#[derive(Debug, Parser)]
#[command(name = "valkka-analyse", version)]
struct Args {
    /// A channel to look at for motion: its name, or the path of its socket if it has a slash. Can be given several times
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,

    /// A camera with its own settings, as JSON: {"channel":"lobby.rgb","detector":"people"}. Can be given several times
    #[arg(long, value_name = "JSON")]
    attach: Vec<String>,

    /// Analysis threads; 0 takes one per processor
    #[arg(long, value_name = "THREADS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=256))]
    threads: u16,

    /// Which frames of --channel to take when analysing is slower than writing
    #[arg(long, value_enum, default_value_t = PolicyName::Latest)]
    policy: PolicyName,

    /// Frames that may wait in each --channel, for the policies queue and lossless
    #[arg(long, value_name = "FRAMES", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    queue_size: u32,

    /// Moving pixels that make an object, as a share of the picture
    #[arg(long, value_name = "SHARE", default_value_t = 0.0005, allow_negative_numbers = true, value_parser = share)]
    min_area: f64,

    /// How far from the background a pixel must be: squared distance in variances. Lower finds more
    #[arg(long, value_name = "NUMBER", default_value_t = 16.0, allow_negative_numbers = true, value_parser = positive)]
    threshold: f64,

    /// Frames that the background remembers. What stands still for a tenth of them becomes background
    #[arg(long, value_name = "FRAMES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    history: u32,

    /// Threads that OpenCV may use for a frame; 0 takes one per processor. With many cameras 1 is best
    #[arg(long, value_name = "THREADS", default_value_t = 1, value_parser = clap::value_parser!(i32).range(0..=256))]
    opencv_threads: i32,

    /// Leave a channel when its stream ends, and end with the last of them; otherwise wait for its next writer
    #[arg(long)]
    until_eos: bool,

    /// Write no lines: the writers of the channels alone get answers
    #[arg(short, long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match analyse(&args) {
        Ok(code) => code,
        Err(error) => {
            log::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn analyse(args: &Args) -> anyhow::Result<ExitCode> {
    // Before any thread is started: all inherit that the two signals go to the descriptor.
    let stop = stop_signals().context("cannot receive signals")?;
    opencv::core::set_num_threads(if args.opencv_threads == 0 { -1 } else { args.opencv_threads })
        .context("cannot set the number of OpenCV's threads")?;

    let backend = Backend::inherited()?;
    let cameras = cameras(args)?;
    if cameras.is_empty() && backend.is_none() {
        bail!("there is nothing to look at: say --channel NAME, or --attach JSON");
    }
    let outlet = match &backend {
        _ if args.quiet => Outlet::Nobody,
        Some(backend) => Outlet::Events(backend.events()),
        None => Outlet::stdout().context("cannot use standard output")?,
    };
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.threads == 0 { processors() } else { args.threads.into() };
    let mut analyser = Analyser::new(Options { threads, until_eos: args.until_eos }, outlet, backend)?;
    cameras.into_iter().for_each(|camera| analyser.attach(camera));
    match analyser.run(stop.as_fd())? {
        Ended::Stopped | Ended::OutputClosed | Ended::NoChannelsLeft { well: true } => Ok(ExitCode::SUCCESS),
        Ended::NoChannelsLeft { well: false } => bail!("no channel is left to analyse"),
    }
}

/// Everything that is asked for, checked before anything is opened.
fn cameras(args: &Args) -> anyhow::Result<Vec<CameraConfig>> {
    let mut cameras: Vec<CameraConfig> = Vec::with_capacity(args.channels.len() + args.attach.len());
    for channel in &args.channels {
        let motion = MotionConfig {
            min_area: args.min_area,
            threshold: Some(args.threshold),
            history: args.history,
            ..MotionConfig::default()
        };
        let detector = DetectorConfig::Motion(motion);
        let (policy, queue_size) = (args.policy, args.queue_size);
        let camera = CameraConfig { detector, policy, queue_size, ..CameraConfig::of_channel(channel) };
        add(&mut cameras, camera).with_context(|| format!("--channel {channel}"))?;
    }
    for json in &args.attach {
        let camera =
            serde_json::from_str(json).map_err(anyhow::Error::from).and_then(|camera| add(&mut cameras, camera));
        camera.with_context(|| format!("--attach {json}"))?;
    }
    Ok(cameras)
}

fn add(cameras: &mut Vec<CameraConfig>, camera: CameraConfig) -> anyhow::Result<()> {
    camera.check().map_err(anyhow::Error::msg)?;
    if let Some(other) = cameras.iter().find(|other| other.camera() == camera.camera()) {
        if other.channel == camera.channel {
            bail!("channel {} is given twice", camera.channel);
        }
        bail!("camera {} is there twice: give one of them another name, by \"camera\" of --attach", camera.camera());
    }
    cameras.push(camera);
    Ok(())
}

/// A descriptor that becomes readable at SIGINT and SIGTERM.
fn stop_signals() -> nix::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number from 0 to 1".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if f64::is_finite(number) && number > 0.0 => Ok(number),
        _ => Err("a number greater than 0 is needed".to_owned()),
    }
}
