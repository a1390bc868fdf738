//! `fmp4wssink`: serves a stream to browsers as fragmented MP4 over WebSocket.
//!
//! A bin with one [`Intake`](crate::intake) for each pad. It owns a [`Stream`](crate::stream) while it is at least READY,
//! and the stream's [`Place`](crate::server) on a server that other elements of the process may share.
//!
//! ```sh
//! gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=I420,width=640,height=480,framerate=25/1 \
//!     ! x264enc tune=zerolatency key-int-max=50 ! h264parse ! fmp4wssink stream-name=test
//! ```
//!
//! Then open <http://127.0.0.1:8080/>.

use gst::glib;
use gst::prelude::*;
use std::sync::LazyLock;

mod arrivals;
mod figures;
mod imp;
mod pads;
mod settings;

/// Log category of everything here: `GST_DEBUG=fmp4wssink:6`.
pub static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("fmp4wssink", gst::DebugColorFlags::empty(), Some("Fragmented MP4 over WebSocket"))
});

glib::wrapper! {
    /// The element.
    pub struct Fmp4WsSink(ObjectSubclass<imp::Fmp4WsSink>) @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// Makes the element known.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(Some(plugin), "fmp4wssink", gst::Rank::NONE, Fmp4WsSink::static_type())
}
