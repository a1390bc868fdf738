//! Where messages go besides their frame's writer: lines on standard output, or nowhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::camera::Message;
use crate::lines::{Lines, LinesError};

/// Who else hears what is said.
pub enum Outlet {
    /// Nobody.
    Nobody,
    /// Whoever reads standard output: a line of JSON for each message.
    Lines(Lines<File>),
}

impl Outlet {
    /// Standard output, as it is now.
    pub fn stdout() -> io::Result<Self> {
        // Not io::stdout(), which buffers.
        Ok(Self::Lines(Lines::new(File::from(io::stdout().as_fd().try_clone_to_owned()?))))
    }

    /// Has a message told. Never waits.
    pub fn say(&mut self, message: &Message) -> Result<(), LinesError> {
        match (self, message) {
            (Self::Nobody, _) => Ok(()),
            (Self::Lines(lines), Message::Detections(json) | Message::Object(json)) => lines.write(json),
        }
    }

    /// Goes on with what had no room.
    pub fn flush(&mut self) -> Result<(), LinesError> {
        match self {
            Self::Nobody => Ok(()),
            Self::Lines(lines) => lines.flush(),
        }
    }

    /// Has everything been told? As long as it has not, nothing more is looked at.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Lines(lines) => lines.is_empty(),
        }
    }

    /// What to watch: for room when something waits, for a hang-up always.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Nobody => None,
            Self::Lines(lines) => Some(lines.as_fd()),
        }
    }
}
