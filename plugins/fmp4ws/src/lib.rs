//! GStreamer plug-in.
