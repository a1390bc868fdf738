//! The element in real pipelines, with real WebSocket clients; what they receive is decoded by GStreamer's own parsers.

mod frames;
mod input;
mod parsers;
mod pipeline;
mod playing;
mod serving;
mod slow;
mod time;
mod viewer;
