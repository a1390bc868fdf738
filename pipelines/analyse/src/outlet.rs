//! Where messages go besides their frame's writer: events for a frontend, lines on standard output, or nowhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use serde_json::json;
use serde_json::value::RawValue;
use valkka_command::{EventError, Events};

use crate::camera::Message;
use crate::lines::{Lines, LinesError};
use crate::log;

/// Who else hears what is said.
pub enum Outlet {
    /// Nobody.
    Nobody,
    /// Whoever reads standard output: a line of JSON for each message.
    Lines(Lines<File>),
    /// The frontend that has started this process: events `detections`, `object` and `failed`.
    Events(Events),
}

impl Outlet {
    /// Standard output, as it is now.
    pub fn stdout() -> io::Result<Self> {
        // Not io::stdout(), which buffers.
        Ok(Self::Lines(Lines::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))))
    }

    /// Has a message told. Never waits.
    pub fn say(&mut self, message: &Message) -> Result<(), LinesError> {
        let (name, json) = match message {
            Message::Detections(json) => ("detections", json),
            Message::Object(json) => ("object", json),
        };
        match self {
            Self::Nobody => Ok(()),
            Self::Lines(lines) => lines.write(json),
            Self::Events(events) => {
                let value: &RawValue = serde_json::from_slice(json).expect("messages are JSON");
                match events.send(name, value) {
                    // A frontend that has gone is told by its descriptor.
                    Ok(()) | Err(EventError::Closed) => {}
                    Err(EventError::Dropped { dropped }) if !dropped.is_power_of_two() => {}
                    Err(error) => log::line(&format!("warning: {error}")),
                }
                Ok(())
            }
        }
    }

    /// A camera is not analysed any more, and nobody has asked for that. Events tell it; people read it in the log.
    pub fn failed(&mut self, camera: &str, reason: &str) {
        if let Self::Events(events) = self {
            // A frontend that does not keep up sees by `status` who is missing.
            let _ = events.send("failed", &json!({ "camera": camera, "reason": reason }));
        }
    }

    /// Goes on with what had no room.
    pub fn flush(&mut self) -> Result<(), LinesError> {
        match self {
            Self::Lines(lines) => lines.flush(),
            Self::Nobody | Self::Events(_) => Ok(()),
        }
    }

    /// Has everything been told? As long as it has not, nothing more is looked at.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Lines(lines) => lines.is_empty(),
            // They have a queue of their own.
            Self::Nobody | Self::Events(_) => true,
        }
    }

    /// What to watch: for room when something waits, for a hang-up always.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Lines(lines) => Some(lines.as_fd()),
            Self::Nobody | Self::Events(_) => None,
        }
    }
}
