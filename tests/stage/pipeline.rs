//! A pipeline inside the test's own process: the one end of a channel that a test looks at closely.

use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};

use super::runtime::PLUGINS;

/// A pipeline that stops with the test.
pub struct Pipeline {
    pipeline: gst::Pipeline,
}

impl Pipeline {
    /// Parses a description, as gst-launch does.
    #[track_caller]
    pub fn parse(description: &str) -> Pipeline {
        static INIT: Once = Once::new();
        INIT.call_once(|| {
            gst::init().expect("GStreamer is installed");
            gst::Registry::get().scan_path(&*PLUGINS);
        });
        let parsed = gst::parse::launch_full(description, None, gst::ParseFlags::PLACE_IN_BIN);
        let element = parsed.unwrap_or_else(|error| panic!("{error}: {description}"));
        let pipeline = match element.downcast::<gst::Pipeline>() {
            Ok(pipeline) => pipeline,
            Err(element) => {
                let pipeline = gst::Pipeline::new();
                pipeline.add(&element).expect("a parsed element has no parent");
                pipeline
            }
        };
        Pipeline { pipeline }
    }

    /// A pipeline that publishes what the test pushes into its `AppSrc`; the sink is named `sink`.
    pub fn publisher(socket: &Path, properties: &str) -> (Pipeline, AppSrc) {
        let sink = format!("valkkashmsink name=sink socket-path={} sync=false {properties}", socket.display());
        let pipeline = Pipeline::parse(&format!("appsrc name=source format=time ! {sink}"));
        let source = pipeline.element("source").downcast().expect("an appsrc is an AppSrc");
        (pipeline, source)
    }

    /// A pipeline whose `AppSink` gets what arrives by the socket; it keeps no frame back.
    pub fn subscriber(socket: &Path, properties: &str) -> (Pipeline, AppSink) {
        let source = format!("valkkashmsrc name=source socket-path={} {properties}", socket.display());
        let sink = "appsink name=sink sync=false max-buffers=1 enable-last-sample=false";
        let pipeline = Pipeline::parse(&format!("{source} ! {sink}"));
        let sink = pipeline.element("sink").downcast().expect("an appsink is an AppSink");
        (pipeline, sink)
    }

    /// Starts it.
    #[track_caller]
    pub fn play(&self) {
        self.pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    }

    /// The element of that name.
    #[track_caller]
    pub fn element(&self, name: &str) -> gst::Element {
        self.pipeline.by_name(name).unwrap_or_else(|| panic!("there is no element {name}"))
    }

    /// Its base time.
    pub fn base_time(&self) -> gst::ClockTime {
        self.pipeline.base_time().expect("it plays, so it has a base time")
    }

    /// Waits until all of it has been played.
    #[track_caller]
    pub fn wait_for_eos(&self, within: Duration) {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let limit = gst::ClockTime::try_from(within).expect("a test's time limit fits");
        let message = bus.timed_pop_filtered(limit, &[gst::MessageType::Eos, gst::MessageType::Error]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Eos(_)) => {}
            other => panic!("not within {within:?}: the end of the stream, but {other:?}"),
        }
    }

    /// Waits for an element's message of that name.
    #[track_caller]
    pub fn element_message(&self, name: &str, within: Duration) -> gst::Structure {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let deadline = Instant::now() + within;
        let wanted = [gst::MessageType::Element, gst::MessageType::Error];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = gst::ClockTime::try_from(left).expect("a test's time limit fits");
            let message = bus.timed_pop_filtered(left, &wanted);
            match message.as_ref().map(|message| message.view()) {
                None => panic!("not within {within:?}: a message {name}"),
                Some(gst::MessageView::Error(error)) => panic!("{} {:?}", error.error(), error.debug()),
                Some(_) => {}
            }
            let structure = message.as_ref().and_then(|message| message.structure());
            if let Some(structure) = structure.filter(|structure| structure.name() == name) {
                return structure.to_owned();
            }
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// Waits for the next frame.
#[track_caller]
pub fn pull(sink: &AppSink, within: Duration) -> gst::Sample {
    let limit = gst::ClockTime::try_from(within).expect("a test's time limit fits");
    sink.try_pull_sample(limit).unwrap_or_else(|| panic!("no frame within {within:?}, or the stream has ended"))
}
