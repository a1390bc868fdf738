use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use frame_ring::{Canceller, CloseReason, StateKind, Writer, WriterOptions};
use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};

use super::{origins::Origins, peers::Peers, stream::Stream};
use crate::{errors, lock::lock, metas::layout, pool::SlotPool, stats};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("valkkashmsink", gst::DebugColorFlags::empty(), Some("Publishes frames into a channel"))
});

const DEFAULT_SLOTS: u32 = 8;
const MAX_READERS: u32 = 64;

const STATS_BLURB: &str =
    "Counters: frames, zero-copy, copied, dropped, bytes, generation, slots, slot-size, and of each reader";

#[derive(Debug, Clone)]
pub(super) struct Settings {
    channel: Option<String>,
    socket_path: Option<String>,
    slots: u32,
    max_readers: u32,
    wait_for_reader: bool,
    lossless_timeout: u64,
    checksum: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            channel: None,
            socket_path: None,
            slots: DEFAULT_SLOTS,
            max_readers: MAX_READERS,
            wait_for_reader: false,
            lossless_timeout: 0,
            checksum: false,
        }
    }
}

enum State {
    /// With the counters of the run before.
    Stopped(Option<gst::Structure>),
    Started(Started),
}

impl Default for State {
    fn default() -> Self {
        Self::Stopped(None)
    }
}

/// What exists while the channel is open.
#[derive(Clone)]
pub(super) struct Started {
    pub(super) writer: Writer,
    /// Ends the waits of the streaming thread.
    pub(super) canceller: Canceller,
    pub(super) wait_for_reader: bool,
}

#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::ValkkaShmSink)]
pub struct ValkkaShmSink {
    /// Property `channel`.
    #[property(name = "channel", get, set, type = Option<String>, member = channel, mutable_ready, nick = "Channel",
        blurb = "Name of the channel: small letters, digits and . _ - (its socket is in $VALKKA_RUNTIME_DIR, else $XDG_RUNTIME_DIR/valkka, else /tmp/valkka-UID)")]
    /// Property `socket-path`.
    #[property(name = "socket-path", get, set, type = Option<String>, member = socket_path, mutable_ready, nick = "Socket path",
        blurb = "Path of the channel's socket, instead of a channel name")]
    /// Property `slots`.
    #[property(name = "slots", get, set, type = u32, member = slots, minimum = 1, maximum = 1024, default = DEFAULT_SLOTS, mutable_ready, nick = "Slots",
        blurb = "Frames that upstream may hold in shared memory at a time; further ones are copied")]
    /// Property `max-readers`.
    #[property(name = "max-readers", get, set, type = u32, member = max_readers, minimum = 1, maximum = MAX_READERS, default = MAX_READERS, mutable_ready, nick = "Maximum readers",
        blurb = "Further readers are refused")]
    /// Property `wait-for-reader`.
    #[property(name = "wait-for-reader", get, set, type = bool, member = wait_for_reader, mutable_ready, nick = "Wait for reader",
        blurb = "Wait with each frame until there is a reader")]
    /// Property `lossless-timeout`.
    #[property(name = "lossless-timeout", get, set, type = u64, member = lossless_timeout, mutable_ready, nick = "Lossless timeout",
        blurb = "How long to wait for a reader with policy=lossless before it is detached, in ns (0 = refuse such readers)")]
    /// Property `checksum`.
    #[property(name = "checksum", get, set, type = bool, member = checksum, mutable_ready, nick = "Checksum",
        blurb = "Give each frame a checksum, so that readers can prove that it is whole")]
    pub(super) settings: Mutex<Settings>,
    /// Property `readers`.
    #[property(name = "readers", get = Self::readers, type = u32, nick = "Readers", blurb = "Number of readers now; notifies")]
    state: Mutex<State>,
    pub(super) stream: Mutex<Stream>,
    pub(super) origins: Mutex<Origins>,
    /// Last told to the readers.
    pub(super) latency: Mutex<Option<gst::ClockTime>>,
    pub(super) failed: AtomicBool,
    pub(super) no_slot: AtomicU64,
    pub(super) unknown_metas: AtomicU64,
}

