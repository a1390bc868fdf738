//! The custom meta `valkka-frame`: which frame of the channel a buffer is.
//!
//! `valkkashmsrc` puts it onto each buffer. An application that answers a frame copies `generation` and `seq` into its
//! reply, and so the writer knows what the answer is about.
//!
//! | field | type | meaning |
//! | --- | --- | --- |
//! | generation, seq | guint64 | the frame |
//! | published | gint64 | when the writer published it: ns on `CLOCK_MONOTONIC` |
//! | latency | guint64 | ns from publishing to being taken by this reader |
//! | utc-offset | gint64 | `CLOCK_REALTIME` − `CLOCK_MONOTONIC` at publishing, ns |
//! | time | gint64 | channel time, ns; absent for a frame without PTS |

use std::sync::OnceLock;

use frame_ring::{Frame, FrameId};
use gst::glib;

/// Name of the meta and of its structure.
pub const NAME: &str = "valkka-frame";

/// What the meta says, taken from a frame before it becomes memory.
#[derive(Debug, Clone, Copy)]
pub struct FrameMark {
    id: FrameId,
    published: i64,
    latency: u64,
    utc_offset: i64,
    time: Option<i64>,
}

impl FrameMark {
    /// Of `frame`.
    pub fn of(frame: &Frame) -> Self {
        Self {
            id: frame.id(),
            published: frame.published(),
            latency: frame.latency(),
            utc_offset: frame.utc_offset(),
            time: frame.info().time,
        }
    }

    /// Puts the meta onto `buffer`.
    #[expect(deprecated, reason = "its successor takes names, and looks each of them up again before GStreamer 1.26")]
    pub fn attach(self, buffer: &mut gst::BufferRef) {
        let fields = Fields::get();
        let mut meta = gst::meta::CustomMeta::add(buffer, NAME).expect("registered just before");
        let structure = meta.mut_structure();
        structure.set_by_quark(fields.generation, self.id.generation);
        structure.set_by_quark(fields.seq, self.id.seq);
        structure.set_by_quark(fields.published, self.published);
        structure.set_by_quark(fields.latency, self.latency);
        structure.set_by_quark(fields.utc_offset, self.utc_offset);
        if let Some(time) = self.time {
            structure.set_by_quark(fields.time, time);
        }
    }
}

/// The frame that a buffer came as, if it came from a channel.
pub fn origin(buffer: &gst::BufferRef) -> Option<FrameId> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, NAME).ok()?;
    let structure = meta.structure();
    Some(FrameId { generation: structure.get("generation").ok()?, seq: structure.get("seq").ok()? })
}

/// Names as GLib numbers them: looked up once and not for each frame.
struct Fields {
    generation: glib::Quark,
    seq: glib::Quark,
    published: glib::Quark,
    latency: glib::Quark,
    utc_offset: glib::Quark,
    time: glib::Quark,
}

impl Fields {
    /// Registers the meta, too.
    fn get() -> &'static Self {
        static FIELDS: OnceLock<Fields> = OnceLock::new();
        FIELDS.get_or_init(|| {
            // No tags: it stays right whatever happens to the picture.
            gst::meta::CustomMeta::register_simple(NAME);
            Self {
                generation: glib::Quark::from_str("generation"),
                seq: glib::Quark::from_str("seq"),
                published: glib::Quark::from_str("published"),
                latency: glib::Quark::from_str("latency"),
                utc_offset: glib::Quark::from_str("utc-offset"),
                time: glib::Quark::from_str("time"),
            }
        })
    }
}
