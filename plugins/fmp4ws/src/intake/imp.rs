use super::Role;
use super::caps::{self, Input};
use super::muxed::{Found, Muxed};
use crate::clock::{MediaClock, channel_now_ns};
use crate::fmp4wssink::CAT;
use crate::mp4::{Frame, Muxer, Output};
use crate::stream::{Stream, lock};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock};

/// What comes in at the pad.
#[derive(Default)]
enum State {
    #[default]
    Unknown,
    Muxed(Box<Muxed>),
    Frames,
}

#[derive(Default)]
pub struct Intake {
    place: OnceLock<(Role, Arc<Mutex<Muxer>>)>,
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
                "Internal to fmp4wssink: makes fragments of a stream and publishes them",
                "Valkka contributors",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<[gst::PadTemplate; 1]> = LazyLock::new(|| {
            let mut caps = caps::accepted(Role::Main);
            caps.merge(caps::accepted(Role::Sound));
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

    fn caps(&self, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
        let caps = caps::accepted(self.role());
        Some(
            filter.map_or_else(
                || caps.clone(),
                |filter| filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
            ),
        )
    }

    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let input = caps::input(caps).map_err(|refused| {
            gst::element_imp_error!(self, gst::StreamError::Format, ("{refused}"));
            gst::loggable_error!(CAT, "{refused}")
        })?;
        let mut state = self.state();
        match (input, &*state) {
            (Input::Muxed, State::Muxed(_)) => {}
            (Input::Muxed, _) => *state = self.muxed(),
            (Input::Video(stream, pixel), _) => {
                *state = State::Frames;
                self.muxer().set_video(stream, pixel);
            }
            (Input::Audio(stream), _) => {
                *state = State::Frames;
                self.muxer().set_sound(stream);
            }
        }
        Ok(())
    }

    fn event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStop(_) => self.flush(),
            gst::EventView::Eos(_) => self.finish(),
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
    pub fn assign(&self, role: Role, muxer: Arc<Mutex<Muxer>>) {
        self.place.get_or_init(|| (role, muxer));
    }

    pub fn set_stream(&self, stream: Option<Arc<Stream>>) {
        *lock(&self.stream) = stream;
    }

    fn place(&self) -> &(Role, Arc<Mutex<Muxer>>) {
        self.place.get_or_init(Default::default)
    }

    fn role(&self) -> Role {
        self.place().0
    }

    fn muxer(&self) -> MutexGuard<'_, Muxer> {
        lock(&self.place().1)
    }

