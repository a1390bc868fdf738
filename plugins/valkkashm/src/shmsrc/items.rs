//! What the streaming thread does with each thing that comes out of the channel, in its order.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use frame_ring::{Attachment, Item, LostReason, StateKind, Woken};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::prelude::*;

use super::{
    gate::Passed,
    imp::{CAT, Stream, ValkkaShmSrc},
    wrap,
};
use crate::{
    errors,
    events::{self, StreamEvent},
    lock::lock,
    metas::{known::Known, layout},
    policy::OnWriterLost,
};

/// Between two messages about lost frames.
const LOST_INTERVAL: Duration = Duration::from_secs(1);

impl ValkkaShmSrc {
    /// The next buffer. What comes before it is passed on.
    pub(super) fn next_buffer(&self) -> Result<gst::Buffer, gst::FlowError> {
        let mut stream = lock(&self.stream);
        let stream = stream.as_mut().ok_or(gst::FlowError::Flushing)?;
        loop {
            if self.gate.pass().map_err(|_| gst::FlowError::Flushing)? == Passed::First {
                stream.played();
            }
            match stream.reader.next() {
                Ok(Some(item)) => {
                    if let Some(buffer) = self.take(stream, item)? {
                        return Ok(buffer);
                    }
                }
                Ok(None) => self.wait(stream)?,
                // Also when the writer refuses this reader, and says what to change: waiting would not change it.
                Err(error) => return Err(self.fail(errors::read(&error))),
            }
        }
    }

    fn wait(&self, stream: &mut Stream) -> Result<(), gst::FlowError> {
        self.prepare(stream);
        let timeout = stream.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match stream.reader.wait(timeout) {
            // Cancelled: the gate says what to do.
            Ok(Woken::Ready | Woken::Cancelled) => Ok(()),
            Ok(Woken::TimedOut) => Err(self.fail(errors::no_writer(&stream.address, stream.connect_timeout))),
            Err(error) => Err(self.fail(errors::descriptors(&error))),
        }
    }

    fn take(&self, stream: &mut Stream, item: Item) -> Result<Option<gst::Buffer>, gst::FlowError> {
        let Item::Frame(frame) = item else {
            self.hear(stream, item)?;
            return Ok(None);
        };
        self.count_lost(stream, frame.lost_before());
        self.flow(stream);
        // The base class pushes the segment with it, if there was none yet.
        stream.flowing = true;
        Ok(Some(self.wrap(stream, frame)))
    }

    /// Frames come again and again; all else is rare.
    #[cold]
    fn hear(&self, stream: &mut Stream, item: Item) -> Result<(), gst::FlowError> {
        match item {
            Item::Attached(attachment) => self.attached(stream, &attachment),
            Item::State { kind, bytes } => self.take_state(stream, kind, &bytes)?,
            Item::Event { kind, bytes } => match StreamEvent::decode(kind, &bytes) {
                Ok(event) => self.take_event(stream, event),
                Err(error) => gst::debug!(CAT, imp = self, "Event is ignored: {error}"),
            },
            Item::Eos => {
                gst::info!(CAT, imp = self, "The writer's stream has ended");
                stream.discont = true;
                if lock(&self.settings).forward_eos {
                    return Err(gst::FlowError::Eos);
                }
            }
            Item::Lost(reason) => self.writer_lost(stream, &reason)?,
            _ => {}
        }
        Ok(())
    }

    fn attached(&self, stream: &mut Stream, attachment: &Attachment) {
        gst::info!(CAT, imp = self, "Attached to process {} as reader {}", attachment.writer_pid, attachment.reader);
        stream.deadline = None;
        self.post(
            gst::Structure::builder("valkka-writer-connected")
                .field("reader", attachment.reader)
                .field("pid", attachment.writer_pid)
                .field("queue-size", attachment.queue_size)
                .field("max-held", attachment.max_held)
                .build(),
        );
    }

    fn writer_lost(&self, stream: &mut Stream, reason: &LostReason) -> Result<(), gst::FlowError> {
        gst::info!(CAT, imp = self, "The writer is lost: {reason}");
        stream.discont = true;
        stream.expect_writer();
        self.post(gst::Structure::builder("valkka-writer-lost").field("reason", reason.to_string()).build());
        if let LostReason::Detached(_) = reason {
            // The writer is there, but does not want this reader as it is.
            return Err(self.fail(errors::detached(reason)));
        }
        // By itself: in a match the lock would last through the arms, and whoever hears of the error may read properties.
        let choice = lock(&self.settings).on_writer_lost;
        match choice {
            OnWriterLost::Wait => Ok(()),
            OnWriterLost::Eos => Err(gst::FlowError::Eos),
            OnWriterLost::Error => Err(self.fail(errors::writer_lost(reason))),
        }
    }

