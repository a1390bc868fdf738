//! Films whose content is known to the pixel.

use std::path::PathBuf;
use std::time::Duration;

use gst::prelude::*;
use gst_app::AppSrc;

use super::Runtime;
use super::pipeline::Pipeline;

const WRITTEN: Duration = Duration::from_secs(90);

/// A white square of 80 pixels over black, 140 pixels below the upper edge: a file `NAME.mkv` of a minute, 640x360 at 25
/// frames a second. `left` says where it is in a frame; nowhere for `None`.
pub fn square(runtime: &Runtime, name: &str, left: impl Fn(u64) -> Option<usize>) -> PathBuf {
    let file = runtime.path(&format!("{name}.mkv"));
    let caps = "video/x-raw,format=GRAY8,width=640,height=360,framerate=25/1";
    let sink = format!("jpegenc quality=95 ! matroskamux ! filesink location={}", file.display());
    let pipeline = Pipeline::parse(&format!("appsrc name=source format=time caps={caps} block=true ! {sink}"));
    let source: AppSrc = pipeline.element("source").downcast().expect("an appsrc is an AppSrc");
    pipeline.play();
    for frame in 0..1500u64 {
        let mut picture = vec![16u8; 640 * 360];
        if let Some(left) = left(frame) {
            for row in picture.chunks_exact_mut(640).skip(140).take(80) {
                row[left..left + 80].fill(235);
            }
        }
        let mut buffer = gst::Buffer::from_slice(picture);
        let times = buffer.get_mut().expect("it is ours alone");
        times.set_pts(gst::ClockTime::from_mseconds(frame * 40));
        times.set_duration(gst::ClockTime::from_mseconds(40));
        source.push_buffer(buffer).expect("the pipeline takes frames");
    }
    source.end_of_stream().expect("the pipeline takes its end");
    pipeline.wait_for_eos(WRITTEN);
    file
}

/// It wanders from left to right and back without a pause, 6 pixels a frame: in 300 ms more than half its width.
pub fn wandering(frame: u64) -> Option<usize> {
    let way = (frame * 6 % 960) as usize;
    Some(40 + if way < 480 { way } else { 960 - way })
}

/// It wanders there and back, and is away for longer, first of all: what is often in one place becomes the background there.
pub fn visiting(frame: u64) -> Option<usize> {
    (frame % 400).checked_sub(240).and_then(wandering)
}

/// It goes from left to right, and is away for as long.
pub fn passing(frame: u64) -> Option<usize> {
    let way = (frame * 6 % 960) as usize;
    (way <= 480).then_some(40 + way)
}
