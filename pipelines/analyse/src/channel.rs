//! One channel under analysis: its reader, what its frames look like, and the memory of its motion detector.
//!
//! ```text
//!             Attached           CAPS                Frame
//!  (no writer) ─────► attached ─────► picture known ──────► Detections: reply to the writer, line on standard output
//!      ▲                                    │
//!      └───────────── Lost, Eos ◄───────────┘   the background stays: the next writer shows the same camera
//! ```

use std::os::fd::{AsFd, BorrowedFd};

use frame_ring::{
    Attachment, Frame, Integrity, Item, LineHandle, ReadError, Reader, Reply, ReplyFormat, SendError, StateKind,
};
use opencv::core::Size;

use crate::caps::Picture;
use crate::layout::Plane;
use crate::log::Log;
use crate::message::{Detections, MAX_OBJECTS, Object};
use crate::motion::Motion;
use crate::track::Tracker;
use crate::view::with_view;

/// A channel and everything that its frames need.
pub struct Channel {
    name: String,
    reader: Reader,
    /// Where replies go: to whoever writes the channel now.
    line: LineHandle,
    /// None until the writer has told usable caps.
    picture: Option<Picture>,
    motion: Motion,
    tracker: Tracker,
    log: Log,
}

/// What a look at the channel brought.
pub enum Step {
    /// Nothing now: wait for the channel's descriptor.
    Idle,
    /// Something, and there may be more.
    Busy,
    /// A frame was analysed; this is the message about it.
    Answer(Vec<u8>),
    /// The writer has said that the stream is over. Another writer may come.
    Ended,
}

impl Channel {
    pub fn new(name: String, reader: Reader, motion: Motion) -> Self {
        let log = Log::of(&name);
        Self { line: reader.line(), name, reader, picture: None, motion, tracker: Tracker::default(), log }
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
            Item::Frame(frame) => return Ok(self.analyse(frame).map_or(Step::Busy, Step::Answer)),
            Item::Eos => {
                self.log.say("its stream has ended");
                return Ok(Step::Ended);
            }
            Item::Lost(reason) => {
                self.picture = None;
                self.log.say(&format!("has no writer any more ({reason}); waits for the next"));
            }
            // Other states and events do not matter for what is in a picture.
            _ => {}
        }
        Ok(Step::Busy)
    }

    pub fn name(&self) -> &str {
        &self.name
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

    /// Looks for motion in the frame and answers its writer. None if the frame cannot be analysed.
    fn analyse(&mut self, frame: Frame) -> Option<Vec<u8>> {
        let picture = self.picture?;
        if frame.integrity() == Integrity::Torn {
            self.log.warn("a frame is left out: its checksum is wrong");
            return None;
        }
        let objects = match self.find(&frame, &picture) {
            Ok(objects) => objects,
            Err(error) => {
                self.log.warn(&format!("a frame is left out: {error}"));
                return None;
            }
        };
        let size = picture_size(&picture);
        let message = Detections::new(&self.name, &frame, size, objects).to_json();
        let reply = Reply { frame: Some(frame.id()), format: ReplyFormat::Json, payload: message };
        // The slot is of no more use here; sending may take a moment.
        drop(frame);
        match self.line.reply(&reply) {
            // A writer that has gone needs no answer; the channel will say that it has.
            Ok(()) | Err(SendError::NotConnected) => {}
            Err(error) => self.log.warn(&format!("a reply is lost: {error}")),
        }
        Some(reply.payload)
    }

    fn find(&mut self, frame: &Frame, picture: &Picture) -> anyhow::Result<Vec<Object>> {
        let plane = Plane::of_frame(picture, frame.metas())?;
        let mut blobs = with_view(frame.as_ref(), picture, plane, |view| self.motion.find(view))?;
        blobs.truncate(MAX_OBJECTS);
        let size = picture_size(picture);
        let objects = self.tracker.identify(size, blobs);
        Ok(objects.iter().map(|(id, blob)| Object::motion(*id, blob, size)).collect())
    }
}

/// Readable when [`Channel::step`] may bring something again after it was idle.
impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn picture_size(picture: &Picture) -> Size {
    let side = |side: u32| i32::try_from(side).expect("caps with larger sides are refused");
    Size::new(side(picture.width), side(picture.height))
}
