//! Once a second: what flows. The orchestrator touches no frame; from this it knows that a camera lives, who reads, and which
//! branch may rest.
//!
//! Event `flow`: `{"frames":N,"channels":[{"channel","published","readers","branch","resting"}]}`. `frames` are those that
//! entered the pipeline: counted where it forks (`tee`), or at its sinks where it does not. `branch` names the `valve` that
//! everything on the channel has to pass, if there is one.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use serde::Serialize;

const PERIOD: Duration = Duration::from_secs(1);

/// Counts what enters, and knows the channels.
#[derive(Debug)]
pub struct Flow {
    frames: Vec<Arc<AtomicU64>>,
    channels: Vec<(gst::Element, Option<gst::Element>)>,
    next: Instant,
}

/// Value of the event.
#[derive(Debug, Serialize)]
pub struct Flowing {
    frames: u64,
    channels: Vec<Channel>,
}

#[derive(Debug, Serialize)]
struct Channel {
    channel: String,
    published: u64,
    readers: u32,
    branch: Option<String>,
    resting: bool,
}

impl Flow {
    /// Watches a pipeline that does not play yet.
    pub fn watch(pipeline: &gst::Pipeline) -> Self {
        let all: Vec<_> = pipeline.iterate_recurse().into_iter().flatten().collect();
        let of = |factory: &str| all.iter().filter(|element| is_a(element, factory)).cloned().collect::<Vec<_>>();
        let sinks = of("valkkashmsink");
        let (tees, fallback) = (of("tee"), sinks.clone());
        let counted = if tees.is_empty() { fallback } else { tees };
        let pads = counted.iter().filter_map(|element| element.static_pad("sink"));
        let channels = sinks.into_iter().map(|sink| {
            let valve = valve_above(&sink);
            (sink, valve)
        });
        Self {
            frames: pads.map(|pad| count(&pad)).collect(),
            channels: channels.collect(),
            next: Instant::now() + PERIOD,
        }
    }

    /// When there is something to tell.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// What there is to tell, if it is time.
    pub fn take(&mut self) -> Option<Flowing> {
        let now = Instant::now();
        if now < self.next {
            return None;
        }
        self.next = now + PERIOD;
        // A fork behind a fork passes the same frames: not a sum.
        let frames = self.frames.iter().map(|count| count.load(Ordering::Relaxed)).max().unwrap_or(0);
        Some(Flowing {
            frames,
            channels: self.channels.iter().map(|(sink, valve)| Channel::of(sink, valve.as_ref())).collect(),
        })
    }
}

impl Channel {
    fn of(sink: &gst::Element, valve: Option<&gst::Element>) -> Self {
        let stats = sink.property::<Option<gst::Structure>>("stats");
        Self {
            channel: sink.property::<Option<String>>("channel").unwrap_or_default(),
            published: stats.and_then(|stats| stats.get("frames").ok()).unwrap_or(0),
            readers: sink.property("readers"),
            branch: valve.map(|valve| valve.name().to_string()),
            resting: valve.is_some_and(|valve| valve.property("drop")),
        }
    }
}

/// Whether it is what branches begin with that can rest.
pub fn is_valve(element: &gst::Element) -> bool {
    is_a(element, "valve")
}

fn is_a(element: &gst::Element, factory: &str) -> bool {
    element.factory().is_some_and(|made_by| made_by.name() == factory)
}

fn count(pad: &gst::Pad) -> Arc<AtomicU64> {
    let frames = Arc::new(AtomicU64::new(0));
    let counted = frames.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    frames
}

/// The named valve through which everything comes to an element: upwards as long as there is one way, and up to the
/// next fork. A decoder that is plugged in later leaves a gap in the links: the search goes on above the decoder that stands
/// before the gap in the description.
fn valve_above(sink: &gst::Element) -> Option<gst::Element> {
    let mut at = sink.clone();
    let (mut seen, mut crossed) = (HashSet::new(), false);
    while seen.insert(at.name()) {
        let mut pads = at.sink_pads();
        let (Some(pad), true) = (pads.pop(), pads.is_empty()) else { return None };
        let above = match pad.peer().and_then(|peer| peer.parent_element()) {
            Some(above) => above,
            // A source whose pads come later leaves a gap as well: behind the first there is nothing to be found.
            None if crossed => return None,
            None => {
                crossed = true;
                gap_above(&at)?
            }
        };
        if is_a(&above, "valve") {
            return Some(above);
        }
        if is_a(&above, "tee") {
            return None;
        }
        at = above;
    }
    None
}

/// The nearest decoder before this element whose outputs are not there yet.
fn gap_above(below: &gst::Element) -> Option<gst::Element> {
    let pipeline = below.parent()?.downcast::<gst::Bin>().ok()?;
    let is_open = |element: &gst::Element| element.num_src_pads() == 0 && element.num_sink_pads() > 0;
    // A bin has its elements in the order of the description, the last first.
    let before = pipeline.iterate_elements().into_iter().flatten().skip_while(|element| element != below).skip(1);
    before.into_iter().find(|element| is_open(element) && !is_sink(element))
}

fn is_sink(element: &gst::Element) -> bool {
    element.element_flags().contains(gst::ElementFlags::SINK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valve_of(description: &str) -> Option<String> {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(description).unwrap().downcast::<gst::Pipeline>().unwrap();
        valve_above(&pipeline.by_name("end").unwrap()).map(|valve| valve.name().to_string())
    }

    #[test]
    fn the_valve_above_a_channel_is_found_also_across_a_decoder_that_is_not_plugged_yet() {
        assert_eq!(valve_of("videotestsrc ! valve name=v ! queue ! fakesink name=end").as_deref(), Some("v"));
        assert_eq!(valve_of("videotestsrc ! queue ! fakesink name=end"), None);
        assert_eq!(
            valve_of("videotestsrc ! valve name=v ! tee name=t ! queue ! fakesink name=end t. ! fakesink"),
            None
        );
        assert_eq!(
            valve_of("videotestsrc ! valve name=v ! decodebin3 ! queue ! fakesink name=end").as_deref(),
            Some("v")
        );
    }

    #[test]
    fn a_camera_with_sound_has_two_decoders_and_one_valve() {
        let both = |picture: &str, sound: &str| {
            format!(
                "rtspsrc name=c c. ! application/x-rtp,media=video ! queue ! tee name=t t. ! queue ! valve name=v \
                 ! decodebin3 ! videorate ! fakesink {picture} c. ! application/x-rtp,media=audio ! queue ! decodebin \
                 ! audioconvert ! fakesink {sound}"
            )
        };
        assert_eq!(valve_of(&both("name=end", "")).as_deref(), Some("v"));
        assert_eq!(valve_of(&both("", "name=end")), None);
    }
}
