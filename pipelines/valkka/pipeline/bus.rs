//! Messages of the bus as events for the frontend.
//!
//! | event | value |
//! | --- | --- |
//! | `state` | `{"state","was"}` of the pipeline |
//! | `error`, `warning` | `{"source","message","debug"}` |
//! | `eos` | null |
//! | `element` | `{"source","name","fields"}`: what an element says, as those of `valkkashmsink` do |
//! | `count` | `{"element","property","value"}`: `readers` of a channel, `viewers` of a web sink; at each change |
//! | `latency` | `{"live","min_ns","max_ns"}` |
//! | `buffering` | `{"percent"}` |
//! | `qos` | `{"source","processed","dropped","jitter_ns","proportion"}`: once a second per element at most |
//! | `progress` | `{"source","code","text"}`: what `rtspsrc` is about |
//! | `flow` | what [`super::flow`] says, once a second |
//! | `reconnect` | `{"source","reason","in_s"}`: a source has failed and is tried again |

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use gst::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};
use valkka_command::Events;

use super::values::{structure_to_json, to_json};

/// Properties that count somebody, and notify.
const COUNTS: [&str; 2] = ["readers", "viewers"];

const QOS_PERIOD: Duration = Duration::from_secs(1);

/// An error or a warning.
#[derive(Debug, Serialize)]
pub struct Problem {
    /// Name of the element.
    pub source: String,
    #[serde(skip)]
    path: String,
    pub message: String,
    pub debug: Option<String>,
}

impl Problem {
    pub fn of_error(error: &gst::message::Error) -> Self {
        Self::new(error.src(), error.error().message(), error.debug())
    }

    pub fn of_source_that_ended(src: Option<&gst::Object>) -> Self {
        Self::new(src, "The camera has ended the stream.", None)
    }

    pub fn of_warning(warning: &gst::message::Warning) -> Self {
        Self::new(warning.src(), warning.error().message(), warning.debug())
    }

    fn new(src: Option<&gst::Object>, message: &str, debug: Option<gst::glib::GString>) -> Self {
        Self {
            source: src.map(|src| src.name().to_string()).unwrap_or_default(),
            path: src.map(|src| src.path_string().to_string()).unwrap_or_default(),
            message: message.to_owned(),
            debug: debug.map(|debug| debug.to_string()),
        }
    }
}

/// As gst-launch prints it.
pub fn print(what: &str, problem: &Problem) {
    eprintln!("{what}: from element {}: {}", problem.path, problem.message);
    if let Some(debug) = &problem.debug {
        eprintln!("Additional debug info:\n{debug}");
    }
}

/// What of a message is worth telling, besides what the pipeline has to heed itself.
pub fn news(message: &gst::Message, view: &gst::MessageView<'_>) -> Option<(&'static str, Value)> {
    let source = message.src().map(|src| src.name().to_string()).unwrap_or_default();
    match view {
        gst::MessageView::Element(element) => {
            let structure = element.structure()?;
            let fields = structure_to_json(structure);
            Some(("element", json!({ "source": source, "name": structure.name().as_str(), "fields": fields })))
        }
        gst::MessageView::Progress(progress) => {
            let (_, code, text) = progress.get();
            Some(("progress", json!({ "source": source, "code": code, "text": text })))
        }
        _ => None,
    }
}

/// Tells from now on how many readers and viewers there are, whenever that changes, by whatever thread it does.
pub fn tell_counts(pipeline: &gst::Pipeline, events: Events) {
    for property in COUNTS {
        let events = events.clone();
        pipeline.connect_deep_notify(Some(property), move |_, object, spec| {
            let value = to_json(&object.property_value(spec.name()));
            let element = object.name();
            let count = json!({ "element": element.as_str(), "property": property, "value": value });
            let _ = events.send("count", &count);
        });
    }
}

/// Elements that are late say so for every frame; this is what is left of it.
#[derive(Debug, Default)]
pub struct QosDigest(HashMap<String, Instant>);

impl QosDigest {
    /// The news, if the last of this element is old enough. The figures are sums: nothing is lost.
    pub fn take(&mut self, message: &gst::Message, qos: &gst::message::Qos) -> Option<Value> {
        let source = message.src().map(|src| src.name().to_string()).unwrap_or_default();
        let now = Instant::now();
        if self.0.get(&source).is_some_and(|last| now - *last < QOS_PERIOD) {
            return None;
        }
        self.0.insert(source.clone(), now);
        let (processed, dropped) = qos.stats();
        let (jitter, proportion, _) = qos.values();
        Some(json!({
            "source": source, "processed": processed.value(), "dropped": dropped.value(), "jitter_ns": jitter,
            "proportion": proportion,
        }))
    }
}