    fn take_state(&self, stream: &mut Stream, kind: StateKind, bytes: &[u8]) -> Result<(), gst::FlowError> {
        match kind {
            StateKind::CAPS => return self.take_caps(stream, bytes),
            StateKind::TAGS => match events::decode_tags(bytes) {
                Ok(tags) if tags.n_tags() == 0 && !stream.tagged => {}
                Ok(tags) => {
                    stream.tagged = true;
                    self.push(stream, gst::event::Tag::new(tags));
                }
                Err(error) => gst::warning!(CAT, imp = self, "Tags are ignored: {error}"),
            },
            StateKind::LATENCY => match events::decode_latency(bytes) {
                Some(latency) => self.take_latency(latency),
                None => gst::warning!(CAT, imp = self, "Impossible latency is ignored"),
            },
            events::STICKY_EVENTS => match events::decode_sticky(bytes) {
                Ok(structures) => self.take_sticky(stream, structures),
                Err(error) => gst::warning!(CAT, imp = self, "Sticky events are ignored: {error}"),
            },
            other => gst::debug!(CAT, imp = self, "Unknown state {other:?} is ignored"),
        }
        Ok(())
    }

    fn take_caps(&self, stream: &mut Stream, bytes: &[u8]) -> Result<(), gst::FlowError> {
        let caps =
            events::parsable(bytes).and_then(|text| gst::Caps::from_str(text).ok()).filter(|caps| caps.is_fixed());
        let Some(caps) = caps else {
            return Err(self.fail(errors::bad_caps(bytes)));
        };
        gst::info!(CAT, imp = self, "Caps are {caps}");
        {
            let mut negotiation = lock(&self.negotiation);
            negotiation.video = layout::raw_video(&caps);
            negotiation.caps = Some(caps);
        }
        // What was checked was so against the caps before.
        (stream.blank, stream.metas) = (None, Known::default());
        // Pushes the caps and asks downstream whether it looks at video metas.
        if !self.obj().negotiate() {
            return Err(gst::FlowError::NotNegotiated);
        }
        if !stream.held.is_empty() {
            self.flow(stream);
        }
        Ok(())
    }

    fn take_latency(&self, latency: gst::ClockTime) {
        if std::mem::replace(&mut *lock(&self.latency), latency) != latency {
            gst::info!(CAT, imp = self, "The writer's latency is {latency}");
            // The bin asks everybody anew and distributes the result.
            let _ = self.obj().post_message(gst::message::Latency::builder().src(&*self.obj()).build());
        }
    }

    fn take_sticky(&self, stream: &mut Stream, structures: Vec<gst::Structure>) {
        for structure in &structures {
            if !stream.sticky.contains(structure) {
                self.push(stream, gst::event::CustomDownstreamSticky::new(structure.clone()));
            }
        }
        stream.sticky = structures;
    }

    fn take_event(&self, stream: &mut Stream, event: StreamEvent) {
        match event {
            StreamEvent::Gap { time: Some(time), duration } => {
                let start = self.origin(stream, time).running_time(time);
                stream.discont = true;
                self.push(stream, gst::event::Gap::builder(start).duration(duration.and_then(wrap::duration)).build());
            }
            // When nobody knows when, there is nothing to say.
            StreamEvent::Gap { time: None, .. } => {}
            StreamEvent::Custom { flavour, structure } => self.push(stream, flavour.event(structure)),
            StreamEvent::ForceKeyUnit { time, all_headers, count } => {
                let running = time.map(|time| self.origin(stream, time).running_time(time));
                self.push(
                    stream,
                    gst_video::DownstreamForceKeyUnitEvent::builder()
                        .timestamp(running)
                        .stream_time(running)
                        .running_time(running)
                        .all_headers(all_headers)
                        .count(count)
                        .build(),
                );
            }
        }
    }

    /// Pushes `event` now, or as soon as what has to come before it is there.
    fn push(&self, stream: &mut Stream, event: gst::Event) {
        if !stream.flowing && lock(&self.negotiation).caps.is_none() {
            stream.held.push(event);
            return;
        }
        stream.held.push(event);
        self.flow(stream);
    }

    /// Pushes what was held back. The base class sends the segment with the first buffer, which may be far away.
    fn flow(&self, stream: &mut Stream) {
        if !stream.held.is_empty() {
            self.push_held(stream);
        }
    }

    #[cold]
    fn push_held(&self, stream: &mut Stream) {
        let src = self.obj();
        if !stream.flowing {
            src.src_pad().push_event(gst::event::Segment::new(&src.segment()));
            stream.flowing = true;
        }
        for event in stream.held.drain(..) {
            gst::debug!(CAT, imp = self, "Pushing {event:?}");
            src.src_pad().push_event(event);
        }
    }

    fn count_lost(&self, stream: &mut Stream, lost: u64) {
        stream.lost = stream.lost.saturating_add(lost);
        if stream.lost > 0 {
            self.tell_lost(stream);
        }
    }

    #[cold]
    fn tell_lost(&self, stream: &mut Stream) {
        if stream.lost_told.is_none_or(|told| told.elapsed() >= LOST_INTERVAL) {
            stream.lost_told = Some(Instant::now());
            let lost = std::mem::take(&mut stream.lost);
            gst::debug!(CAT, imp = self, "{lost} frames are missing");
            self.post(gst::Structure::builder("valkka-frames-lost").field("lost", lost).build());
        }
    }

    fn post(&self, structure: gst::Structure) {
        // Fails only when the element has no bus: nobody is listening then.
        let _ = self.obj().post_message(gst::message::Element::builder(structure).src(&*self.obj()).build());
    }

    fn fail(&self, message: gst::ErrorMessage) -> gst::FlowError {
        self.post_error_message(message);
        gst::FlowError::Error
    }
}
