use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use frame_ring::{ChannelAddress, Counters, LineHandle, Reader, ReaderOptions};
use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_src::CreateSuccess, prelude::*},
};

use super::{gate::Gate, wrap::Blank, wrapper::WrapperPool};
use crate::{
    errors,
    lock::lock,
    metas::known::Known,
    policy::{InitialFrame, OnWriterLost, Policy},
    replies, stats,
    time::{EarlyPts, KnownClock, Origin, RisingDts},
};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("valkkashmsrc", gst::DebugColorFlags::empty(), Some("Brings a channel into a pipeline"))
});

const DEFAULT_QUEUE_SIZE: u32 = 4;
const DEFAULT_MAX_HELD: u32 = 4;
const MAX_BUDGET: u32 = 1024;

const STATS_BLURB: &str =
    "Counters: frames, bytes, lost, kept-back, copied-on-hold, copied, held, torn, writers, latencies, metas-dropped";

#[derive(Debug, Clone)]
pub(super) struct Settings {
    channel: Option<String>,
    socket_path: Option<String>,
    policy: Policy,
    queue_size: u32,
    max_held: u32,
    initial_frame: InitialFrame,
    pub(super) on_writer_lost: OnWriterLost,
    pub(super) forward_eos: bool,
    connect_timeout: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            channel: None,
            socket_path: None,
            policy: Policy::default(),
            queue_size: DEFAULT_QUEUE_SIZE,
            max_held: DEFAULT_MAX_HELD,
            initial_frame: InitialFrame::default(),
            on_writer_lost: OnWriterLost::default(),
            forward_eos: true,
            connect_timeout: 0,
        }
    }
}

/// What only the streaming thread touches while the element runs.
pub(super) struct Stream {
    pub(super) reader: Reader,
    pub(super) address: ChannelAddress,
    /// Zero: wait for ever.
    pub(super) connect_timeout: Duration,
    /// Until when there has to be a writer. It runs only while the pipeline plays: before that none is sought.
    pub(super) deadline: Option<Instant>,
    pub(super) dts: RisingDts,
    pub(super) early: EarlyPts,
    /// The next frame does not follow the last one.
    pub(super) discont: bool,
    /// A segment was pushed: events may follow.
    pub(super) flowing: bool,
    /// Events that came before the caps.
    pub(super) held: Vec<gst::Event>,
    pub(super) tagged: bool,
    /// Sticky events that downstream has.
    pub(super) sticky: Vec<gst::Structure>,
    /// Frames missing since that was last told.
    pub(super) lost: u64,
    pub(super) lost_told: Option<Instant>,
    /// Of a pipeline without a clock.
    pub(super) origin: Option<Origin>,
    pub(super) clock: KnownClock,
    pub(super) metas: Known,
    /// For the next frame, made while there was none. Like the last frame: of `metas`, and the caps.
    pub(super) blank: Option<Blank>,
    pub(super) wrappers: WrapperPool,
}

impl Stream {
    fn new(reader: Reader, address: ChannelAddress, connect_timeout: Duration) -> Self {
        let mut stream = Self {
            reader,
            address,
            connect_timeout,
            deadline: None,
            dts: RisingDts::default(),
            early: EarlyPts::default(),
            discont: false,
            flowing: false,
            held: Vec::new(),
            tagged: false,
            sticky: Vec::new(),
            lost: 0,
            lost_told: None,
            origin: None,
            clock: KnownClock::default(),
            metas: Known::default(),
            blank: None,
            wrappers: WrapperPool::default(),
        };
        stream.expect_writer();
        stream
    }

    /// Playing begins, perhaps again. No time has been spent waiting for a writer that is still missing.
    #[cold]
    pub(super) fn played(&mut self) {
        if self.deadline.is_some() {
            self.expect_writer();
        }
    }

    /// From now on the connect timeout runs.
    pub(super) fn expect_writer(&mut self) {
        let runs = !self.connect_timeout.is_zero();
        // A timeout beyond the end of time is none.
        self.deadline = runs.then(|| Instant::now().checked_add(self.connect_timeout)).flatten();
    }
}

/// The ends of the reader that any thread may use.
#[derive(Clone)]
struct Handles {
    line: LineHandle,
    counters: Arc<Counters>,
}

/// What was agreed with downstream.
#[derive(Default)]
pub(super) struct Negotiation {
    pub(super) caps: Option<gst::Caps>,
    /// Of raw video caps.
    pub(super) video: Option<gst_video::VideoInfo>,
    /// Downstream looks at video metas.
    pub(super) video_meta: bool,
}

