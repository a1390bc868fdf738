//! One channel under analysis: its reader, and what its frames look like.
//!
//! ```text
//!             Attached           CAPS                Frame
//!  (no writer) ─────► attached ─────► picture known ──────► a shot for the camera
//!      ▲                                    │
//!      └───────────── Lost, Eos ◄───────────┘   the camera stays: the next writer shows the same place
//! ```

use std::os::fd::{AsFd, BorrowedFd};

use frame_ring::{Attachment, Item, LineHandle, ReadError, Reader, StateKind};

use crate::camera::Shot;
use crate::caps::Picture;
use crate::log::Log;

/// A channel and what is known of its frames.
pub struct Channel {
    name: String,
    reader: Reader,
    /// Where replies go: to whoever writes the channel now.
    line: LineHandle,
    /// None until the writer has told usable caps.
    picture: Option<Picture>,
    log: Log,
}

/// What a look at the channel brought.
pub enum Step {
    /// Nothing now: wait for the channel's descriptor.
    Idle,
    /// Something, and there may be more.
    Busy,
    /// A frame.
    Shot(Box<Shot>),
    /// The writer has gone. Another one may come.
    Lost,
    /// The writer has said that the stream is over. Another one may come.
    Ended,
}

impl Channel {
    /// Of that name in messages to people.
    pub fn new(name: &str, reader: Reader) -> Self {
        Self { line: reader.line(), name: name.to_owned(), reader, picture: None, log: Log::of(name) }
    }

    /// Takes the next thing from the channel. An error means that the channel is of no use any more.
    pub fn step(&mut self) -> Result<Step, ReadError> {
        let item = match self.reader.next() {
            Ok(Some(item)) => item,
            Ok(None) => return Ok(Step::Idle),
            Err(error) if error.should_retry() => {
                // It asks again by itself.
                self.log.warn(&error.to_string());
                return Ok(Step::Busy);
            }
            Err(error) => return Err(error),
        };
        match item {
            Item::Attached(Attachment { writer_pid, .. }) => self.log.say(&format!("reads from process {writer_pid}")),
            Item::State { kind: StateKind::CAPS, bytes } => self.set_caps(&bytes),
            Item::Frame(frame) => {
                let shot = self.picture.map(|picture| Box::new(Shot { frame, picture, line: self.line.clone() }));
                return Ok(shot.map_or(Step::Busy, Step::Shot));
            }
            Item::Eos => {
                self.log.say("its stream has ended");
                return Ok(Step::Ended);
            }
            Item::Lost(reason) => {
                self.picture = None;
                self.log.say(&format!("has no writer any more ({reason}); waits for the next"));
                return Ok(Step::Lost);
            }
            // Other states and events do not matter for what is in a picture.
            _ => {}
        }
        Ok(Step::Busy)
    }

    /// As people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The way to whoever writes it now.
    pub fn line(&self) -> &LineHandle {
        &self.line
    }

    /// Frames that were not taken because newer ones came.
    pub fn skipped(&self) -> u64 {
        self.reader.stats().lost
    }

    fn set_caps(&mut self, caps: &[u8]) {
        let picture = std::str::from_utf8(caps).map_err(|error| error.to_string());
        match picture.and_then(|caps| Picture::from_caps(caps).map_err(|error| error.to_string())) {
            Ok(picture) => {
                if self.picture != Some(picture) {
                    self.log.say(&format!("pictures of {picture}"));
                }
                self.picture = Some(picture);
            }
            Err(error) => {
                self.picture = None;
                self.log.warn(&format!("is not analysed: {error}"));
            }
        }
    }
}

/// Readable when [`Channel::step`] may bring something again after it was idle.
impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
