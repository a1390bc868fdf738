//! What the stream says besides frames, told to the readers: that it begins anew, tags, events, gaps, its latency.

use std::mem;

use frame_ring::StateKind;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};

use super::imp::{CAT, Started, ValkkaShmSink};
use crate::{
    events::{self, Flavour, StreamEvent},
    lock::lock,
    metas::LastLayout,
    time::{self, KnownClock, Origin},
};

/// What the stream has said so far.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) caps: Option<gst::Caps>,
    /// Of raw video caps.
    pub(super) video: Option<gst_video::VideoInfo>,
    id: Option<String>,
    tags: Option<gst::TagList>,
    /// Custom events that are sticky, one of each name.
    sticky: Vec<gst::Structure>,
    /// The next frame does not follow the last one.
    pub(super) discont: bool,
    pub(super) eos: bool,
    /// Of a pipeline without a clock.
    pub(super) origin: Option<Origin>,
    pub(super) clock: KnownClock,
    pub(super) layout: LastLayout,
}

impl ValkkaShmSink {
    /// After an end of stream, what comes next is a new one for the readers, too.
    pub(super) fn begin_stream(&self, started: &Started, id: Option<&str>) {
        let (again, forget) = {
            let mut stream = lock(&self.stream);
            let again = mem::take(&mut stream.eos);
            stream.discont |= again;
            let other = id.is_some() && stream.id.as_deref() != id;
            if other {
                stream.id = id.map(str::to_string);
            }
            let had = other && (stream.tags.take().is_some() | !mem::take(&mut stream.sticky).is_empty());
            (again, had)
        };
        if again {
            started.writer.reset_eos();
        }
        if forget {
            // Tags and sticky events belong to the stream that has ended.
            started.writer.set_state(StateKind::TAGS, Vec::new());
            started.writer.set_state(events::STICKY_EVENTS, Vec::new());
        }
    }

    pub(super) fn add_tags(&self, started: &Started, tags: &gst::TagListRef) {
        let body = {
            let mut stream = lock(&self.stream);
            let all = match &stream.tags {
                Some(before) => before.merge(tags, gst::TagMergeMode::Replace),
                None => tags.to_owned(),
            };
            let body = events::encode_tags(&all);
            stream.tags = Some(all);
            body
        };
        started.writer.set_state(StateKind::TAGS, body);
    }

    pub(super) fn add_sticky(&self, started: &Started, structure: Option<&gst::StructureRef>) {
        let Some(structure) = structure else { return };
        let body = {
            let mut stream = lock(&self.stream);
            stream.sticky.retain(|other| other.name() != structure.name());
            stream.sticky.push(structure.to_owned());
            events::encode_sticky(&stream.sticky)
        };
        started.writer.set_state(events::STICKY_EVENTS, body);
    }

    /// The base class waits until the gap begins; then the readers learn of it.
    pub(super) fn pass_gap(
        &self,
        started: &Started,
        start: gst::ClockTime,
        duration: Option<gst::ClockTime>,
        event: gst::Event,
    ) -> bool {
        let running = time::running_time(&self.obj().segment(), start);
        let handled = self.parent_event(event);
        if handled {
            let time = running.map(|running| self.channel_time(running));
            let (kind, body) = StreamEvent::Gap { time, duration: duration.map(gst::ClockTime::nseconds) }.encode();
            started.writer.send_event(kind, &body);
        }
        handled
    }

    pub(super) fn pass_custom(&self, started: &Started, event: &gst::EventRef) {
        let (Some(flavour), Some(structure)) = (Flavour::of(event.type_()), event.structure()) else { return };
        let passed = match gst_video::DownstreamForceKeyUnitEvent::parse(event) {
            Ok(key_unit) if gst_video::ForceKeyUnitEvent::is(event) => StreamEvent::ForceKeyUnit {
                time: key_unit.running_time.map(|time| self.channel_time(time.nseconds() as i64)),
                all_headers: key_unit.all_headers,
                count: key_unit.count,
            },
            _ => StreamEvent::Custom { flavour, structure: structure.to_owned() },
        };
        let (kind, body) = passed.encode();
        started.writer.send_event(kind, &body);
    }

    /// Tells the readers how late frames are published, if that has changed.
    pub(super) fn update_latency(&self) {
        let Some(started) = self.started() else { return };
        let latency = self.publishing_latency();
        if lock(&self.latency).replace(latency) != Some(latency) {
            gst::info!(CAT, imp = self, "Frames are published up to {latency} after their time");
            started.writer.set_state(StateKind::LATENCY, events::encode_latency(latency));
        }
    }

    /// How long after its channel time a frame is published at the latest.
    fn publishing_latency(&self) -> gst::ClockTime {
        let sink = self.obj();
        if sink.is_sync() {
            // The base class holds each frame until this moment.
            let due = sink.latency().nseconds() as i64 - sink.render_delay().nseconds() as i64 + sink.ts_offset();
            return gst::ClockTime::from_nseconds(u64::try_from(due).unwrap_or(0));
        }
        let mut query = gst::query::Latency::new();
        if sink.sink_pad().peer_query(&mut query) {
            let (live, min, _) = query.result();
            if live {
                return min;
            }
        }
        gst::ClockTime::ZERO
    }
}
