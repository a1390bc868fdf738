//! `valkkashmsink`: publishes what a pipeline makes into a channel.
//!
//! ```text
//!  upstream ──buffers──► valkkashmsink ══frames══► readers (valkkashmsrc, or any program with crate frame-ring)
//!     ▲                   │        ▲
//!     └── pool of slots ──┘        └── replies, force-key-unit ── readers
//! ```
//!
//! It takes any fixed caps in system memory. Raw video is written by upstream straight into shared memory, through the
//! proposed pool ([`crate::pool`]); anything else costs one copy. `stats` counts both. A reader never makes it wait,
//! unless the reader asked for `lossless` and `lossless-timeout` allows that.
//!
//! # Messages
//!
//! Element messages, each a structure with the reader's number in the field `reader` (guint):
//!
//! | message | further fields | when |
//! | --- | --- | --- |
//! | `valkka-reader-added` | pid (gint), policy (string), queue-size, max-held (guint) | a reader has come |
//! | `valkka-reader-removed` | reason (string), error (gboolean) | it has gone, or was detached |
//! | `valkka-reader-slow` | dropped (guint64) | frames were dropped for it; at most once a second |
//! | `valkka-reply` | generation, seq (guint64) of the frame, if any; json (string), or the fields sent | it says something |
//!
//! A reply also goes upstream as a custom event with the same structure. In a relay (`valkkashmsrc ! … ! valkkashmsink`) the event
//! names the frame as the channel upstream does, so that `valkkashmsrc` can pass it on to that channel's writer; the message
//! names this channel's frame, and that one as `origin-generation` and `origin-seq`. The property `readers` notifies.
//!
//! # Example
//!
//! ```text
//! gst-launch-1.0 -m videotestsrc is-live=true ! video/x-raw,format=RGB,width=640,height=360 ! valkkashmsink channel=test
//! ```

mod imp;
mod origins;
mod peers;
mod publish;
mod stream;

use gst::{glib, prelude::*};

glib::wrapper! {
    /// See the module.
    pub struct ValkkaShmSink(ObjectSubclass<imp::ValkkaShmSink>)
        @extends gst_base::BaseSink, gst::Element, gst::Object;
}

/// Makes the element known.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "valkkashmsink", gst::Rank::NONE, ValkkaShmSink::static_type())
}
