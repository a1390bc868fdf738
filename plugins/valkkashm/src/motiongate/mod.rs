//! `valkkamotiongate`: lets frames pass while something moves in them.
//!
//! ```text
//!  brightness  ▁▁▁▁▁▁▁▃▅▃▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁
//!  frames in   ││││││││││││││││││││││││││││
//!  frames out  ││││   ││││││││       │       one every `interval` while it is shut
//!              └ hold ┘ └── hold ──┘
//! ```
//!
//! It stands in the client between a camera and a costly analyser, and decides for little whether it is worth its while to look. What it
//! compares is the brightness of a grid of cells (`background.rs`), some ten microseconds of work for a frame; *what* moves, and where,
//! is the analyser's business. A change of light is no motion. The first frames pass: nobody knows yet what the background is.
//!
//! While it is shut, a frame now and then passes all the same (`interval`): whoever is downstream goes on learning what the scene looks like, and
//! objects that have gone are seen to have gone. Frames that do not pass are dropped, nothing is changed about the others.
//!
//! # Messages
//!
//! | element message | fields | when |
//! | --- | --- | --- |
//! | `valkka-motion` | open (boolean), share (gdouble: cells that have changed), pts (guint64) | the gate opens or shuts |
//!
//! # Example
//!
//! ```text
//! gst-launch-1.0 -m valkkashmsrc channel=lobby.rgb ! valkkamotiongate ! valkkashmsink channel=lobby-moving.rgb sync=false
//! ```

mod background;
mod imp;
mod opening;

use gst::{glib, prelude::*};

glib::wrapper! {
    /// See the module.
    pub struct ValkkaMotionGate(ObjectSubclass<imp::ValkkaMotionGate>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Makes the element known.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "valkkamotiongate", gst::Rank::NONE, ValkkaMotionGate::static_type())
}
