//! GStreamer plug-in `fmp4ws`: pipelines to browsers, as fragmented MP4 over WebSocket.
//!
//! For whoever has a pipeline and wants it on a page, with `gst-launch-1.0` or in an application; `valkka` runs one
//! `fmp4wssink` for each camera. It knows MP4 boxes and sockets, and nothing of shared memory.
//!
//! ```text
//!   MP4 ───► fmp4wssink ( intake ─► mp4::Parser ) ─┬─► Stream ─► Queue ─► session ─► browser
//!   frames ─►           ( intake ─► mp4::Muxer  ) ─┘      │        one for each viewer
//!                    pipeline's streaming thread          │        the server's thread
//! ```
//!
//! The protocol is drawn in `protocol.rs`, what a viewer gets when it is slow in `queue.rs`, what its times mean in `clock.rs`.
//! Who may connect stands in `access.rs`, and what clients may do in `wire.rs` (bytes), `lobby.rs` (connections), `connection.rs`
//! (requests) and `session.rs` (messages).
#![forbid(unsafe_code)]

use gst::glib;

mod access;
mod clock;
mod connection;
mod delay;
mod directory;
mod fmp4wssink;
mod intake;
mod lobby;
mod metrics;
pub mod mp4;
mod player;
mod progressive;
mod protocol;
mod queue;
mod quota;
mod rate;
mod routes;
mod server;
mod session;
mod socket;
mod stream;
mod tls;
mod viewer;
mod wire;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    fmp4wssink::register(plugin)
}

#[expect(missing_docs, reason = "the macro writes items without")]
mod plugin {
    use super::plugin_init;

    gst::plugin_define!(
        fmp4ws,
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
