//! What a reader is asked with, and what comes of it.

use std::io;

use super::port::Frame;
use crate::address::{AddressError, ChannelAddress};
use crate::frame::{InitialFrame, Policy, StateKind};
use crate::mapping::MemoryError;

/// How a channel is read.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Where the writer is found, now or later.
    pub address: ChannelAddress,
    /// What happens when this reader is slow.
    pub policy: Policy,
    /// Depth of the queue in frames; `latest` has 1.
    pub queue_size: u32,
    /// Frames that may be held without a copy; one that is taken above that is copied, and its slot given back.
    pub max_held: u32,
    /// What comes first.
    pub initial: InitialFrame,
}

/// What a reader gets, in the writer's order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Item {
    /// A writer has attached it.
    Attached(Attachment),
    /// A sticky state of the stream has changed.
    State {
        /// Which.
        kind: StateKind,
        /// What it is now.
        bytes: Vec<u8>,
    },
    /// Something that the writer sent once.
    Event {
        /// Which.
        kind: u16,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// A frame.
    Frame(Frame),
    /// The stream has ended. The writer may begin another.
    Eos,
    /// The writer is gone, and everything that it left has been taken. The reader waits for the next one.
    Lost(LostReason),
}

/// What the writer granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// This reader's number at the writer.
    pub reader: u32,
    /// The writer's process.
    pub writer_pid: i32,
    /// Depth of the queue.
    pub queue_size: u32,
    /// Frames that may be held without a copy.
    pub max_held: u32,
}

/// Why a writer is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LostReason {
    /// It stopped, perhaps to start again.
    #[error("the writer stopped")]
    Restart,
    /// It could not go on.
    #[error("the writer failed: {0}")]
    Error(String),
    /// It detached this reader.
    #[error("the writer detached this reader: {0}")]
    Detached(String),
    /// Its line hung up without a word.
    #[error("the writer died")]
    Died,
    /// It said or wrote what cannot be.
    #[error("the writer broke the protocol: {0}")]
    Protocol(String),
}

/// What keeps a reader from reading.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The writer says no, and why.
    #[error("the writer refused this reader: {0}")]
    Refused(String),
    /// The channel cannot be addressed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The socket is another user's.
    #[error("no right to read {address} ({source}): it belongs to another user; run as the same user as the writer")]
    NotAllowed {
        /// The channel.
        address: ChannelAddress,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is something at that place that is no channel.
    #[error("{0} is not a channel of Valkka; choose another channel or socket-path")]
    NotAChannel(ChannelAddress),
    /// Memory that cannot be mapped.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Anything else.
    #[error("cannot read {address}: {doing}: {source}")]
    System {
        /// The channel.
        address: ChannelAddress,
        /// Which step failed.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl ReadError {
    /// May it go away by itself? The reader tries again, if it is asked for the next item again.
    pub fn should_retry(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// Why [`Reader::wait`](super::Reader::wait) returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// There may be something now.
    Ready,
    /// The canceller was used.
    Cancelled,
    /// The time is over.
    TimedOut,
}