impl ValkkaShmSink {
    /// The open channel. A copy: nothing waits or calls out with the lock held.
    pub(super) fn started(&self) -> Option<Started> {
        match &*lock(&self.state) {
            State::Started(started) => Some(started.clone()),
            State::Stopped(_) => None,
        }
    }

    fn readers(&self) -> u32 {
        self.started().map_or(0, |started| started.writer.readers())
    }

    fn stats(&self) -> gst::Structure {
        if let State::Stopped(last) = &*lock(&self.state) {
            return last.clone().unwrap_or_else(|| gst::Structure::new_empty(stats::OF_SINK));
        }
        self.started().map_or_else(|| gst::Structure::new_empty(stats::OF_SINK), |started| self.stats_of(&started))
    }

    fn stats_of(&self, started: &Started) -> gst::Structure {
        let own = stats::SinkCounters {
            no_slot: self.no_slot.load(Relaxed),
            // This property hides the base class's of the same name.
            late: BaseSinkExt::stats(&*self.obj()).get("dropped").unwrap_or_default(),
            unknown_metas: self.unknown_metas.load(Relaxed),
        };
        stats::of_sink(&started.writer.stats(), own)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ValkkaShmSink {
    const NAME: &'static str = "GstValkkaShmSink";
    type Type = super::ValkkaShmSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for ValkkaShmSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let stats = stats::param_spec(STATS_BLURB);
            ValkkaShmSink::derived_properties().iter().cloned().chain([stats]).collect()
        });
        PROPERTIES.as_ref()
    }

    fn set_property(&self, id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        self.derived_set_property(id, value, pspec);
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        // The derive macro has no properties of type GstStructure.
        if pspec.name() == stats::PROPERTY { self.stats().to_value() } else { self.derived_property(id, pspec) }
    }

    fn constructed(&self) {
        self.parent_constructed();
        // The last sample would keep a slot for as long as the stream stands still.
        self.obj().set_enable_last_sample(false);
        // Nothing is processed here: a frame of a live pipeline need not wait for the slack that displays want.
        self.obj().set_processing_deadline(gst::ClockTime::ZERO);
    }
}

impl GstObjectImpl for ValkkaShmSink {}

impl ElementImpl for ValkkaShmSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Valkka shared memory sink",
                "Sink/Generic",
                "Publishes frames to other processes without copying them",
                "The Valkka contributors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst::Caps::new_any();
            let (direction, presence) = (gst::PadDirection::Sink, gst::PadPresence::Always);
            vec![gst::PadTemplate::new("sink", direction, presence, &caps).expect("the template is valid")]
        });
        TEMPLATES.as_ref()
    }

    fn change_state(&self, change: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        let success = self.parent_change_state(change)?;
        if change == gst::StateChange::PausedToPlaying {
            self.update_latency();
        }
        Ok(success)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        let latency = event.type_() == gst::EventType::Latency;
        let handled = self.parent_send_event(event);
        if latency {
            self.update_latency();
        }
        handled
    }
}

