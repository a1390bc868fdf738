//! The internal sink behind a pad of `fmp4wssink`: takes buffers, makes fragments of them, publishes them.
//!
//! One for each pad of the bin, never registered by name. It renders at once (`sync=false`): a viewer's player paces itself,
//! and waiting here would only add delay. What comes decides what is done (`caps.rs`): fragmented MP4 is cut by the parser
//! (`muxed.rs`), encoded frames go through the one [`Muxer`] that the intakes of a bin share.

use crate::mp4::Muxer;
use crate::stream::Stream;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::{Arc, Mutex};

pub mod caps;
mod imp;
mod muxed;

/// Which pad of the bin it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// `sink`: pictures, or fragmented MP4 with whatever is in it.
    #[default]
    Main,
    /// `audio`: the sound that belongs to the pictures.
    Sound,
}

glib::wrapper! {
    /// See the module.
    pub struct Intake(ObjectSubclass<imp::Intake>) @extends gst_base::BaseSink, gst::Element, gst::Object;
}

impl Intake {
    /// An intake that publishes nowhere yet. `muxer` is that of all pads of the bin.
    pub fn new(name: &str, role: Role, muxer: Arc<Mutex<Muxer>>) -> Self {
        let intake: Self = glib::Object::builder().property("name", name).build();
        intake.imp().assign(role, muxer);
        intake
    }

    /// Where to publish from now on.
    pub fn set_stream(&self, stream: Option<Arc<Stream>>) {
        self.imp().set_stream(stream);
    }

    /// Asks upstream for a keyframe. Goes through other elements' code, so never call it from the server's thread.
    pub fn request_keyframe(&self) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        if let Some(pad) = self.static_pad("sink") {
            pad.push_event(event);
        }
    }
}
