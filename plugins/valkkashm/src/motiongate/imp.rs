use std::sync::{
    LazyLock, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use gst::{glib, prelude::*, subclass::prelude::*};
use gst_base::subclass::{BaseTransformMode, prelude::*};
use gst_video::{VideoFormat, VideoFrameRef, VideoInfo, prelude::*};

use super::{
    background::{Background, Brightness},
    opening::{Opening, Times},
};
use crate::lock::lock;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "valkkamotiongate",
        gst::DebugColorFlags::empty(),
        Some("Lets frames pass while something moves"),
    )
});

const DEFAULT_THRESHOLD: f64 = 12.0;
const DEFAULT_MIN_AREA: f64 = 0.002;
const DEFAULT_HOLD: u64 = 2_000_000_000;
const DEFAULT_INTERVAL: u64 = 1_000_000_000;

/// Formats with a byte of brightness, or of green, for each pixel.
const FORMATS: [VideoFormat; 18] = [
    VideoFormat::Gray8,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Xrgb,
    VideoFormat::Xbgr,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
    VideoFormat::Argb,
    VideoFormat::Abgr,
    VideoFormat::I420,
    VideoFormat::Yv12,
    VideoFormat::Nv12,
    VideoFormat::Nv21,
    VideoFormat::Y42b,
    VideoFormat::Y444,
    VideoFormat::Yuy2,
];

#[derive(Debug)]
struct Settings {
    threshold: f64,
    min_area: f64,
    hold: u64,
    interval: u64,
}

impl Default for Settings {
    fn default() -> Self {
        let (threshold, min_area) = (DEFAULT_THRESHOLD, DEFAULT_MIN_AREA);
        Self { threshold, min_area, hold: DEFAULT_HOLD, interval: DEFAULT_INTERVAL }
    }
}

/// What is known of the stream.
#[derive(Default)]
struct State {
    video: Option<VideoInfo>,
    background: Background,
    opening: Opening,
}

#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::ValkkaMotionGate)]
pub struct ValkkaMotionGate {
    /// Property `threshold`.
    #[property(name = "threshold", get, set, type = f64, member = threshold, minimum = 0.0, maximum = 255.0, default = DEFAULT_THRESHOLD, mutable_playing, nick = "Threshold",
        blurb = "Levels of brightness by which a cell of the picture must differ from the background")]
    /// Property `min-area`.
    #[property(name = "min-area", get, set, type = f64, member = min_area, minimum = 0.0, maximum = 1.0, default = DEFAULT_MIN_AREA, mutable_playing, nick = "Minimum area",
        blurb = "Share of the picture that must have changed (0 = every frame passes)")]
    /// Property `hold`.
    #[property(name = "hold", get, set, type = u64, member = hold, default = DEFAULT_HOLD, mutable_playing, nick = "Hold",
        blurb = "How long frames pass after the last motion, in ns")]
    /// Property `interval`.
    #[property(name = "interval", get, set, type = u64, member = interval, default = DEFAULT_INTERVAL, mutable_playing, nick = "Interval",
        blurb = "How often a frame passes while nothing moves, in ns (0 = never)")]
    settings: Mutex<Settings>,
    state: Mutex<State>,
    /// Property `open`.
    #[property(name = "open", get = |gate: &Self| gate.open.load(Relaxed), type = bool, nick = "Open",
        blurb = "Whether something moves, or has just moved")]
    open: AtomicBool,
    /// Property `passed`.
    #[property(name = "passed", get = |gate: &Self| gate.passed.load(Relaxed), type = u64, nick = "Passed",
        blurb = "Frames that have passed")]
    passed: AtomicU64,
    /// Property `dropped`.
    #[property(name = "dropped", get = |gate: &Self| gate.dropped.load(Relaxed), type = u64, nick = "Dropped",
        blurb = "Frames that have not")]
    dropped: AtomicU64,
}