impl BaseSinkImpl for ValkkaShmSink {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let address = errors::address(settings.channel.as_deref(), settings.socket_path.as_deref())?;
        let canceller = Canceller::new().map_err(|error| errors::descriptors(&error))?;
        let options = WriterOptions {
            address: address.clone(),
            slots: settings.slots,
            max_readers: settings.max_readers,
            lossless_timeout: Duration::from_nanos(settings.lossless_timeout),
            checksum: settings.checksum,
        };
        *lock(&self.stream) = Stream::default();
        *lock(&self.origins) = Origins::default();
        *lock(&self.latency) = None;
        self.failed.store(false, Relaxed);
        self.no_slot.store(0, Relaxed);
        self.unknown_metas.store(0, Relaxed);
        let peers = Arc::new(Peers::of(&self.obj()));
        let writer = Writer::open(options, peers).map_err(|error| errors::open(&error))?;
        gst::info!(CAT, imp = self, "Channel {address} is open");
        *lock(&self.state) = State::Started(Started { writer, canceller, wait_for_reader: settings.wait_for_reader });
        // A reader that waited may be here already, before there was a state to count it in.
        self.obj().notify_readers();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let Some(started) = self.started() else { return Ok(()) };
        let last = self.stats_of(&started);
        let reason = if self.failed.load(Relaxed) { CloseReason::Error } else { CloseReason::Restart };
        *lock(&self.state) = State::Stopped(Some(last));
        started.writer.close(reason);
        gst::info!(CAT, imp = self, "Channel is closed");
        self.obj().notify_readers();
        Ok(())
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(started) = self.started() {
            started.canceller.cancel();
        }
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(started) = self.started() {
            started.canceller.reset();
        }
        Ok(())
    }

    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        if !passes(caps) {
            return Err(gst::loggable_error!(CAT, "Only system memory passes a channel, not {caps}"));
        }
        let Some(started) = self.started() else { return Ok(()) };
        {
            let mut stream = lock(&self.stream);
            if stream.caps.as_ref() == Some(caps) {
                return Ok(());
            }
            stream.video = layout::raw_video(caps);
            stream.caps = Some(caps.clone());
        }
        gst::info!(CAT, imp = self, "Caps are {caps}");
        let text = caps.to_string().into_bytes();
        let bytes = text.len();
        if !started.writer.set_state(StateKind::CAPS, text) {
            self.failed.store(true, Relaxed);
            self.post_error_message(errors::caps_too_large(bytes));
            return Err(gst::loggable_error!(CAT, "Caps of {bytes} bytes"));
        }
        Ok(())
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::AcceptCaps(accept) = query.view_mut() {
            let passes = passes(accept.caps());
            accept.set_result(passes);
            return true;
        }
        BaseSinkImplExt::parent_query(self, query)
    }

    fn propose_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        let (caps, need_pool) = query.get_owned();
        let Some(video) = caps.as_deref().and_then(layout::raw_video) else {
            // Frames of unknown size: there is nothing to offer.
            return self.parent_propose_allocation(query);
        };
        query.add_allocation_meta::<gst_video::VideoMeta>(None);
        let (Some(started), true) = (self.started(), need_pool) else { return Ok(()) };
        let size = u32::try_from(video.size()).map_err(|_| gst::loggable_error!(CAT, "Frames of 4 GiB and more"))?;
        let pool = SlotPool::new(started.writer);
        let mut config = pool.config();
        config.set_params(caps.as_ref(), size, 0, 0);
        config.add_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META.as_str());
        pool.set_config(config).map_err(|error| gst::loggable_error!(CAT, "Pool for {caps:?}: {error}"))?;
        query.add_allocation_pool(Some(&pool), size, 0, 0);
        Ok(())
    }

    fn event(&self, event: gst::Event) -> bool {
        let Some(started) = self.started() else { return self.parent_event(event) };
        match event.view() {
            gst::EventView::StreamStart(start) => self.begin_stream(&started, Some(start.stream_id())),
            gst::EventView::Segment(_) => self.begin_stream(&started, None),
            gst::EventView::FlushStop(_) => {
                lock(&self.stream).discont = true;
                self.begin_stream(&started, None);
            }
            gst::EventView::Tag(tag) => self.add_tags(&started, tag.tag()),
            gst::EventView::CustomDownstreamSticky(_) => self.add_sticky(&started, event.structure()),
            gst::EventView::Gap(gap) => {
                let (start, duration) = gap.get();
                return self.pass_gap(&started, start, duration, event);
            }
            gst::EventView::Eos(_) => {
                gst::info!(CAT, imp = self, "End of stream");
                lock(&self.stream).eos = true;
                started.writer.eos();
            }
            _ => self.pass_custom(&started, &event),
        }
        self.parent_event(event)
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.publish(buffer)
    }
}

/// Other memory, or metas that must be obeyed, cannot be carried to another process.
fn passes(caps: &gst::CapsRef) -> bool {
    !caps.is_any()
        && caps.iter_with_features().all(|(_, features)| {
            !features.is_any() && features.iter().all(|feature| feature == gst::CAPS_FEATURE_MEMORY_SYSTEM_MEMORY)
        })
}
