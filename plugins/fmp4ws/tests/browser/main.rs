//! The player in a real browser. What is on the screen is read from its pixels: each picture of the scene carries its time.

mod blocks;
mod changes;
mod codecs;
mod hands;
mod page;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../fmp4wssink/pipeline.rs"]
mod pipeline;
mod plain;
mod scene;
mod slow_line;
mod stage;
mod tls;
