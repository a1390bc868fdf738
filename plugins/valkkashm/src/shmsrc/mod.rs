//! `valkkashmsrc`: brings a channel into a pipeline.
//!
//! ```text
//!  valkkashmsink ══frames══► valkkashmsrc ──buffers──► downstream
//!       ▲                     │    ▲ │                     │
//!       └── replies, keyframes┘    │ └─ last unref gives the slot back
//!                                  └── valkka-reply, force-key-unit
//! ```
//!
//! It is a live source. Its buffers are the writer's memory, read-only, for as long as anybody holds them; with
//! `max-held` out, frame-ring copies instead. Caps, tags, events and gaps come from the channel in their order. PTS is
//! the frame's channel time as running time of this pipeline ([`crate::time`]), so a frame keeps its age. Each buffer has
//! `offset` = sequence number and the meta `valkka-frame` ([`crate::frame_meta`]).
//!
//! Writer and reader come and go in any order. What happens when the writer goes is `on-writer-lost`; after it, and
//! wherever frames are missing, the next buffer has DISCONT.
//!
//! # Upstream
//!
//! A custom upstream event with a structure `valkka-reply` goes to the writer: with a string field `json` as JSON, else
//! as it is; the fields `generation` and `seq` of the frame's meta say what it is about. Force-key-unit goes to the writer, too.
//!
//! # Messages
//!
//! | element message | fields | when |
//! | --- | --- | --- |
//! | `valkka-writer-connected` | reader (guint), pid (gint), queue-size, max-held (guint, as granted) | there is a writer |
//! | `valkka-writer-lost` | reason (string) | it has gone without an end of stream |
//! | `valkka-frames-lost` | lost (guint64) since the last such message | frames are missing; at most once a second |
//!
//! # Example
//!
//! ```text
//! gst-launch-1.0 valkkashmsrc channel=test policy=queue queue-size=8 ! videoconvert ! autovideosink
//! ```

mod gate;
mod imp;
mod items;
mod wrap;
mod wrapper;

use gst::{glib, prelude::*};

glib::wrapper! {
    /// See the module.
    pub struct ValkkaShmSrc(ObjectSubclass<imp::ValkkaShmSrc>)
        @extends gst_base::PushSrc, gst_base::BaseSrc, gst::Element, gst::Object;
}

/// Makes the element known.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "valkkashmsrc", gst::Rank::NONE, ValkkaShmSrc::static_type())
}
