//! GStreamer plug-in `fmp4ws`.
#![forbid(unsafe_code)]
pub mod mp4;
