//! `valkka rtsp-server`: the demo's cameras, in a process of their own.
//!
//! Serves H.264 of generated [`scene`]s or of video files ([`footage`]) at `rtsp://127.0.0.1:PORT/NAME`, and prints
//! these addresses, one a line, once they can be used. A camera starts with its first viewer, its viewers share it,
//! and it rests after the last.

mod canvas;
mod font;
mod footage;
mod scene;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use gst::{glib, prelude::*};
use gst_rtsp_server::{RTSPMedia, RTSPMediaFactory, RTSPServer, prelude::*};

use self::{footage::Footage, scene::Scene};

/// Two seconds between keyframes at the most: a new viewer waits for one. One thread, thus one slice per picture: the
/// payloader of GStreamer 1.22 puts parameter sets before each slice of a keyframe, which tears it in two.
const LAUNCH: &str = "( appsrc name=pictures is-live=true format=time block=true max-buffers=4 max-bytes=0 \
                      ! videoconvert ! video/x-raw,format=I420 \
                      ! x264enc tune=zerolatency speed-preset=superfast threads=1 bframes=0 key-int-max=40 bitrate=2500 \
                      ! video/x-h264,profile=main,stream-format=byte-stream,alignment=au \
                      ! rtph264pay name=pay0 pt=96 config-interval=-1 )";

/// Elements that must be installed for it.
pub const ELEMENTS: [&str; 5] = ["appsrc", "videoconvert", "x264enc", "rtph264pay", "decodebin"];

/// A camera that is only pretended.
#[derive(Clone, Debug)]
pub struct Pretended {
    pub name: String,
    pub view: View,
}

/// What it looks at.
#[derive(Clone, Debug)]
pub enum View {
    /// A generated scene, by number.
    Scene(usize),
    /// A video file, in a loop.
    File(PathBuf),
}

/// Serves until the process ends. `port_file` keeps the port from one start to the next.
pub fn serve(cameras: &[Pretended], port: u16, port_file: Option<&Path>) -> Result<()> {
    gst::init().context("GStreamer cannot be initialised")?;
    for camera in cameras {
        if let View::File(path) = &camera.view {
            // Now, with a message that somebody reads, rather than at the first viewer.
            Footage::open(path)?.next()?;
        }
    }
    let server = RTSPServer::new();
    server.set_address("127.0.0.1");
    server.set_service(&remembered_port(port_file).unwrap_or(port).to_string());
    let mounts = server.mount_points().context("an RTSP server has mount points")?;
    for camera in cameras {
        mounts.add_factory(&format!("/{}", camera.name), factory(camera.clone()));
    }
    let _attached = server.attach(None).context("the RTSP server cannot listen: its port is taken")?;
    let Ok(port @ 1..) = u16::try_from(server.bound_port()) else { bail!("the RTSP server has no port") };
    if let Some(file) = port_file {
        fs::write(file, port.to_string()).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    for camera in cameras {
        println!("rtsp://127.0.0.1:{port}/{}", camera.name);
    }
    // Forever: the process ends by signal.
    glib::MainLoop::new(None, false).run();
    Ok(())
}

fn remembered_port(file: Option<&Path>) -> Option<u16> {
    fs::read_to_string(file?).ok()?.trim().parse().ok()
}

fn factory(camera: Pretended) -> RTSPMediaFactory {
    let factory = RTSPMediaFactory::new();
    factory.set_launch(LAUNCH);
    factory.set_shared(true);
    factory.connect_media_configure(move |_, media| begin(media, &camera));
    factory
}

/// From the moment that the media wants pictures, a thread brings them. It ends with the media.
fn begin(media: &RTSPMedia, camera: &Pretended) {
    let bin = media.element().downcast::<gst::Bin>().expect("a launch description in brackets is a bin");
    let pictures = bin.by_name_recurse_up("pictures").expect("it stands in the description");
    let pictures = pictures.downcast::<gst_app::AppSrc>().expect("it is one");
    let once = Mutex::new(Some(camera.clone()));
    let need_data = move |pictures: &gst_app::AppSrc, _: u32| {
        if let Some(camera) = once.lock().expect("nothing panics under this lock").take() {
            let pictures = pictures.clone();
            let run = move || bring_pictures(&pictures, &camera);
            thread::Builder::new().name("pictures".into()).spawn(run).expect("a thread can be started");
        }
    };
    pictures.set_callbacks(gst_app::AppSrcCallbacks::builder().need_data(need_data).build());
}

/// Pushes each picture when its time has come, until nobody takes them any more.
fn bring_pictures(to: &gst_app::AppSrc, camera: &Pretended) {
    let mut source = match Source::open(camera) {
        Ok(source) => source,
        Err(error) => return eprintln!("ERROR: {}: {error:#}", camera.name),
    };
    let base = to.current_running_time().unwrap_or(gst::ClockTime::ZERO);
    let start = Instant::now();
    loop {
        let (sample, time) = match source.next() {
            Ok(next) => next,
            Err(error) => return eprintln!("ERROR: {}: {error:#}", camera.name),
        };
        thread::sleep(Duration::from(time).saturating_sub(start.elapsed()));
        let (Some(mut buffer), Some(caps)) = (sample.buffer_owned(), sample.caps_owned()) else { continue };
        let stamped = buffer.make_mut();
        stamped.set_pts(base + time);
        stamped.set_dts(gst::ClockTime::NONE);
        // The media was stopped: its last viewer has left.
        if to.push_sample(&gst::Sample::builder().buffer(&buffer).caps(&caps).build()).is_err() {
            return;
        }
    }
}

/// Pictures with their times since the first.
enum Source {
    Scene { scene: Box<Scene>, caps: gst::Caps, count: u64 },
    Footage(Footage),
}

impl Source {
    fn open(camera: &Pretended) -> Result<Self> {
        Ok(match &camera.view {
            View::File(path) => Self::Footage(Footage::open(path)?),
            View::Scene(number) => {
                let caps = gst::Caps::builder("video/x-raw")
                    .field("format", "BGRx")
                    .field("width", scene::WIDTH as i32)
                    .field("height", scene::HEIGHT as i32)
                    .field("framerate", gst::Fraction::new(scene::FPS as i32, 1))
                    .build();
                Self::Scene { scene: Box::new(Scene::new(&camera.name, *number)), caps, count: 0 }
            }
        })
    }

    fn next(&mut self) -> Result<(gst::Sample, gst::ClockTime)> {
        match self {
            Self::Footage(footage) => Ok(footage.next()?),
            Self::Scene { scene, caps, count } => {
                let time = gst::ClockTime::from_nseconds(*count * 1_000_000_000 / u64::from(scene::FPS));
                *count += 1;
                let clock = glib::DateTime::now_local().and_then(|now| now.format("%Y-%m-%d %H:%M:%S"));
                let clock = clock.unwrap_or_default();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let buffer = gst::Buffer::from_slice(scene.at(now.as_secs_f64(), &clock).to_vec());
                Ok((gst::Sample::builder().buffer(&buffer).caps(caps).build(), time))
            }
        }
    }
}