#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::ValkkaShmSrc)]
pub struct ValkkaShmSrc {
    /// Property `channel`.
    #[property(name = "channel", get, set, type = Option<String>, member = channel, mutable_ready, nick = "Channel",
        blurb = "Name of the channel: small letters, digits and . _ - (its socket is in $VALKKA_RUNTIME_DIR, else $XDG_RUNTIME_DIR/valkka, else /tmp/valkka-UID)")]
    /// Property `socket-path`.
    #[property(name = "socket-path", get, set, type = Option<String>, member = socket_path, mutable_ready, nick = "Socket path",
        blurb = "Path of the channel's socket, instead of a channel name")]
    /// Property `policy`.
    #[property(name = "policy", get, set, type = Policy, member = policy, mutable_ready, nick = "Policy",
        blurb = "What happens when this reader is slower than the writer", builder(Policy::default()))]
    /// Property `queue-size`.
    #[property(name = "queue-size", get, set, type = u32, member = queue_size, minimum = 1, maximum = MAX_BUDGET, default = DEFAULT_QUEUE_SIZE, mutable_ready, nick = "Queue size",
        blurb = "Frames that may wait for this reader (policies queue and lossless)")]
    /// Property `max-held`.
    #[property(name = "max-held", get, set, type = u32, member = max_held, minimum = 1, maximum = MAX_BUDGET, default = DEFAULT_MAX_HELD, mutable_ready, nick = "Maximum held",
        blurb = "Frames that downstream may hold without a copy; further ones are copied when they are taken")]
    /// Property `initial-frame`.
    #[property(name = "initial-frame", get, set, type = InitialFrame, member = initial_frame, mutable_ready, nick = "Initial frame",
        blurb = "Which frame to begin with", builder(InitialFrame::default()))]
    /// Property `on-writer-lost`.
    #[property(name = "on-writer-lost", get, set, type = OnWriterLost, member = on_writer_lost, mutable_playing, nick = "On writer lost",
        blurb = "What to do when the writer goes away without an end of stream", builder(OnWriterLost::default()))]
    /// Property `forward-eos`.
    #[property(name = "forward-eos", get, set, type = bool, member = forward_eos, mutable_playing, nick = "Forward EOS", default = true,
        blurb = "End this stream when the writer's stream ends (false = wait for what comes next)")]
    /// Property `connect-timeout`.
    #[property(name = "connect-timeout", get, set, type = u64, member = connect_timeout, mutable_ready, nick = "Connect timeout",
        blurb = "How long to wait for a writer, while playing, before posting an error, in ns (0 = for ever)")]
    pub(super) settings: Mutex<Settings>,
    handles: Mutex<Option<Handles>>,
    pub(super) stream: Mutex<Option<Stream>>,
    pub(super) negotiation: Mutex<Negotiation>,
    /// What the writer says that its frames are late.
    pub(super) latency: Mutex<gst::ClockTime>,
    pub(super) gate: Gate,
    pub(super) copied: AtomicU64,
    pub(super) metas_dropped: AtomicU64,
    capless: Mutex<Option<gst::PadProbeId>>,
}

impl ValkkaShmSrc {
    /// The base class asks downstream about memory before there are caps. Some sinks do not expect that.
    fn drop_capless_queries(&self) {
        let probe = self.obj().src_pad().add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
            match info.query().map(|query| query.view()) {
                Some(gst::QueryView::Allocation(query)) if query.get().0.is_none() => gst::PadProbeReturn::Drop,
                _ => gst::PadProbeReturn::Ok,
            }
        });
        *lock(&self.capless) = probe;
    }

    /// From the first caps on they all have some. A pad that has a probe looks for more of them with each buffer.
    fn pass_all_queries(&self) {
        let probe = lock(&self.capless).take();
        if let Some(probe) = probe {
            self.obj().src_pad().remove_probe(probe);
        }
    }

    fn handles(&self) -> Option<Handles> {
        lock(&self.handles).clone()
    }

    fn stats(&self) -> gst::Structure {
        let Some(handles) = self.handles() else { return gst::Structure::new_empty(stats::OF_SRC) };
        let own =
            stats::SrcCounters { copied: self.copied.load(Relaxed), metas_dropped: self.metas_dropped.load(Relaxed) };
        stats::of_src(&handles.counters.now(), own)
    }

    fn set_paused(&self, paused: bool) {
        if let Some(handles) = self.handles() {
            handles.line.set_paused(paused);
        }
    }

    /// What the application or downstream has to say to the writer.
    fn send_upstream(&self, event: &gst::EventRef) -> Option<bool> {
        if event.type_() != gst::EventType::CustomUpstream {
            return None;
        }
        if gst_video::ForceKeyUnitEvent::is(event) {
            let handles = self.handles()?;
            return Some(self.sent("Force-key-unit", handles.line.force_key_unit()));
        }
        let structure = event.structure().filter(|structure| structure.name() == replies::NAME)?;
        let handles = self.handles()?;
        match replies::encode(structure) {
            Ok(reply) => Some(self.sent("Reply", handles.line.reply(&reply))),
            Err(error) => {
                gst::warning!(CAT, imp = self, "Reply is not sent: {error}");
                Some(false)
            }
        }
    }

    fn sent(&self, what: &str, result: Result<(), frame_ring::SendError>) -> bool {
        if let Err(error) = &result {
            gst::warning!(CAT, imp = self, "{what} is not sent: {error}");
        }
        result.is_ok()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ValkkaShmSrc {
    const NAME: &'static str = "GstValkkaShmSrc";
    type Type = super::ValkkaShmSrc;
    type ParentType = gst_base::PushSrc;
}

impl ObjectImpl for ValkkaShmSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let stats = stats::param_spec(STATS_BLURB);
            ValkkaShmSrc::derived_properties().iter().cloned().chain([stats]).collect()
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
        let obj = self.obj();
        obj.set_live(true);
        obj.set_format(gst::Format::Time);
    }
}

