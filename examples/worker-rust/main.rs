//! A worker in Rust without GStreamer: finds what is brighter than a threshold, answers each frame, and takes commands.
//!
//! `worker-rust CHANNEL` reads a channel of GRAY8 pictures. The detector is the struct [`Bright`]; everything below it is the same for
//! any other. Started by a frontend (`VALKKA_COMMANDS`) it takes the command `threshold`, and ends with the frontend.

use std::io::Write;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use frame_ring::{
    ChannelAddress, Frame, InitialFrame, Item, Policy, Reader, ReaderOptions, Reply, ReplyFormat, StateKind,
    monotonic_now,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use valkka_command::{Backend, Closed, Handlers};

/// Finds one box around everything that is bright.
struct Bright {
    threshold: u8,
}

impl Bright {
    /// `rows` are the rows of the picture, as they lie in shared memory.
    fn find<'a>(&self, width: usize, height: usize, rows: impl Iterator<Item = &'a [u8]>) -> Vec<Value> {
        let (mut left, mut top, mut right, mut bottom, mut count) = (width, height, 0, 0, 0);
        for (y, row) in rows.take(height).enumerate() {
            for (x, _) in row.iter().take(width).enumerate().filter(|(_, value)| **value > self.threshold) {
                (left, right) = (left.min(x), right.max(x + 1));
                (top, bottom) = (top.min(y), bottom.max(y + 1));
                count += 1;
            }
        }
        if count == 0 {
            return Vec::new();
        }
        let share = |edge: usize, of: usize| edge as f64 / of as f64;
        let edges = [share(left, width), share(top, height), share(right, width), share(bottom, height)];
        let score = count as f64 / ((right - left) * (bottom - top)) as f64;
        vec![json!({ "id": 0, "label": "bright", "score": score, "box": edges })]
    }
}

/// Two numbers of the caps are enough here; the width of a row is rounded up to four bytes.
fn size_of(caps: &str) -> Option<(usize, usize)> {
    let number = |field: &str| {
        let number = caps.split(field).nth(1)?.split(',').next()?.trim_end_matches(';').parse().ok()?;
        // What the other side says may be anything.
        (1..=32_768).contains(&number).then_some(number)
    };
    Some((number("width=(int)")?, number("height=(int)")?)).filter(|_| caps.contains("GRAY8"))
}

fn answer(channel: &str, detector: &Bright, frame: &Frame, (width, height): (usize, usize)) -> Value {
    let objects = detector.find(width, height, frame.as_ref().chunks(width.next_multiple_of(4)));
    let time = frame.info().time.unwrap_or_else(|| frame.published());
    json!({
        "v": 1,
        "camera": channel.rsplit_once('.').map_or(channel, |(camera, _)| camera),
        "channel": channel,
        "seq": frame.id().seq,
        "generation": frame.id().generation,
        "pts": time,
        "utc": time.saturating_add(frame.utc_offset()) as f64 / 1e9,
        "width": width,
        "height": height,
        "age_ms": monotonic_now().saturating_sub(time) as f64 / 1e6,
        "objects": objects,
    })
}

fn main() -> Result<()> {
    let channel = std::env::args().nth(1).context("usage: worker-rust CHANNEL")?;
    let options = ReaderOptions {
        address: ChannelAddress::channel(&channel)?,
        policy: Policy::Latest,
        queue_size: 1,
        max_held: 1,
        initial: InitialFrame::Newest,
    };
    let (mut reader, mut detector, mut size) = (Reader::new(options)?, Bright { threshold: 200 }, None);
    let line = reader.line();
    let mut backend = Backend::inherited()?;
    let mut handlers = Handlers::new();
    handlers.on("threshold", |detector: &mut Bright, threshold: u8| {
        detector.threshold = threshold;
        Ok::<_, String>(())
    });

    loop {
        while let Some(item) = reader.next()? {
            match item {
                Item::State { kind: StateKind::CAPS, bytes } => size = size_of(std::str::from_utf8(&bytes)?),
                Item::Frame(frame) => {
                    let Some(size) = size else { continue };
                    let message = answer(&channel, &detector, &frame, size);
                    let (id, payload) = (frame.id(), message.to_string().into_bytes());
                    // Its slot is given back before anything else is done.
                    drop(frame);
                    let _ = line.reply(&Reply { frame: Some(id), format: ReplyFormat::Json, payload });
                    match &backend {
                        Some(backend) => drop(backend.events().send("detections", &message)),
                        // Nobody who reads it is an end, not a panic.
                        None => writeln!(std::io::stdout(), "{message}")?,
                    }
                }
                _ => {}
            }
        }
        while let Some(frontend) = &mut backend {
            match frontend.receive() {
                Ok(Some(call)) => handlers.run(&mut detector, call),
                Ok(None) => break,
                Err(Closed::HungUp) => return Ok(()),
                Err(closed) => return Err(closed.into()),
            }
        }
        let mut ready = vec![PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        ready.extend(backend.as_ref().map(|backend| PollFd::new(backend.as_fd(), PollFlags::POLLIN)));
        poll(&mut ready, PollTimeout::NONE)?;
    }
}
