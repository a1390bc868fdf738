//! The log: lines on standard error, without credentials whoever wrote them.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer, time::FormatTime},
    registry::LookupSpan,
};

use crate::{config::LogFormat, mask::mask};

/// From here on everything that is logged is shown. `verbose` counts the -v.
pub fn init(verbose: u8, format: LogFormat) {
    let level = [Level::INFO, Level::DEBUG, Level::TRACE][usize::from(verbose.min(2))];
    let log = tracing_subscriber::fmt().with_max_level(level);
    match format {
        LogFormat::Json => log.with_writer(io::stderr).event_format(Json).init(),
        LogFormat::Text => {
            let log = log.with_writer(Masked).with_ansi(io::stderr().is_terminal());
            log.with_target(false).with_timer(LocalTime).init();
        }
    }
}

/// A line `{"time":SECONDS,"level":"warn","message":"..."}`, time in seconds of Unix time, and whatever else an event
/// has, for programs.
struct Json;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for Json {
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let mut fields = Fields(serde_json::Map::new());
        fields.0.insert("time".to_owned(), now.into());
        fields.0.insert("level".to_owned(), event.metadata().level().as_str().to_ascii_lowercase().into());
        event.record(&mut fields);
        writeln!(writer, "{}", serde_json::Value::Object(fields.0))
    }
}

struct Fields(serde_json::Map<String, serde_json::Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Here rather than in the whole line, where what is hidden could reach over JSON's own signs.
        self.0.insert(field.name().to_owned(), mask(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.0.insert(field.name().to_owned(), mask(&text).into());
    }
}

/// Time of day as the user's clock shows it.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
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