impl GstObjectImpl for ValkkaShmSrc {}

impl ElementImpl for ValkkaShmSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Valkka shared memory source",
                "Source/Generic",
                "Brings frames of another process into a pipeline without copying them",
                "The Valkka contributors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst::Caps::new_any();
            let (direction, presence) = (gst::PadDirection::Src, gst::PadPresence::Always);
            vec![gst::PadTemplate::new("src", direction, presence, &caps).expect("the template is valid")]
        });
        TEMPLATES.as_ref()
    }

    fn change_state(&self, change: gst::StateChange) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        match change {
            gst::StateChange::PlayingToPaused => {
                self.set_paused(true);
                self.gate.pause();
            }
            gst::StateChange::PausedToPlaying => {
                self.set_paused(false);
                self.gate.resume();
            }
            _ => {}
        }
        self.parent_change_state(change)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        match self.send_upstream(&event) {
            Some(sent) => sent,
            None => self.parent_send_event(event),
        }
    }
}

impl BaseSrcImpl for ValkkaShmSrc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = lock(&self.settings).clone();
        let address = errors::address(settings.channel.as_deref(), settings.socket_path.as_deref())?;
        let options = ReaderOptions {
            address: address.clone(),
            policy: settings.policy.into(),
            queue_size: settings.queue_size,
            max_held: settings.max_held,
            initial: settings.initial_frame.into(),
        };
        let reader = Reader::new(options).map_err(|error| errors::read(&error))?;
        *lock(&self.handles) = Some(Handles { line: reader.line(), counters: reader.counters() });
        *lock(&self.negotiation) = Negotiation::default();
        *lock(&self.latency) = gst::ClockTime::ZERO;
        self.copied.store(0, Relaxed);
        self.metas_dropped.store(0, Relaxed);
        self.gate.begin(reader.canceller());
        self.drop_capless_queries();
        let timeout = Duration::from_nanos(settings.connect_timeout);
        *lock(&self.stream) = Some(Stream::new(reader, address, timeout));
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        self.gate.end();
        self.pass_all_queries();
        // Frames that are still held downstream stay valid and go back from there.
        *lock(&self.stream) = None;
        *lock(&self.negotiation) = Negotiation::default();
        Ok(())
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        self.gate.unlock();
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        self.gate.unlock_stop();
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn caps(&self, filter: Option<&gst::Caps>) -> Option<gst::Caps> {
        let caps = lock(&self.negotiation).caps.clone().unwrap_or_else(gst::Caps::new_any);
        Some(match filter {
            Some(filter) => filter.intersect_with_mode(&caps, gst::CapsIntersectMode::First),
            None => caps,
        })
    }

    /// Nothing is negotiable: the caps are the channel's. Downstream takes them or the stream ends.
    fn negotiate(&self) -> Result<(), gst::LoggableError> {
        let Some(caps) = lock(&self.negotiation).caps.clone() else { return Ok(()) };
        let src = self.obj();
        if !src.src_pad().peer_query_accept_caps(&caps) {
            self.post_error_message(errors::refused_caps(&caps));
            return Err(gst::loggable_error!(CAT, "Downstream refuses {caps}"));
        }
        src.set_caps(&caps).map_err(|error| gst::loggable_error!(CAT, "{error}"))?;
        self.pass_all_queries();
        Ok(())
    }

    fn decide_allocation(&self, query: &mut gst::query::Allocation) -> Result<(), gst::LoggableError> {
        // No pool: the memory is the channel's. All there is to learn is whether downstream looks at video metas.
        let video_meta = query.find_allocation_meta::<gst_video::VideoMeta>().is_some();
        lock(&self.negotiation).video_meta = video_meta;
        gst::debug!(CAT, imp = self, "Downstream looks at video metas: {video_meta}");
        Ok(())
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Latency(latency) = query.view_mut() {
            latency.set(true, *lock(&self.latency), gst::ClockTime::NONE);
            return true;
        }
        BaseSrcImplExt::parent_query(self, query)
    }

    fn event(&self, event: &gst::Event) -> bool {
        match self.send_upstream(event) {
            Some(sent) => sent,
            None => self.parent_event(event),
        }
    }
}

impl PushSrcImpl for ValkkaShmSrc {
    fn create(&self, _: Option<&mut gst::BufferRef>) -> Result<CreateSuccess, gst::FlowError> {
        self.next_buffer().map(CreateSuccess::NewBuffer)
    }
}
