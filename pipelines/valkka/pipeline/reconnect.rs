//! Sources that come back: an RTSP camera that went away is asked again, while everything behind it stays.
//!
//! A camera that restarts would otherwise end the whole pipeline, and with it the channels that it writes. Here only
//! `rtspsrc` is stopped and started again. Whoever reads the channels sees a pause and then frames that go on in the same time.
//!
//! ```text
//! error of rtspsrc ──► its end of stream is kept from the rest ──► source to NULL ──► pause ──► source plays again
//!                                                                                        ▲             │ error
//!                                                                                        └─────────────┘
//! ```
//!
//! The first failure before any data came is the user's to see: a wrong address or password ends the pipeline.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gst::prelude::*;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(10);
/// Attempts in a row that failed; then the process ends, and whoever started it decides.
const ATTEMPTS: u32 = 5;

/// Name of the message that a source's stream has ended.
pub const SOURCE_ENDED: &str = "valkka-source-ended";

/// All sources of a pipeline that may come back.
#[derive(Debug, Default)]
pub struct Reconnect {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    element: gst::Element,
    links: Arc<Links>,
    failures: u32,
    /// When it is tried again.
    next: Option<Instant>,
}

/// What a source's pads were linked to, by the kind of media.
#[derive(Debug, Default)]
struct Links {
    peers: Mutex<HashMap<String, gst::Pad>>,
    /// Data has come since the last attempt.
    delivers: AtomicBool,
    /// The end of stream is meant.
    ends: AtomicBool,
}

impl Reconnect {
    /// Watches every `rtspsrc` of the pipeline.
    pub fn prepare(pipeline: &gst::Pipeline) -> Self {
        let is_rtsp = |element: &gst::Element| element.factory().is_some_and(|factory| factory.name() == "rtspsrc");
        let elements = pipeline.iterate_elements().into_iter().flatten();
        Self { sources: elements.filter(is_rtsp).map(Source::watch).collect() }
    }

    /// When there is something to do.
    pub fn next(&self) -> Option<Instant> {
        self.sources.iter().filter_map(|source| source.next).min()
    }

    /// The source of this message has failed. If that is no reason to end: after which pause it is tried again.
    pub fn takes(&mut self, message: &gst::Message) -> Option<Duration> {
        let src = message.src()?;
        let its_own = |source: &&mut Source| *src == source.element || src.has_as_ancestor(&source.element);
        self.sources.iter_mut().find(its_own)?.failed()
    }

    /// Starts those again whose pause is over.
    pub fn retry(&mut self, pipeline: &gst::Pipeline) {
        let now = Instant::now();
        for source in self.sources.iter_mut().filter(|source| source.next.is_some_and(|at| at <= now)) {
            source.next = None;
            if source.element.sync_state_with_parent().is_err() {
                // It tells why, as an error on the bus.
                continue;
            }
            // A live source that was added while all others play has them ask again how late it is.
            let _ = pipeline.recalculate_latency();
        }
    }

    /// The pipeline is to end: nothing is kept from it any more.
    pub fn give_up(&mut self) {
        for source in &mut self.sources {
            source.links.ends.store(true, Ordering::SeqCst);
            source.next = None;
        }
    }
}

impl Source {
    fn watch(element: gst::Element) -> Self {
        let links = Arc::new(Links::default());
        let of_pads = links.clone();
        element.connect_pad_added(move |_, pad| of_pads.pad_added(pad));
        Self { element, links, failures: 0, next: None }
    }

    fn failed(&mut self) -> Option<Duration> {
        if let Some(next) = self.next {
            // More errors of the same failure.
            return Some(next.saturating_duration_since(Instant::now()));
        }
        if self.links.delivers.swap(false, Ordering::SeqCst) {
            self.failures = 0;
        }
        if self.links.peers.lock().expect("nothing panics under this lock").is_empty() || self.failures >= ATTEMPTS {
            return None;
        }
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures += 1;
        self.next = Some(Instant::now() + pause);
        // Its pads go; what they were linked to stays as it is.
        let _ = self.element.set_state(gst::State::Null);
        Some(pause)
    }
}

impl Links {
    fn pad_added(self: &Arc<Self>, pad: &gst::Pad) {
        let links = self.clone();
        let watched = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(watched, move |pad, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(_) | gst::PadProbeData::BufferList(_)) => {
                    links.delivers.store(true, Ordering::Relaxed);
                }
                Some(gst::PadProbeData::Event(event))
                    if event.type_() == gst::EventType::Eos && !links.ends.load(Ordering::SeqCst) =>
                {
                    tell_end(pad);
                    // Not `Drop`: GStreamer 1.22 complains of an event that the binding has taken and let go.
                    return gst::PadProbeReturn::Handled;
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
        let Some(media) = media(pad) else { return };
        let mut peers = self.peers.lock().expect("nothing panics under this lock");
        match peers.get(&media).cloned() {
            // Linked by the description the first time, before or after this; from then on it is for us to do.
            None => match pad.peer() {
                Some(peer) => drop(peers.insert(media, peer)),
                None => {
                    let links = self.clone();
                    pad.connect_linked(move |_, peer| {
                        let mut peers = links.peers.lock().expect("nothing panics under this lock");
                        peers.entry(media.clone()).or_insert_with(|| peer.clone());
                    });
                }
            },
            Some(peer) => {
                drop(peers);
                if !pad.is_linked() && !peer.is_linked() {
                    // A camera that sends something else now fails in words of its own: not-linked.
                    let _ = pad.link(&peer);
                }
            }
        }
    }
}

/// A camera that hangs up makes no error, only the end of its stream, which is kept from the rest.
fn tell_end(pad: &gst::Pad) {
    if let Some(element) = pad.parent_element() {
        let structure = gst::Structure::new_empty(SOURCE_ENDED);
        let _ = element.post_message(gst::message::Application::builder(structure).src(&element).build());
    }
}

/// `video`, `audio`: what the RTP packets of a pad carry.
fn media(pad: &gst::Pad) -> Option<String> {
    let caps = pad.current_caps().or_else(|| Some(pad.query_caps(None)))?;
    caps.structure(0)?.get::<String>("media").ok()
}
