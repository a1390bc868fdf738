//! A camera whose scene knows what time it is: each picture carries its own time stamp, in ms, so that a test can read from a
//! canvas which picture it sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;

use crate::blocks::paint;
use crate::pipeline::Pipeline;
use crate::stage::{SOON, eventually_or};

/// A live source of 25 pictures a second, each with its clock. [`Camera::resize`] changes its size while it plays.
pub fn scene(width: u32, height: u32) -> String {
    format!(
        "videotestsrc is-live=true pattern=ball ! capsfilter name=size caps={} ! identity name=scene",
        caps(width, height)
    )
}

fn caps(width: u32, height: u32) -> String {
    format!("video/x-raw,format=I420,width={width},height={height},framerate=25/1")
}

/// A pipeline from a [`scene`] to a sink.
pub struct Camera {
    pipeline: Pipeline,
    /// See [`Self::newest_ms`].
    newest: Arc<AtomicU64>,
}

impl Camera {
    /// Starts it.
    pub fn start(description: &str) -> Self {
        let camera = Self::prepare(description);
        camera.pipeline.play();
        camera
    }

    /// Starts it as soon as its port is free: one that was given up may be, for a moment, that of somebody who asked for any.
    pub fn start_again(description: &str) -> Self {
        let camera = Self::prepare(description);
        let start = || camera.pipeline.0.set_state(gst::State::Playing).ok();
        eventually_or(SOON, start, || format!("does not start again: {description}"));
        camera
    }

    fn prepare(description: &str) -> Self {
        let pipeline = Pipeline::null(description);
        let newest = Arc::new(AtomicU64::new(0));
        let (note, before) = (newest.clone(), AtomicU64::new(0));
        let pad = pipeline.element("scene").static_pad("src").expect("an identity has a pad");
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let width = pad.current_caps().and_then(|caps| caps.structure(0)?.get::<i32>("width").ok());
            if let (Some(buffer), Some(width)) = (info.buffer_mut(), width) {
                let ms = buffer.pts().expect("a live source stamps its buffers").mseconds();
                // The one before is through when this one comes: the same thread encodes it.
                note.store(before.swap(ms, Ordering::Relaxed), Ordering::Relaxed);
                let mut map = buffer.make_mut().map_writable().expect("raw video is writable");
                // Rows are as long as the picture is wide, which is a multiple of 4.
                paint(&mut map, usize::try_from(width).expect("a width"), ms);
            }
            gst::PadProbeReturn::Ok
        });
        Camera { pipeline, newest }
    }

    /// Waits for the end of a scene that has one.
    pub fn wait_end(&self) {
        self.pipeline.wait_eos();
    }

    pub fn port(&self) -> u16 {
        self.pipeline.port()
    }

    /// Time stamp of the newest frame that the sink has got (ms).
    pub fn newest_ms(&self) -> u64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Channel time at which time stamps are 0 (ms).
    pub fn base_ms(&self) -> f64 {
        self.pipeline.0.base_time().expect("the pipeline plays").nseconds() as f64 / 1e6
    }

    /// Lets sound through a `valve name=valve`, or not.
    pub fn sound(&self, flows: bool) {
        self.pipeline.element("valve").set_property("drop", !flows);
    }

    /// Another size from here on.
    pub fn resize(&self, width: u32, height: u32) {
        let caps: gst::Caps = caps(width, height).parse().expect("these are caps");
        self.pipeline.element("size").set_property("caps", caps);
    }
}
