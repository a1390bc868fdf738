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

use frame_ring::Frame;

/// Name of the meta and of its structure.
pub const NAME: &str = "valkka-frame";

/// What the meta says, taken from a frame before it becomes memory.
#[derive(Debug, Clone, Copy)]
pub struct FrameMark {
    id: frame_ring::FrameId,
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
    pub fn attach(self, buffer: &mut gst::BufferRef) {
        static REGISTERED: OnceLock<()> = OnceLock::new();
        // No tags: it stays right whatever happens to the picture.
        REGISTERED.get_or_init(|| gst::meta::CustomMeta::register_simple(NAME));
        let mut meta = gst::meta::CustomMeta::add(buffer, NAME).expect("registered just before");
        let structure = meta.mut_structure();
        structure.set("generation", self.id.generation);
        structure.set("seq", self.id.seq);
        structure.set("published", self.published);
        structure.set("latency", self.latency);
        structure.set("utc-offset", self.utc_offset);
        if let Some(time) = self.time {
            structure.set("time", time);
        }
    }
}
