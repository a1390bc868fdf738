//! The log: lines on standard error, without credentials whoever wrote them.

use std::io::{self, IsTerminal, Write};

use tracing::Level;
use tracing_subscriber::fmt::{MakeWriter, format::Writer, time::FormatTime};

use crate::mask::mask;

/// From here on everything that is logged is shown. `verbose` counts the -v.
pub fn init(verbose: u8) {
    let level = [Level::INFO, Level::DEBUG, Level::TRACE][usize::from(verbose.min(2))];
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_timer(LocalTime)
        .with_writer(Masked)
        .init();
}

/// Time of day as the user's clock shows it.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let now = gst::glib::DateTime::now_local().and_then(|now| now.format("%H:%M:%S.%f"));
        // Six digits of a second are three too many.
        now.map_or(Ok(()), |now| w.write_str(now.get(..12).unwrap_or(&now)))
    }
}

/// Standard error behind [`mask`].
struct Masked;

impl<'a> MakeWriter<'a> for Masked {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        Self
    }
}

impl Write for Masked {
    /// Gets whole lines: the formatter collects one before it writes.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(mask(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
