//! The words that both ends share: what a reader asks for, what is said of a frame, what goes back.

use std::fmt;

use rustix::time::{ClockId, clock_gettime};

/// Largest payload of a [`Reply`], in bytes.
pub const MAX_REPLY: usize = 64 * 1024;

/// What happens when a reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The queue has one place: always the newest frame. For analysers and displays.
    #[default]
    Latest,
    /// The oldest waiting frame is evicted. For encoders, recorders and encoded video.
    Queue,
    /// The writer waits, up to its `lossless_timeout`; then the reader is detached. For files and tests.
    Lossless,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latest => "latest",
            Self::Queue => "queue",
            Self::Lossless => "lossless",
        })
    }
}

/// What a reader gets first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InitialFrame {
    /// The frame that was published last, at once (of delta-coded streams only if it is a keyframe).
    #[default]
    Newest,
    /// The next frame that is published.
    Next,
}

/// Which frame: the same number never comes again on a channel, not even after a restart of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId {
    /// The channel's memory at that time. Rises with every new memory and every new writer.
    pub generation: u64,
    /// Counts the frames of one writer from 0, over its generations.
    pub seq: u64,
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.generation, self.seq)
    }
}

/// What a writer says of a frame. Times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameInfo {
    /// Channel time: CLOCK_MONOTONIC of the moment that the frame shows (base time + running time). None: the frame has no time.
    pub time: Option<i64>,
    /// PTS − DTS. None: the frame has no DTS.
    pub dts_offset: Option<i64>,
    /// How long the frame is shown.
    pub duration: Option<u64>,
    /// The frame cannot be decoded without the frames before it.
    pub delta: bool,
    /// Flags that the ring carries and does not look at (`GstBufferFlags`).
    pub flags: u32,
}

/// Could the frame be proved whole?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// The writer computes no checksums.
    Unchecked,
    /// The checksum agrees.
    Whole,
    /// The checksum does not agree: the frame changed after it was published, or lies.
    Torn,
}

/// How a reply's payload is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyFormat {
    /// A JSON text (RFC 8259).
    Json,
    /// A `GstStructure` in its text form.
    Structure,
}

/// A message from a reader to the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The frame that it answers.
    pub frame: Option<FrameId>,
    /// How to read the payload.
    pub format: ReplyFormat,
    /// At most [`MAX_REPLY`] bytes.
    pub payload: Vec<u8>,
}

/// A kind of sticky state: a late reader gets the newest of each kind before its first frame. Open: other numbers pass as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateKind(pub u16);

impl StateKind {
    /// The format of the frames: caps in their text form.
    pub const CAPS: Self = Self(1);
    /// Tags: a tag list in its text form.
    pub const TAGS: Self = Self(2);
    /// What the writer's pipeline adds to a frame's age before it is published: u64 nanoseconds, little endian.
    pub const LATENCY: Self = Self(3);
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_now() -> i64 {
    now(ClockId::Monotonic)
}

/// CLOCK_REALTIME − CLOCK_MONOTONIC in nanoseconds: add it to a channel time to get Unix time.
pub fn utc_offset_now() -> i64 {
    now(ClockId::Realtime) - monotonic_now()
}

fn now(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
