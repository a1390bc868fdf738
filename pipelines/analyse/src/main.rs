//! `valkka-analyse`: finds motion in the frames of any number of channels, and answers with messages.
//!
//! One process serves many cameras. It takes frames from their channels where they lie, looks for motion with OpenCV, and
//! says what it found as one JSON object per frame: on standard output, one per line, for whoever started it; and as a
//! reply to the frame's writer. It needs neither GStreamer nor a configuration file; `README.md` shows it at work.
//!
//! | module | knows |
//! | --- | --- |
//! | [`worker`] | waiting for all channels, turns, why to end |
//! | [`channel`] | one channel: what comes out of it, and what is said about it |
//! | [`caps`] | format and size of pictures, from the caps string |
//! | [`layout`] | where the pixels are in a frame, from its video meta |
//! | [`view`] | a frame as OpenCV sees it, without a copy |
//! | [`motion`] | OpenCV's background subtraction |
//! | [`track`] | which object of this picture is which of the last |
//! | [`message`] | the JSON |
//! | [`lines`], [`log`] | standard output, standard error |

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;
use frame_ring::{ChannelAddress, InitialFrame, Policy, Reader, ReaderOptions};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::channel::Channel;
use crate::lines::Lines;
use crate::motion::{Motion, Sensitivity};
use crate::worker::Ended;

mod caps;
mod channel;
mod layout;
mod lines;
mod log;
mod message;
mod motion;
mod track;
mod view;
mod worker;

/// Finds motion in the pictures of channels, and says what it found: one line of JSON per frame.
///
/// A channel need not exist yet. Raw video in RGB, BGR or GRAY8 can be analysed. Every message goes to standard output,
/// and as a reply to the writer of the frame. SIGINT and SIGTERM end the analyser, and so does closing its output.
#[derive(Debug, Parser)]
#[command(name = "valkka-analyse", version)]
struct Args {
    /// A channel to read: its name, or the path of its socket if it has a slash. Can be given several times
    #[arg(long = "channel", value_name = "NAME", required = true)]
    channels: Vec<String>,

    /// Which frames to take when analysing is slower than writing
    #[arg(long, value_enum, default_value_t = PolicyName::Latest)]
    policy: PolicyName,

    /// Frames that may wait in each channel, for the policies queue and lossless
    #[arg(long, value_name = "FRAMES", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    queue_size: u32,

    /// Moving pixels that make an object, as a share of the picture
    #[arg(long, value_name = "SHARE", default_value_t = 0.0005, allow_negative_numbers = true, value_parser = share)]
    min_area: f64,

    /// How far from the background a pixel must be: squared distance in variances. Lower finds more
    #[arg(long, value_name = "NUMBER", default_value_t = 16.0, allow_negative_numbers = true, value_parser = positive)]
    threshold: f64,

    /// Frames that the background remembers. What stands still for a tenth of them becomes background
    #[arg(long, value_name = "FRAMES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
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

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PolicyName {
    /// Always the newest frame
    Latest,
    /// The oldest of --queue-size frames
    Queue,
    /// Every frame; the writer waits (it must allow that: lossless-timeout)
    Lossless,
}

impl From<PolicyName> for Policy {
    fn from(name: PolicyName) -> Self {
        match name {
            PolicyName::Latest => Policy::Latest,
            PolicyName::Queue => Policy::Queue,
            PolicyName::Lossless => Policy::Lossless,
        }
    }
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

    let mut seen = HashSet::new();
    let mut channels = Vec::with_capacity(args.channels.len());
    for channel in &args.channels {
        if !seen.insert(channel) {
            bail!("--channel {channel} is given twice");
        }
        channels.push(open(channel, args).with_context(|| format!("--channel {channel}"))?);
    }

    let lines = if args.quiet {
        None
    } else {
        // Not io::stdout(), which buffers. A line is written at once.
        let stdout = io::stdout().as_fd().try_clone_to_owned().context("cannot use standard output")?;
        Some(Lines::new(File::from(stdout)))
    };
    match worker::run(channels, lines, stop.as_fd(), args.until_eos)? {
        Ended::Stopped | Ended::OutputClosed | Ended::NoChannelsLeft { well: true } => Ok(ExitCode::SUCCESS),
        Ended::NoChannelsLeft { well: false } => bail!("no channel is left to analyse"),
    }
}

fn open(channel: &str, args: &Args) -> anyhow::Result<Channel> {
    let (address, name) = if channel.contains('/') {
        let name = Path::new(channel).file_name().context("the path of a socket must end with its name")?;
        (ChannelAddress::socket(channel)?, name.to_string_lossy().into_owned())
    } else {
        (ChannelAddress::channel(channel)?, channel.to_owned())
    };
    let reader = Reader::new(ReaderOptions {
        address,
        policy: args.policy.into(),
        queue_size: args.queue_size,
        // The one under analysis.
        max_held: 1,
        initial: InitialFrame::Newest,
    })?;
    let sensitivity = Sensitivity { min_area: args.min_area, threshold: args.threshold, history: args.history };
    Ok(Channel::new(name, reader, Motion::new(sensitivity)))
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
