//! The same loop as the analyser's, fed by GStreamer: `shmsrc ! appsink` for each camera, one thread that looks.
//!
//! It prints a message per frame as the analyser does, and with each how much processor time OpenCV has taken up to then.

use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use gst::prelude::*;
use opencv::boxed_ref::BoxedRef;
use opencv::core::{Mat, Vec3b};
use serde_json::json;
use valkka_analyse::detect::{Motion, MotionConfig};
use valkka_analyse::life::{Lives, Moment};
use valkka_analyse::message::{Detections, Object};
use valkka_analyse::track::{Ids, Tracker, TrackerConfig};

use crate::{FPS, HEIGHT, WIDTH, cost};

struct Camera {
    motion: Motion,
    tracker: Tracker,
    lives: Lives,
    sink: gst_app::AppSink,
}

/// Looks until it is killed.
pub fn play(folder: &Path, cameras: usize) {
    opencv::core::set_num_threads(1).expect("OpenCV has threads");
    let (sender, frames) = mpsc::channel();
    let mut all: Vec<Camera> = (0..cameras).map(|n| camera(folder, n, sender.clone())).collect();
    let mut in_opencv = Duration::ZERO;
    let mut out = std::io::stdout();
    while let Ok(n) = frames.recv() {
        let camera = &mut all[n];
        let Some(sample) = camera.sink.try_pull_sample(gst::ClockTime::ZERO) else { continue };
        let buffer = sample.buffer().expect("a sample has a buffer");
        let map = buffer.map_readable().expect("a frame can be read");
        let pts = i64::from_ne_bytes(map[..8].try_into().expect("eight bytes"));
        let (pixels, _) = map.as_chunks::<3>();
        let found = view(pixels, |picture| {
            let begin = cost::of_thread();
            let found = camera.motion.look(picture).expect("OpenCV looks at a frame");
            in_opencv += cost::of_thread() - begin;
            found
        });
        let frame = (0, buffer.offset());
        let moment = Moment { pts, utc: pts as f64 / 1e9, frame, size: (WIDTH as i32, HEIGHT as i32) };
        drop(map);
        let identified = camera.tracker.identify(pts, &found);
        let seen: Vec<_> = identified.ids.iter().copied().zip(&found).collect();
        camera.lives.end(&identified.lost);
        camera.lives.see(&moment, &seen, &[]);
        let objects = seen.iter().map(|(id, found)| Object::new(*id, found)).collect();
        let mut line = Detections::new("camera", "camera.rgb", &moment, objects).to_json();
        line.push(b'\n');
        let told = json!({ "opencv_us": in_opencv.as_micros() as u64 });
        if out.write_all(&line).and_then(|()| writeln!(out, "{told}")).is_err() {
            return;
        }
    }
}

fn camera(folder: &Path, n: usize, sender: mpsc::Sender<usize>) -> Camera {
    let socket = folder.join(format!("{n}.rgb"));
    let caps = format!("video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={FPS}/1");
    let description = format!(
        "shmsrc socket-path={} is-live=true do-timestamp=true ! {caps} ! appsink name=sink sync=false max-buffers=1 drop=true",
        socket.display()
    );
    let pipeline = gst::parse::launch(&description).expect("the description is right");
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("several elements");
    let sink: gst_app::AppSink = pipeline.by_name("sink").and_then(|sink| sink.downcast().ok()).expect("an appsink");
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |_| {
        let _ = sender.send(n);
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    // It plays as long as this process lives.
    std::mem::forget(pipeline);
    let config = TrackerConfig::default();
    Camera {
        motion: Motion::new(MotionConfig::default(), Vec::new()),
        tracker: Tracker::new(&config, Ids::default()),
        lives: Lives::new(&config),
        sink,
    }
}

fn view<T>(pixels: &[[u8; 3]], look: impl FnOnce(&BoxedRef<'_, Mat>) -> T) -> T {
    let rows = Mat::new_rows_cols_with_bytes::<Vec3b>(HEIGHT as i32, WIDTH as i32, pixels.as_flattened());
    look(&rows.expect("a frame has that size"))
}
