//! What a writer counts.

use std::fmt;

use crate::frame::Policy;

/// Frames that a reader did not get, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Its queue was full: evicted, with the frames that depend on them.
    pub slow: u64,
    /// It waits for a keyframe.
    pub keyframe: u64,
    /// It holds all that it may.
    pub held: u64,
    /// Its line is full: it could not be told what the frame needs.
    pub line: u64,
}

impl Dropped {
    /// All causes.
    pub fn total(&self) -> u64 {
        self.slow + self.keyframe + self.held + self.line
    }
}

/// One reader, as its writer sees it. `published == taken + dropped.total() + waiting`, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReaderStats {
    /// Its number at this writer.
    pub id: u32,
    /// Its process.
    pub pid: i32,
    /// What it chose.
    pub policy: Policy,
    /// Depth of its queue, as granted.
    pub queue_size: u32,
    /// Frames that it may hold, as granted; above that it copies.
    pub max_held: u32,
    /// Frames published to it since it attached.
    pub published: u64,
    /// Frames that it has taken.
    pub taken: u64,
    /// Frames in its queue.
    pub waiting: u64,
    /// Frames that it did not get.
    pub dropped: Dropped,
    /// Slots that it holds now.
    pub held: u64,
    /// Frames that it copied because it held too many; the reader says so.
    pub copied_on_hold: u64,
    /// From publishing to taking, of the last frame, in ns; the reader says so.
    pub latency_last: u64,
    /// The largest of these, in ns; the reader says so.
    pub latency_max: u64,
    /// It wants no frames now.
    pub paused: bool,
}

/// A channel, as its writer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WriterStats {
    /// Number of the present memory; 0 before there is one.
    pub generation: u64,
    /// Bytes of a slot.
    pub slot_size: u64,
    /// Slots that have memory.
    pub slots: u32,
    /// Frames published.
    pub frames: u64,
    /// Those that upstream wrote into a slot itself.
    pub zero_copy: u64,
    /// Those that were copied into a slot.
    pub copied: u64,
    /// Frames that readers did not get, over all readers that were ever attached.
    pub dropped: u64,
    /// Payload published.
    pub bytes: u64,
    /// Events that a reader did not get because its line was full.
    pub events_dropped: u64,
    /// Frames whose metas fitted nowhere.
    pub metas_dropped: u64,
    /// Replies that were dropped: a reader sent more than a thousand in a second, or answered a frame of a writer before this one.
    pub replies_dropped: u64,
    /// The readers of now.
    pub readers: Vec<ReaderStats>,
}

/// Why a reader is no longer attached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DetachReason {
    /// It closed its line, or died.
    Gone,
    /// The writer is closing.
    Closing,
    /// Lossless, and it did not take a frame for so many milliseconds.
    TooSlow {
        /// The writer's limit.
        timeout_ms: u64,
    },
    /// It broke the protocol.
    Protocol(String),
    /// Memory for it could not be had.
    Memory(String),
}

impl DetachReason {
    /// Did something go wrong?
    pub fn is_error(&self) -> bool {
        !matches!(self, Self::Gone | Self::Closing)
    }
}

impl fmt::Display for DetachReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it went"),
            Self::Closing => f.write_str("the writer is closing"),
            Self::TooSlow { timeout_ms } => write!(
                f,
                "it asked for every frame, but took none for {timeout_ms} ms; raise the writer's lossless-timeout or use another policy"
            ),
            Self::Protocol(what) => write!(f, "it broke the protocol: {what}"),
            Self::Memory(what) => write!(f, "no memory for it: {what}"),
        }
    }
}
