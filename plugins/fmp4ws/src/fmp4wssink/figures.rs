//! The figures of [`crate::stream`] as structures, for the property `stats` and the signals.

use crate::stream::{Report, Way};
use crate::viewer::ViewerReport;

/// For the property `stats`.
pub fn stats(report: Option<Report>) -> gst::Structure {
    let stats = gst::Structure::builder("fmp4wssink-stats");
    let Some(report) = report else { return stats.build() };
    stats
        .field_if_some("mime", report.mime)
        .field_if_some("codecs", report.codecs)
        .field("width", u32::from(report.width))
        .field("height", u32::from(report.height))
        .field("timescale", report.timescale)
        .field("frames-per-second", report.rate.frames_per_second)
        .field("bits-per-second", report.rate.bits_per_second)
        .field("fragments", report.counters.fragments)
        .field("keyframes", report.counters.keyframes)
        .field("frames", report.counters.frames)
        .field("bytes", report.counters.bytes)
        .field("inits", report.counters.inits)
        .field("broken-frames", report.counters.broken_frames)
        .field("unbounded-reorder", report.counters.unbounded_reorder)
        .field("eos", report.eos)
        .field("joined", report.totals.joined)
        .field("refused", report.totals.refused)
        .field("sent-fragments", report.totals.sent_fragments)
        .field("sent-bytes", report.totals.sent_bytes)
        .field("dropped-frames", report.totals.dropped_frames)
        .field("dropped-bytes", report.totals.dropped_bytes)
        .field("keyframe-requests", report.totals.keyframe_requests)
        .field("viewers", gst::Array::new(report.viewers.iter().map(viewer)))
        .build()
}

/// One viewer.
pub fn viewer(report: &ViewerReport) -> gst::Structure {
    let kind = match report.way {
        Way::Mse => "mse",
        Way::Mp4 => "mp4",
    };
    let reported = report.reported;
    gst::Structure::builder("viewer")
        .field("id", report.id)
        .field("kind", kind)
        .field("ext", report.ext)
        .field("peer", &report.peer)
        .field("seconds", report.seconds)
        .field("paused", report.paused)
        .field("sent-fragments", report.sent_fragments)
        .field("sent-bytes", report.sent_bytes)
        .field("queue-bytes", report.queue_bytes)
        .field("queue-seconds", report.queue_seconds)
        .field("dropped-frames", report.dropped_frames)
        .field("dropped-bytes", report.dropped_bytes)
        .field_if_some("reported-latency", reported.and_then(|reported| reported.latency))
        .field_if_some("reported-buffered", reported.and_then(|reported| reported.buffered))
        .field_if_some("reported-dropped", reported.and_then(|reported| reported.dropped))
        .build()
}
