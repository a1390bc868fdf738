//! What the targets run: the plug-in's MP4 alone, without the plug-in. So a fuzzer's build needs no GStreamer, and is quick.
#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../src/mp4/mod.rs"]
pub mod mp4;
