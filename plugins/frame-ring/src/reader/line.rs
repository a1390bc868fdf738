//! What goes back to the writer: replies, requests for keyframes, pauses. From any thread, and over restarts of the writer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::frame::{MAX_REPLY, Reply};
use crate::line::{Line, Sent};
use crate::message::ReaderMessage;

/// A handle to the line of a [`Reader`](super::Reader). Clones share it.
#[derive(Debug, Clone, Default)]
pub struct LineHandle(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    line: Option<Arc<Line>>,
    paused: bool,
}

/// Why something did not go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no writer now.
    #[error("there is no writer now")]
    NotConnected,
    /// The writer does not read fast enough.
    #[error("the writer does not read what this reader says")]
    Full,
    /// More than 64 KiB.
    #[error("a reply of {0} bytes is more than the {MAX_REPLY} that are allowed")]
    TooLarge(usize),
}

impl LineHandle {
    /// Answers the writer. Never waits.
    pub fn reply(&self, reply: &Reply) -> Result<(), SendError> {
        if reply.payload.len() > MAX_REPLY {
            return Err(SendError::TooLarge(reply.payload.len()));
        }
        self.send(&ReaderMessage::Reply(reply.clone()))
    }

    /// Asks for a keyframe. Never waits.
    pub fn force_key_unit(&self) -> Result<(), SendError> {
        self.send(&ReaderMessage::ForceKeyUnit)
    }

    /// Wants no frames, or wants them again; holds for writers to come, too.
    pub fn set_paused(&self, paused: bool) {
        let mut inner = self.inner();
        inner.paused = paused;
        if let Some(line) = &inner.line {
            // Also where it has answered more than the writer has read: one that stays paused would get nothing for ever.
            line.send_last(&ReaderMessage::Pause(paused).encode());
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: &ReaderMessage) -> Result<(), SendError> {
        let line = self.inner().line.clone().ok_or(SendError::NotConnected)?;
        match line.send(&message.encode()) {
            Sent::Yes => Ok(()),
            Sent::Full => Err(SendError::Full),
            Sent::HungUp => Err(SendError::NotConnected),
        }
    }

    pub(super) fn connect(&self, line: Arc<Line>) {
        let mut inner = self.inner();
        if inner.paused {
            line.send(&ReaderMessage::Pause(true).encode());
        }
        inner.line = Some(line);
    }

    pub(super) fn disconnect(&self) {
        self.inner().line = None;
    }
}