impl ValkkaMotionGate {
    /// The share of the picture that has changed; None: that cannot be said of this buffer.
    fn changed(&self, state: &mut State, buffer: &gst::BufferRef, threshold: f64) -> Option<f64> {
        let video = state.video.as_ref()?;
        let frame = VideoFrameRef::from_buffer_ref_readable(buffer, video).ok()?;
        // Green is most of what is bright.
        let component = if video.is_rgb() { 1 } else { 0 };
        let bytes = frame.comp_data(component).ok()?;
        let (stride, pixel) = (frame.comp_stride(component), frame.comp_pstride(component));
        let picture = Brightness {
            bytes,
            width: frame.width() as usize,
            height: frame.height() as usize,
            stride: usize::try_from(stride).ok()?,
            pixel: usize::try_from(pixel).ok()?,
        };
        Some(state.background.differs(picture, threshold as f32))
    }

    fn has_turned(&self, open: bool, share: f64, pts: gst::ClockTime) {
        gst::debug!(CAT, imp = self, "{} at {pts}: {share} have changed", if open { "Opens" } else { "Shuts" });
        self.obj().notify_open();
        let message = gst::Structure::builder("valkka-motion").field("open", open).field("share", share);
        let message = gst::message::Element::builder(message.field("pts", pts.nseconds()).build());
        // Fails only when the element has no bus: nobody is listening then.
        let _ = self.obj().post_message(message.src(&*self.obj()).build());
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ValkkaMotionGate {
    const NAME: &'static str = "GstValkkaMotionGate";
    type Type = super::ValkkaMotionGate;
    type ParentType = gst_base::BaseTransform;
}

#[glib::derived_properties]
impl ObjectImpl for ValkkaMotionGate {}

impl GstObjectImpl for ValkkaMotionGate {}

impl ElementImpl for ValkkaMotionGate {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Valkka motion gate",
                "Filter/Analyzer/Video",
                "Lets frames pass while something moves in them, and one now and then while nothing does",
                "The Valkka contributors",
            )
        });
        Some(&*METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new().format_list(FORMATS).build();
            [("sink", gst::PadDirection::Sink), ("src", gst::PadDirection::Src)]
                .map(|(name, direction)| {
                    let template = gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps);
                    template.expect("the template is valid")
                })
                .into()
        });
        TEMPLATES.as_ref()
    }
}

impl BaseTransformImpl for ValkkaMotionGate {
    const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = true;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = true;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = State::default();
        self.open.store(false, Relaxed);
        Ok(())
    }

    fn set_caps(&self, input: &gst::Caps, _output: &gst::Caps) -> Result<(), gst::LoggableError> {
        let video = VideoInfo::from_caps(input).map_err(|_| gst::loggable_error!(CAT, "These are no raw frames"))?;
        let mut state = lock(&self.state);
        // Another size, perhaps another picture.
        state.background = Background::default();
        state.video = Some(video);
        Ok(())
    }

    fn transform_ip_passthrough(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(pts) = buffer.pts() else {
            self.passed.fetch_add(1, Relaxed);
            return Ok(gst::FlowSuccess::Ok);
        };
        let (threshold, min_area, times) = {
            let Settings { threshold, min_area, hold, interval } = *lock(&self.settings);
            (threshold, min_area, Times { hold, interval })
        };
        let (share, verdict) = {
            let mut state = lock(&self.state);
            let share = self.changed(&mut state, buffer, threshold).unwrap_or(1.0);
            (share, state.opening.judge(pts.nseconds(), share >= min_area, times))
        };
        if self.open.swap(verdict.open, Relaxed) != verdict.open {
            self.has_turned(verdict.open, share, pts);
        }
        if verdict.passes {
            self.passed.fetch_add(1, Relaxed);
            Ok(gst::FlowSuccess::Ok)
        } else {
            self.dropped.fetch_add(1, Relaxed);
            Ok(gst_base::BASE_TRANSFORM_FLOW_DROPPED)
        }
    }
}
