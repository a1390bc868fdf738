//! The element in real pipelines, with real WebSocket clients; what they receive is decoded by GStreamer's own parsers.

mod access;
mod figures;
mod film;
mod frames;
mod go2rtc;
mod hostile;
mod http;
mod input;
mod muxers;
mod parsers;
mod pipeline;
mod playing;
mod readme;
mod serving;
mod slow;
mod time;
mod viewer;
