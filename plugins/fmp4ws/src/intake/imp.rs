use crate::clock::{MediaClock, channel_now_ns};
use crate::fmp4wssink::CAT;
use crate::mp4::{Fragment, Init, Output, Parser};
use crate::stream::{Stream, lock};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// What comes in at the pad and how far it was understood.
#[derive(Default)]
struct State {
    parser: Parser,
    outputs: Vec<Output>,
    init: Option<Arc<Init>>,
    /// Running time of the first sample of the fragment that is coming in.
    first_sample: Option<gst::ClockTime>,
    /// From arrival, for streams whose buffers have no time stamps.
    arrival: Option<MediaClock>,
}

#[derive(Default)]
pub struct Intake {
    state: Mutex<State>,
    stream: Mutex<Option<Arc<Stream>>>,
}

#[glib::object_subclass]
impl ObjectSubclass for Intake {
    const NAME: &'static str = "GstFmp4WsIntake";
    type Type = super::Intake;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for Intake {
    fn constructed(&self) {
        self.parent_constructed();
        let sink = self.obj();
        sink.set_sync(false);
        // A stream may begin late or be sparse; nothing is gained by holding the pipeline's state until it does.
        sink.set_async(false);
        sink.set_property("enable-last-sample", false);
    }
}

impl GstObjectImpl for Intake {}

impl ElementImpl for Intake {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Fragmented MP4 intake",
                "Sink/Network",
                "Internal to fmp4wssink: cuts a stream into fragments and publishes them",
                "Valkka contributors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<[gst::PadTemplate; 1]> = LazyLock::new(|| {
            let caps = crate::fmp4wssink::mp4_caps();
            let template = gst::PadTemplate::new("sink", gst::PadDirection::Sink, gst::PadPresence::Always, &caps);
            [template.expect("the template is valid")]
        });
        TEMPLATES.as_ref()
    }
}

impl BaseSinkImpl for Intake {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *self.state() = State::default();
        Ok(())
    }

    fn event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStop(_) => *self.state() = State::default(),
            gst::EventView::Eos(_) => {
                if let Some(stream) = self.stream() {
                    stream.publish_eos();
                }
            }
            _ => {}
        }
        self.parent_event(event)
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.take(buffer)?;
        Ok(gst::FlowSuccess::Ok)
    }

    fn render_list(&self, list: &gst::BufferList) -> Result<gst::FlowSuccess, gst::FlowError> {
        list.iter().try_for_each(|buffer| self.take(buffer))?;
        Ok(gst::FlowSuccess::Ok)
    }
}

impl Intake {
    pub fn set_stream(&self, stream: Option<Arc<Stream>>) {
        *lock(&self.stream) = stream;
    }

    fn stream(&self) -> Option<Arc<Stream>> {
        lock(&self.stream).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn take(&self, buffer: &gst::BufferRef) -> Result<(), gst::FlowError> {
        let Some(stream) = self.stream() else { return Err(gst::FlowError::Flushing) };
        let map = buffer.map_readable().map_err(|_| {
            gst::element_imp_error!(self, gst::ResourceError::Read, ("a buffer cannot be read"));
            gst::FlowError::Error
        })?;
        let mut state = self.state();
        if state.parser.at_first_sample() {
            state.first_sample = buffer.pts().and_then(|pts| self.running_time(pts));
        }
        let State { parser, outputs, .. } = &mut *state;
        let result = parser.push(&map, outputs);
        let outputs = std::mem::take(&mut state.outputs);
        for output in outputs {
            match output {
                Output::Init(init) => {
                    gst::info!(CAT, imp = self, "stream {} begins as {}", stream.name(), init.mime());
                    stream.publish_init(&init);
                    state.init = Some(init);
                    state.arrival = None;
                }
                Output::Fragment(fragment) => {
                    gst::log!(CAT, imp = self, "keyframe {} {:?}", fragment.keyframe, fragment.runs);
                    let clock = self.clock_of(&mut state, &fragment);
                    stream.publish(&fragment, clock);
                }
            }
        }
        drop(state);
        result.map_err(|error| {
            gst::element_imp_error!(self, gst::StreamError::Demux, ("{error}"));
            gst::FlowError::Error
        })
    }

    /// mp4mux sends a segment in bytes and stamps samples with running time; other muxers send a segment in time.
    fn running_time(&self, pts: gst::ClockTime) -> Option<gst::ClockTime> {
        match self.obj().segment().downcast::<gst::ClockTime>() {
            Ok(segment) => segment.to_running_time(pts),
            Err(_) => Some(pts),
        }
    }

    /// What the fragment's media time means, by the time stamp of its first sample.
    fn clock_of(&self, state: &mut State, fragment: &Fragment) -> Option<MediaClock> {
        let first_sample = state.first_sample.take();
        let main = state.init.as_ref()?.main();
        let run = fragment.runs.first().filter(|run| run.track == main.id && run.samples > 0)?;
        let media_time = i128::from(run.shown) * 1_000_000_000 / i128::from(main.timescale);
        let media_time = i64::try_from(media_time).ok()?;
        if let Some(running_time) = first_sample {
            state.arrival = None;
            return Some(MediaClock::new(self.channel_time(running_time)?, media_time, true));
        }
        Some(*state.arrival.get_or_insert_with(|| MediaClock::new(channel_now_ns(), media_time, false)))
    }

    /// Base time + running time, on CLOCK_MONOTONIC also when the pipeline has another clock.
    fn channel_time(&self, running_time: gst::ClockTime) -> Option<i64> {
        let element = self.obj();
        let time = i64::try_from((element.base_time()? + running_time).nseconds()).ok()?;
        let clock = element.clock()?;
        let monotonic = clock.type_() == gst::SystemClock::static_type()
            && clock.property::<gst::ClockType>("clock-type") == gst::ClockType::Monotonic;
        if monotonic {
            return Some(time);
        }
        let clock_now = i64::try_from(clock.time().nseconds()).ok()?;
        Some(time.saturating_add(channel_now_ns().saturating_sub(clock_now)))
    }
}
