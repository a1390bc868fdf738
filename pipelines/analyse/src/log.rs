//! What a person may want to know, on standard error: state changes, and what went wrong.

use std::io::{self, Write};

/// Speaks for one channel.
pub struct Log {
    channel: String,
    /// The last warning. The same again is not said: a frame that cannot be used is followed by others like it.
    warned: Option<String>,
}

impl Log {
    /// Under that name.
    pub fn of(channel: &str) -> Self {
        Self { channel: channel.to_owned(), warned: None }
    }

    /// Something has changed, and it is well.
    pub fn say(&mut self, text: &str) {
        self.warned = None;
        line(&format!("{}: {text}", self.channel));
    }

    /// Something is not as it should be; the worker goes on.
    pub fn warn(&mut self, text: &str) {
        if self.warned.as_deref() != Some(text) {
            line(&format!("warning: {}: {text}", self.channel));
            self.warned = Some(text.to_owned());
        }
    }
}

/// Writes a line of the worker, at once: threads speak beside each other. A standard error that nobody reads is no
/// reason to stop.
pub fn line(text: &str) {
    let _ = io::stderr().write_all(format!("valkka-analyse: {text}\n").as_bytes());
}
