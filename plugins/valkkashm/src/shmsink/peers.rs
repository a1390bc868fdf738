//! What readers do, told to the application and to upstream.
//!
//! Called by frame-ring's service thread or by the streaming thread, never under a lock. Nothing here may wait for the
//! sink: closing the channel waits for the service thread.

use frame_ring::{DetachReason, FrameId, ReaderStats, Reply, WriterEvents};
use gst::subclass::prelude::*;
use gst::{glib, prelude::*};
use gst_base::prelude::*;

use super::{ValkkaShmSink, imp::CAT, origins::Origins};
use crate::{lock::lock, replies};

/// Does not keep the sink alive.
pub struct Peers(glib::WeakRef<ValkkaShmSink>);

impl Peers {
    pub fn of(sink: &ValkkaShmSink) -> Self {
        Self(sink.downgrade())
    }
}

impl WriterEvents for Peers {
    fn reader_added(&self, reader: &ReaderStats) {
        let Some(sink) = self.0.upgrade() else { return };
        gst::info!(CAT, obj = sink, "Reader {} (process {}, {}) has come", reader.id, reader.pid, reader.policy);
        post(
            &sink,
            gst::Structure::builder("valkka-reader-added")
                .field("reader", reader.id)
                .field("pid", reader.pid)
                .field("policy", reader.policy.to_string())
                .field("queue-size", reader.queue_size)
                .field("max-held", reader.max_held)
                .build(),
        );
        sink.notify_readers();
    }

    fn reader_removed(&self, reader: u32, reason: &DetachReason) {
        let Some(sink) = self.0.upgrade() else { return };
        if reason.is_error() {
            gst::warning!(CAT, obj = sink, "Reader {reader} was detached: {reason}");
        } else {
            gst::info!(CAT, obj = sink, "Reader {reader} has gone: {reason}");
        }
        post(
            &sink,
            gst::Structure::builder("valkka-reader-removed")
                .field("reader", reader)
                .field("reason", reason.to_string())
                .field("error", reason.is_error())
                .build(),
        );
        sink.notify_readers();
    }

    fn reader_slow(&self, reader: u32, dropped: u64) {
        let Some(sink) = self.0.upgrade() else { return };
        gst::debug!(CAT, obj = sink, "Reader {reader} is slow: {dropped} frames dropped so far");
        let structure = gst::Structure::builder("valkka-reader-slow").field("reader", reader).field("dropped", dropped);
        post(&sink, structure.build());
    }

    fn reply(&self, reader: u32, reply: Reply) {
        let Some(sink) = self.0.upgrade() else { return };
        match replies::decode(reader, reply) {
            Ok(message) => {
                let (message, event) = with_origin(&lock(&sink.imp().origins), message);
                gst::log!(CAT, obj = sink, "{message}");
                post(&sink, message);
                sink.sink_pad().push_event(gst::event::CustomUpstream::new(event));
            }
            Err(error) => gst::warning!(CAT, obj = sink, "From reader {reader}: {error}"),
        }
    }

    fn force_key_unit(&self, reader: u32) {
        let Some(sink) = self.0.upgrade() else { return };
        gst::debug!(CAT, obj = sink, "Reader {reader} needs a keyframe");
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        sink.sink_pad().push_event(event);
    }
}

/// The message with the frame's origin beside the frame; the event with the origin in its place.
fn with_origin(origins: &Origins, mut message: gst::Structure) -> (gst::Structure, gst::Structure) {
    let mut event = message.clone();
    match message.get("seq").ok().map(|seq| origins.of(seq)) {
        Some(Some(FrameId { generation, seq })) => {
            message.set("origin-generation", generation);
            message.set("origin-seq", seq);
            event.set("generation", generation);
            event.set("seq", seq);
        }
        // Too old. Upstream of a relay its number is another frame's.
        Some(None) if origins.is_relay() => event.remove_fields(["generation", "seq"]),
        _ => {}
    }
    (message, event)
}

fn post(sink: &ValkkaShmSink, structure: gst::Structure) {
    // Fails only when the element has no bus: nobody is listening then.
    let _ = sink.post_message(gst::message::Element::builder(structure).src(sink).build());
}