    fn stream(&self) -> Option<Arc<Stream>> {
        lock(&self.stream).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Fragmented MP4 begins.
    fn muxed(&self) -> State {
        if self.muxer().expects_sound() {
            let words = "the pad audio belongs to encoded pictures, and what comes is fragmented MP4: give the sound to its muxer";
            // Later: locks are held here.
            self.obj().call_async(move |sink| gst::element_warning!(sink, gst::StreamError::Mux, ("{words}")));
        }
        State::Muxed(Box::default())
    }

    fn flush(&self) {
        match &mut *self.state() {
            State::Muxed(muxed) => muxed.flush(),
            State::Frames => self.muxer().flush(self.role() == Role::Main),
            State::Unknown => {}
        }
    }

    fn finish(&self) {
        let Some(stream) = self.stream() else { return };
        let frames = matches!(&*self.state(), State::Frames);
        let mut muxer = self.muxer();
        let mut outputs = Vec::new();
        match self.role() {
            Role::Main => muxer.finish_video(&mut outputs),
            Role::Sound => muxer.finish_sound(),
        }
        self.publish(&stream, &muxer, outputs);
        if muxer.has_ended() || !frames && self.role() == Role::Main {
            stream.publish_eos();
        }
    }

    fn take(&self, buffer: &gst::BufferRef) -> Result<(), gst::FlowError> {
        let Some(stream) = self.stream() else { return Err(gst::FlowError::Flushing) };
        let map = buffer.map_readable().map_err(|_| {
            gst::element_imp_error!(self, gst::ResourceError::Read, ("a buffer cannot be read"));
            gst::FlowError::Error
        })?;
        let mut state = self.state();
        if matches!(&*state, State::Unknown) && self.role() == Role::Main {
            // Files and pipes have no caps.
            *state = self.muxed();
        }
        match &mut *state {
            State::Unknown => Err(gst::FlowError::NotNegotiated),
            State::Frames => {
                self.take_frame(&stream, buffer, &map);
                Ok(())
            }
            State::Muxed(muxed) => {
                let channel_time = || self.channel_time(self.running_time(buffer.pts()?)?);
                let (found, result) = muxed.take(&map, channel_time);
                drop(state);
                for found in found {
                    match found {
                        Found::Init(init) => self.begin(&stream, &init),
                        Found::Fragment(fragment, clock) => stream.publish(&fragment, clock),
                    }
                }
                result.map_err(|error| {
                    gst::element_imp_error!(self, gst::StreamError::Demux, ("{error}"));
                    gst::FlowError::Error
                })
            }
        }
    }

    fn take_frame(&self, stream: &Stream, buffer: &gst::BufferRef, data: &[u8]) {
        let running = |time: Option<gst::ClockTime>| self.running_time(time?);
        let decode = running(buffer.dts());
        // Without any stamp, it is shown when it comes.
        let shown = running(buffer.pts()).or(decode).or_else(|| running_now(&self.obj())).unwrap_or(0);
        let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let length = buffer.duration().and_then(|length| i64::try_from(length.nseconds()).ok());
        let frame = Frame { data, shown, decode, length, keyframe, arrived: channel_now_ns() };
        let mut outputs = Vec::new();
        let mut muxer = self.muxer();
        let result = match self.role() {
            Role::Main => muxer.video(frame, &mut outputs),
            Role::Sound => muxer.sound(frame, &mut outputs),
        };
        let keyframe_wanted = muxer.take_keyframe_wanted();
        self.publish(stream, &muxer, outputs);
        drop(muxer);
        if let Err(error) = result {
            gst::warning!(CAT, imp = self, "a frame is left out: {error}");
            stream.count_broken();
        }
        if keyframe_wanted {
            stream.want_keyframe();
        }
    }

    /// Under the muxer's lock: both pads publish in the order in which the muxer numbered.
    fn publish(&self, stream: &Stream, muxer: &Muxer, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Init(init) => self.begin(stream, &init),
                Output::Fragment(fragment) => {
                    let origin = muxer.origin().filter(|_| fragment.frames > 0);
                    let clock = origin.and_then(|origin| self.channel_time(origin));
                    stream.publish(&fragment, clock.map(|pts0| MediaClock::new(pts0, 0, true)));
                }
            }
        }
    }

    fn begin(&self, stream: &Stream, init: &Arc<crate::mp4::Init>) {
        gst::info!(CAT, imp = self, "stream {} begins as {}", stream.name(), init.mime());
        stream.publish_init(init);
    }

    /// In nanoseconds; before 0 too, as the first decode times of streams with B-frames are.
    /// mp4mux sends a segment in bytes and stamps samples with running time; all others send a segment in time.
    fn running_time(&self, time: gst::ClockTime) -> Option<i64> {
        match self.obj().segment().downcast::<gst::ClockTime>() {
            Ok(segment) => match segment.to_running_time_full(time)? {
                gst::Signed::Positive(time) => i64::try_from(time.nseconds()).ok(),
                gst::Signed::Negative(time) => i64::try_from(time.nseconds()).ok().map(|time| -time),
            },
            Err(_) => i64::try_from(time.nseconds()).ok(),
        }
    }

    /// Base time + running time, on CLOCK_MONOTONIC also when the pipeline has another clock.
    fn channel_time(&self, running_time: i64) -> Option<i64> {
        let element = self.obj();
        let base_time = i64::try_from(element.base_time()?.nseconds()).ok()?;
        let time = base_time.checked_add(running_time)?;
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

fn running_now(element: &super::Intake) -> Option<i64> {
    i64::try_from(element.current_running_time()?.nseconds()).ok()
}
