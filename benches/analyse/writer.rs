//! The cameras: one process that shows footage in a number of channels.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gst::prelude::*;

use crate::{FPS, HEIGHT, WIDTH};

/// Shows footage until it is killed. A frame's first eight bytes are its time: nanoseconds on CLOCK_MONOTONIC.
pub fn play(transport: &str, folder: &Path, footage: &Path, cameras: usize) {
    let frames = Arc::new(fs::read(footage).expect("footage was made"));
    let size = WIDTH * HEIGHT * 3;
    // On its way, looked at, and some for the allocator. All cameras together may have no more than /dev/shm.
    let room = size * 6;
    let caps = format!("video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={FPS}/1");
    let branches = (0..cameras).map(|n| {
        let socket = folder.join(format!("{n}.rgb"));
        let sink = match transport {
            "valkka" => format!("valkkashmsink socket-path={} sync=false async=false", socket.display()),
            _ => format!("shmsink socket-path={} shm-size={room} wait-for-connection=false sync=false async=false", socket.display()),
        };
        // Cameras are not in step.
        let offset = n as u64 * 1_000_000_000 / FPS as u64 / cameras as u64;
        format!("videotestsrc is-live=true pattern=black timestamp-offset={offset} ! {caps} ! identity name=here{n} ! {sink}")
    });
    let pipeline = gst::parse::launch(&branches.collect::<Vec<_>>().join(" ")).expect("the description is right");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("several elements");
    for n in 0..cameras {
        let pad = pipeline.by_name(&format!("here{n}")).and_then(|here| here.static_pad("src")).expect("it is there");
        let (frames, clocked) = (frames.clone(), pipeline.clone());
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                let number = buffer.offset() as usize % (frames.len() / size);
                let time = clocked.base_time().unwrap_or_default() + buffer.pts().unwrap_or_default();
                let mut map = buffer.make_mut().map_writable().expect("a frame on its way to a sink is writable");
                map[..size].copy_from_slice(&frames[number * size..(number + 1) * size]);
                map[..8].copy_from_slice(&time.nseconds().to_ne_bytes());
            }
            gst::PadProbeReturn::Ok
        });
    }
    pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    let bus = pipeline.bus().expect("a pipeline has a bus");
    bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Error, gst::MessageType::Eos]);
}
