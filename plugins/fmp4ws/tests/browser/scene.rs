//! A scene that knows what time it is: each picture carries its own time stamp, in blocks of black and white that survive
//! any encoder, so that a test can read from a canvas which picture it sees.
//!
//! ```text
//!   8 blocks of 16x16 pixels in each of 4 rows, the most significant bit first; white is 1
//!   ┌────────────────┐
//!   │ ms >> 16       │   time stamp in ms, modulo 2^24
//!   │ ms >> 8        │
//!   │ ms             │
//!   │ check          │   the three exclusive-or'd, and 0xA5
//!   └────────────────┘
//! ```

use gst::prelude::*;

use crate::pipeline::Pipeline;

/// Pixels of a block's side.
const BLOCK: usize = 16;

/// A live source of 25 pictures a second, each with its clock. [`resize`] changes its size while it plays.
pub fn scene(width: u32, height: u32) -> String {
    format!(
        "videotestsrc is-live=true pattern=ball ! capsfilter name=size caps={} ! identity name=scene",
        caps(width, height)
    )
}

fn caps(width: u32, height: u32) -> String {
    format!("video/x-raw,format=I420,width={width},height={height},framerate=25/1")
}

/// A pipeline that begins with a [`scene`], not started.
pub fn pipeline(description: &str) -> Pipeline {
    let pipeline = Pipeline::null(description);
    let pad = pipeline.element("scene").static_pad("src").expect("an identity has a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, |pad, info| {
        let width = pad.current_caps().and_then(|caps| caps.structure(0)?.get::<i32>("width").ok());
        if let (Some(buffer), Some(width)) = (info.buffer_mut(), width) {
            let ms = buffer.pts().expect("a live source stamps its buffers").mseconds();
            let mut map = buffer.make_mut().map_writable().expect("raw video is writable");
            paint(&mut map, usize::try_from(width).expect("a width"), ms);
        }
        gst::PadProbeReturn::Ok
    });
    pipeline
}

/// Into the first plane of I420; its rows are as long as the picture is wide, which is a multiple of 4.
fn paint(luma: &mut [u8], stride: usize, ms: u64) {
    let [.., high, middle, low] = ms.to_be_bytes();
    for (row, byte) in [high, middle, low, high ^ middle ^ low ^ 0xA5].into_iter().enumerate() {
        for bit in 0..8 {
            let value = if byte & (0x80 >> bit) == 0 { 16 } else { 235 };
            for y in row * BLOCK..(row + 1) * BLOCK {
                let start = y * stride + bit * BLOCK;
                luma[start..start + BLOCK].fill(value);
            }
        }
    }
}

/// How much later the clock in a picture is than the channel time zero of its pipeline (ms): both start with the pipeline.
pub fn base_ms(pipeline: &Pipeline) -> f64 {
    pipeline.0.base_time().expect("the pipeline plays").nseconds() as f64 / 1e6
}

/// Another size from here on.
pub fn resize(pipeline: &Pipeline, width: u32, height: u32) {
    let caps: gst::Caps = caps(width, height).parse().expect("these are caps");
    pipeline.element("size").set_property("caps", caps);
}
