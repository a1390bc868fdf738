//! The `stats` properties: counters of frame-ring as GstStructures, named as GStreamer names things.
//!
//! `valkkashmsink`, structure `valkkashmsink-stats`:
//!
//! | field | type | meaning |
//! | --- | --- | --- |
//! | frames, zero-copy, copied | guint64 | published; of these without and with a copy |
//! | dropped | guint64 | not delivered: over all readers, and frames for which no slot was free |
//! | dropped-no-slot | guint64 | the latter alone |
//! | dropped-late | guint64 | dropped before that by the base class, because they came too late (`max-lateness`) |
//! | bytes | guint64 | payload published |
//! | generation, slots, slot-size | guint64, guint, guint64 | the channel's memory now |
//! | events-dropped, metas-dropped | guint64 | found no room on a reader's line, or beside a frame, or are of no kind that passes |
//! | replies-dropped | guint64 | a reader sent too many in a second, or answered a frame of another writer |
//! | readers | array of `valkkashm-reader` | id, pid, policy, queue-size, max-held, published, taken, waiting, dropped, dropped-slow, dropped-keyframe, dropped-held, dropped-line, held, copied-on-hold, latency-last, latency-max, paused |
//!
//! For every reader, always: published = taken + dropped + waiting.
//!
//! `valkkashmsrc`, structure `valkkashmsrc-stats`, all guint64:
//!
//! | field | meaning |
//! | --- | --- |
//! | frames, bytes | delivered |
//! | lost | frames missing between these |
//! | kept-back | taken, but not delivered: not decodable |
//! | copied-on-hold | copied because `max-held` frames were held |
//! | copied | copied because downstream does not understand their layout |
//! | torn | their checksum did not agree; they carry CORRUPTED |
//! | held | slots held when the last frame was taken |
//! | writers | writers so far |
//! | latency-last, latency-max | ns from publishing to taking |
//! | metas-dropped | could not be restored |

use frame_ring::{ReaderCounters, ReaderStats, WriterStats};
use gst::{glib, prelude::*};

/// Name of the property of both elements.
pub const PROPERTY: &str = "stats";

/// Name of the sink's structure.
pub const OF_SINK: &str = "valkkashmsink-stats";

/// Name of the source's structure.
pub const OF_SRC: &str = "valkkashmsrc-stats";

/// The property itself.
pub fn param_spec(blurb: &str) -> glib::ParamSpec {
    glib::ParamSpecBoxed::builder::<gst::Structure>(PROPERTY).nick("Statistics").blurb(blurb).read_only().build()
}

/// What the sink counts itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SinkCounters {
    /// Frames for which there was no slot.
    pub no_slot: u64,
    /// Frames that the base class dropped because they were late.
    pub late: u64,
    /// Metas of kinds that do not pass.
    pub unknown_metas: u64,
}

/// What the source counts itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct SrcCounters {
    /// Frames copied because downstream does not understand their layout.
    pub copied: u64,
    /// Metas that could not be restored.
    pub metas_dropped: u64,
}

/// Of the sink.
pub fn of_sink(ring: &WriterStats, own: SinkCounters) -> gst::Structure {
    let readers = ring.readers.iter().map(|reader| of_reader(reader).to_send_value());
    gst::Structure::builder(OF_SINK)
        .field("frames", ring.frames)
        .field("zero-copy", ring.zero_copy)
        .field("copied", ring.copied)
        .field("dropped", ring.dropped + own.no_slot)
        .field("dropped-no-slot", own.no_slot)
        .field("dropped-late", own.late)
        .field("bytes", ring.bytes)
        .field("generation", ring.generation)
        .field("slots", ring.slots)
        .field("slot-size", ring.slot_size)
        .field("events-dropped", ring.events_dropped)
        .field("metas-dropped", ring.metas_dropped + own.unknown_metas)
        .field("replies-dropped", ring.replies_dropped)
        .field("readers", gst::Array::from_values(readers))
        .build()
}

/// Of one of its readers.
pub fn of_reader(reader: &ReaderStats) -> gst::Structure {
    gst::Structure::builder("valkkashm-reader")
        .field("id", reader.id)
        .field("pid", reader.pid)
        .field("policy", reader.policy.to_string())
        .field("queue-size", reader.queue_size)
        .field("max-held", reader.max_held)
        .field("published", reader.published)
        .field("taken", reader.taken)
        .field("waiting", reader.waiting)
        .field("dropped", reader.dropped.total())
        .field("dropped-slow", reader.dropped.slow)
        .field("dropped-keyframe", reader.dropped.keyframe)
        .field("dropped-held", reader.dropped.held)
        .field("dropped-line", reader.dropped.line)
        .field("held", reader.held)
        .field("copied-on-hold", reader.copied_on_hold)
        .field("latency-last", reader.latency_last)
        .field("latency-max", reader.latency_max)
        .field("paused", reader.paused)
        .build()
}

/// Of the source.
pub fn of_src(ring: &ReaderCounters, own: SrcCounters) -> gst::Structure {
    gst::Structure::builder(OF_SRC)
        .field("frames", ring.frames)
        .field("bytes", ring.bytes)
        .field("lost", ring.lost)
        .field("kept-back", ring.kept_back)
        .field("copied-on-hold", ring.copied_on_hold)
        .field("held", ring.held)
        .field("torn", ring.torn)
        .field("writers", ring.writers)
        .field("latency-last", ring.latency_last)
        .field("latency-max", ring.latency_max)
        .field("copied", own.copied)
        .field("metas-dropped", own.metas_dropped)
        .build()
}
