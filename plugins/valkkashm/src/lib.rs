//! GStreamer plug-in `valkkashm`: channels of frames between processes, without copies.
//!
//! | element | what it does |
//! | --- | --- |
//! | `valkkashmsink` | publishes what a pipeline makes into a channel ([`shmsink`]) |
//! | `valkkashmsrc` | brings a channel into a pipeline of another process ([`shmsrc`]) |
//! | `valkkamotiongate` | lets frames pass while something moves: for clients of a costly analyser ([`motiongate`]) |
//!
//! ```text
//! gst-launch-1.0 videotestsrc is-live=true ! valkkashmsink channel=test
//! gst-launch-1.0 valkkashmsrc channel=test ! videoconvert ! autovideosink
//! ```
//!
//! Crate frame-ring knows the shared memory and the protocol; this crate knows GStreamer: buffers ([`pool`], [`metas`]),
//! time ([`time`]), events ([`events`]), counters ([`stats`]). There is no `unsafe` in it.

#![forbid(unsafe_code)]

use gst::glib;

mod errors;
pub mod events;
pub mod frame_meta;
mod lock;
pub mod metas;
pub mod motiongate;
pub mod policy;
pub mod pool;
mod replies;
pub mod shmsink;
pub mod shmsrc;
pub mod stats;
pub mod time;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    shmsink::register(plugin)?;
    shmsrc::register(plugin)?;
    motiongate::register(plugin)
}

#[expect(missing_docs, reason = "the macro writes items without")]
mod plugin {
    use super::plugin_init;

    gst::plugin_define!(
        valkkashm,
        env!("CARGO_PKG_DESCRIPTION"),
        plugin_init,
        concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
        "MIT/X11",
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_NAME"),
        "Valkka",
        env!("BUILD_REL_DATE")
    );
}

/// For programs that link the plug-in instead of loading it.
pub use plugin::plugin_register_static;
