//! The internal sink behind a pad of `fmp4wssink`: takes buffers, cuts them into fragments, publishes them.
//!
//! One for each pad of the bin, never registered by name. It renders at once (`sync=false`): a viewer's player paces itself,
//! and waiting here would only add delay.

use crate::stream::Stream;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use std::sync::Arc;

mod imp;

glib::wrapper! {
    /// See the module.
    pub struct Intake(ObjectSubclass<imp::Intake>) @extends gst_base::BaseSink, gst::Element, gst::Object;
}

impl Intake {
    /// An intake that publishes nowhere yet.
    pub fn new(name: &str) -> Self {
        glib::Object::builder().property("name", name).build()
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
