//! Pipelines under test, and someone else's parser for what they send.

use gst::prelude::*;
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

/// Whatever takes longer has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A camera of 320x240 at 25 frames a second, with a keyframe each second, as encoded H.264.
pub const CAMERA: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
    ! x264enc tune=zerolatency key-int-max=25 ! h264parse";

/// One frame in each fragment, live.
pub const MUX: &str = "mp4mux fragment-duration=1 streamable=true";

/// Fragments that [`MUX`] makes of so many frames: the last two come together.
pub fn fragments_of(frames: usize) -> usize {
    frames - 1
}

/// GStreamer with the plug-in.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer is installed");
        gstfmp4ws::plugin_register_static().expect("the plug-in registers once");
    });
}

/// A pipeline that stops when it is dropped.
pub struct Pipeline(pub gst::Pipeline);

impl Pipeline {
    /// A pipeline in READY: viewers can come, and frames do not flow yet.
    pub fn ready(description: &str) -> Self {
        let pipeline = Self::null(description);
        pipeline.set(gst::State::Ready);
        pipeline
    }

    /// A pipeline that has not started.
    pub fn null(description: &str) -> Self {
        init();
        let element = gst::parse::launch(description).unwrap_or_else(|error| panic!("{description}: {error}"));
        Self(element.downcast().expect("several elements make a pipeline"))
    }

    pub fn set(&self, state: gst::State) {
        self.0.set_state(state).unwrap_or_else(|error| panic!("{error}: {:?}", self.error()));
    }

    pub fn play(&self) {
        self.set(gst::State::Playing);
    }

    pub fn element(&self, name: &str) -> gst::Element {
        self.0.by_name(name).unwrap_or_else(|| panic!("the pipeline has an element {name}"))
    }

    /// The only fmp4wssink of the pipeline.
    pub fn sink(&self) -> gst::Element {
        let mut sinks = self.0.iterate_sinks().into_iter().map(|sink| sink.expect("nobody changes the pipeline"));
        sinks.find(|sink| sink.has_property("stream-name")).expect("the pipeline has an fmp4wssink")
    }

    pub fn port(&self) -> u16 {
        u16::try_from(self.sink().property::<u32>("port")).expect("a port has 16 bits")
    }

    /// Starts when so many viewers have their places: they get everything from the first frame on.
    pub fn play_for(&self, viewers: u32) {
        let sink = self.sink();
        let (send, notified) = std::sync::mpsc::channel();
        let handler = sink.connect_notify(Some("viewers"), move |_, _| {
            let _ = send.send(());
        });
        while sink.property::<u32>("viewers") < viewers {
            notified.recv_timeout(DEADLINE).expect("the viewers come in time");
        }
        sink.disconnect(handler);
        self.play();
    }

    /// Waits until the pipeline's source has ended.
    pub fn wait_eos(&self) {
        let message = self.wait(&[gst::MessageType::Eos, gst::MessageType::Error]);
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }

    /// Waits for the error that is expected, and gives its text.
    pub fn wait_error(&self) -> String {
        match self.wait(&[gst::MessageType::Error, gst::MessageType::Eos]).view() {
            gst::MessageView::Error(error) => format!("{} {:?}", error.error(), error.debug()),
            other => panic!("an error was expected, not {other:?}"),
        }
    }

    /// Waits for a warning, and gives its text.
    pub fn wait_warning(&self) -> String {
        match self.wait(&[gst::MessageType::Warning, gst::MessageType::Error]).view() {
            gst::MessageView::Warning(warning) => warning.error().to_string(),
            other => panic!("a warning was expected, not {other:?}"),
        }
    }

    fn wait(&self, types: &[gst::MessageType]) -> gst::Message {
        let bus = self.0.bus().expect("a pipeline has a bus");
        let deadline = gst::ClockTime::from_seconds(DEADLINE.as_secs());
        bus.timed_pop_filtered(deadline, types).unwrap_or_else(|| panic!("none of {types:?} within {DEADLINE:?}"))
    }

    fn error(&self) -> Option<gst::Message> {
        self.0.bus()?.pop_filtered(&[gst::MessageType::Error])
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// What qtdemux and avdec_h264 make of a file.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub frames: usize,
    /// Of the first frame.
    pub pts: Option<gst::ClockTime>,
    pub size: (i32, i32),
}

/// Decodes a file with GStreamer; corrupt frames are an error.
pub fn decode(file: &Path) -> Decoded {
    let location = file.display();
    let pipeline = Pipeline::null(&format!(
        "filesrc location={location} ! qtdemux ! h264parse ! avdec_h264 output-corrupt=false ! fakesink name=out"
    ));
    let (send, frames) = std::sync::mpsc::channel();
    let pad = pipeline.element("out").static_pad("sink").expect("a sink has a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let caps = pad.current_caps().expect("decoded video has caps");
        let structure = caps.structure(0).expect("caps are fixed");
        let size = (structure.get("width").expect("a width"), structure.get("height").expect("a height"));
        let _ = send.send((info.buffer().expect("a buffer probe").pts(), size));
        gst::PadProbeReturn::Ok
    });
    pipeline.play();
    pipeline.wait_eos();
    let frames: Vec<_> = frames.try_iter().collect();
    let first = frames.first().copied().unwrap_or_default();
    Decoded { frames: frames.len(), pts: first.0, size: first.1 }
}
