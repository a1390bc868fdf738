//! One stream and its viewers: where the pipeline's thread hands over to the server's.
//!
//! The element publishes; nothing here waits for a viewer. Each viewer has a [`Queue`] of its own, and its session
//! ([`crate::session`]) takes from it at the pace of its connection. The fragments since the newest keyframe are kept, so
//! that a viewer has a picture at once however far apart keyframes are.

use crate::clock::MediaClock;
use crate::delay::Delays;
use crate::mp4::{Fragment, Init};
use crate::queue::{Queue, Room};
use crate::rate::{PerSecond, Rate};
use crate::viewer::{Viewer, ViewerReport};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a stream allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At the same time; 0 for any number.
    pub max_viewers: usize,
    /// For each viewer's queue.
    pub queue: Room,
}

/// How a viewer gets the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Messages, over WebSocket.
    Mse,
    /// One endless file.
    Mp4,
}

/// Who wants to see a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    pub way: Way,
    /// It understands more than go2rtc's messages.
    pub ext: bool,
    /// Where it comes from.
    pub peer: String,
}

impl Visitor {
    /// Over WebSocket.
    pub fn mse(ext: bool, peer: &str) -> Self {
        Self { way: Way::Mse, ext, peer: peer.into() }
    }

    /// As a file.
    pub fn film(peer: &str) -> Self {
        Self { way: Way::Mp4, ext: false, peer: peer.into() }
    }
}

/// What the element is told, from any thread and without a lock held.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A viewer has come.
    Added(ViewerReport),
    /// It is gone.
    Removed(ViewerReport),
    /// A viewer waits for a keyframe that may be far away; repeated with each fragment until one comes.
    KeyframeWanted,
    /// Something is wrong that whoever runs this can mend; it goes on meanwhile.
    Warning(String),
}

type Listener = Box<dyn Fn(Notice) + Send + Sync>;

/// A stream with its viewers.
pub struct Stream {
    name: String,
    limits: Limits,
    listener: Listener,
    state: Mutex<State>,
    /// Signalled when a viewer leaves.
    left: Condvar,
    delays: Delays,
}

#[derive(Default)]
struct State {
    init: Option<Arc<Init>>,
    clock: Option<MediaClock>,
    gop: Gop,
    eos: bool,
    closed: bool,
    viewers: Vec<Arc<Viewer>>,
    counters: Counters,
    /// Somebody has asked for a keyframe, and none has come since.
    keyframe_wanted: bool,
    /// Of the viewers that have left, and of what concerns no single one.
    totals: Totals,
    rate: Rate,
}

/// What the stream has carried.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Counters {
    /// Fragments of all tracks.
    pub fragments: u64,
    /// Those at which a viewer can start.
    pub keyframes: u64,
    /// Samples of the main track.
    pub frames: u64,
    /// Bytes of the fragments.
    pub bytes: u64,
    /// Init segments.
    pub inits: u64,
    /// Frames that could not be read and were left out.
    pub broken_frames: u64,
    /// Init segments of H.264 that leave open how far pictures are reordered (no bitstream_restriction in the VUI): decoders
    /// in hardware then hold back up to 16 pictures. The camera's or the encoder's settings may help.
    pub unbounded_reorder: u64,
}

/// What has become of it, over all viewers that ever were.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Viewers that came.
    pub joined: u64,
    /// Viewers that `max-viewers` turned away.
    pub refused: u64,
    pub sent_fragments: u64,
    pub sent_bytes: u64,
    /// What viewers missed because they were slow.
    pub dropped_frames: u64,
    pub dropped_bytes: u64,
    /// How often upstream was asked for a keyframe.
    pub keyframe_requests: u64,
}

impl Totals {
    fn add(&mut self, viewer: &ViewerReport) {
        self.sent_fragments += viewer.sent_fragments;
        self.sent_bytes += viewer.sent_bytes;
        self.dropped_frames += viewer.dropped_frames;
        self.dropped_bytes += viewer.dropped_bytes;
    }
}

/// The fragments since the newest keyframe, as long as they are few enough.
#[derive(Default)]
struct Gop {
    fragments: Vec<Arc<Fragment>>,
    bytes: usize,
}

impl Gop {
    fn add(&mut self, fragment: &Arc<Fragment>, max_bytes: usize) {
        if fragment.keyframe {
            self.clear();
        } else if self.fragments.is_empty() {
            return;
        }
        self.bytes += fragment.data.len();
        self.fragments.push(fragment.clone());
        if self.bytes > max_bytes {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.fragments.clear();
        self.bytes = 0;
    }
}

/// A viewer's place in a stream; dropping it leaves.
pub struct Seat {
    stream: Arc<Stream>,
    viewer: Arc<Viewer>,
}

impl Seat {
    /// The stream that is watched.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The viewer's side of it.
    pub fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// A fragment of that many bytes went out, that waited `since` then.
    pub fn sent(&self, bytes: usize, since: Instant) {
        self.viewer.count_sent(bytes);
        self.stream.delays.observe(since.elapsed());
    }

    /// The viewer wants no media for now.
    pub fn pause(&self) {
        self.viewer.push(Queue::pause);
    }

    /// It wants media again. It gets a picture at once, as if it came anew.
    pub fn resume(&self) {
        let state = self.stream.state();
        let now = Instant::now();
        self.viewer.push(|queue| {
            if queue.resume() {
                for fragment in &state.gop.fragments {
                    queue.push_fragment(fragment, now);
                }
            }
        });
    }

    /// It wants a keyframe.
    pub fn want_keyframe(&self) {
        self.stream.want_keyframe();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.stream.state();
        state.viewers.retain(|viewer| viewer.id() != self.viewer.id());
        let report = self.viewer.report();
        state.totals.add(&report);
        drop(state);
        self.stream.left.notify_all();
        (self.stream.listener)(Notice::Removed(report));
    }
}

/// Why a viewer has no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// `max-viewers`.
    #[error("the stream has its {0} viewers already")]
    Full(usize),
    /// The element has stopped.
    #[error("the stream has ended")]
    Closed,
}

impl Stream {
    /// A stream without media. `listener` may be called from any thread.
    pub fn new(name: &str, limits: Limits, listener: impl Fn(Notice) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            limits,
            listener: Box::new(listener),
            state: Mutex::default(),
            left: Condvar::new(),
            delays: Delays::default(),
        })
    }

    /// By which viewers ask for it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new init segment: the stream begins, or has changed.
    pub fn publish_init(&self, init: &Arc<Init>) {
        let mut state = self.state();
        state.init = Some(init.clone());
        state.gop.clear();
        state.clock = None;
        state.eos = false;
        state.counters.inits += 1;
        state.counters.unbounded_reorder += u64::from(init.main().unbounded_reorder);
        state.viewers.iter().for_each(|viewer| viewer.push(|queue| queue.push_init(init.clone())));
    }

    /// The next fragment; `clock` as far as it is known.
    pub fn publish(&self, fragment: &Arc<Fragment>, clock: Option<MediaClock>) {
        let now = Instant::now();
        if self.state().eos {
            // The source goes on after its end (a file that is played again). Viewers have closed the book: it begins anew.
            let init = self.state().init.clone();
            init.iter().for_each(|init| self.publish_init(init));
        }
        let mut state = self.state();
        let State { counters, gop, rate, keyframe_wanted, .. } = &mut *state;
        *keyframe_wanted &= !fragment.keyframe;
        rate.add(now, fragment.frames, fragment.data.len());
        counters.fragments += 1;
        counters.keyframes += u64::from(fragment.keyframe);
        counters.frames += u64::from(fragment.frames);
        counters.bytes += fragment.data.len() as u64;
        gop.add(fragment, self.limits.queue.bytes / 2);
        let news = clock.filter(|clock| !state.clock.is_some_and(|known| known.agrees_with(clock)));
        if news.is_some() {
            state.clock = news;
        }
        // As long as it does not come: a wish may have met with the limit on their number.
        let mut keyframe_wanted = state.keyframe_wanted;
        for viewer in &state.viewers {
            viewer.push(|queue| {
                if let Some(clock) = news {
                    queue.push_clock(clock);
                }
                keyframe_wanted |= queue.push_fragment(fragment, now);
            });
        }
        drop(state);
        if keyframe_wanted {
            (self.listener)(Notice::KeyframeWanted);
        }
    }

    /// A frame could not be read.
    pub fn count_broken(&self) {
        self.state().counters.broken_frames += 1;
    }

    /// A viewer asks for a keyframe, or nothing can be published before the next one.
    pub fn want_keyframe(&self) {
        self.state().keyframe_wanted = true;
        (self.listener)(Notice::KeyframeWanted);
    }

    /// Tells whoever runs this that something is wrong.
    pub fn warn(&self, words: String) {
        (self.listener)(Notice::Warning(words));
    }

    /// The source has ended.
    pub fn publish_eos(&self) {
        let mut state = self.state();
        if std::mem::replace(&mut state.eos, true) {
            return;
        }
        state.viewers.iter().for_each(|viewer| viewer.push(Queue::push_eos));
    }

    /// The element stops: viewers get what waits for them, and the connections are closed. Waits for that, but not for long.
    pub fn close(&self, patience: Duration) {
        let mut state = self.state();
        state.closed = true;
        state.viewers.iter().for_each(|viewer| viewer.close());
        let left = self.left.wait_timeout_while(state, patience, |state| !state.viewers.is_empty());
        drop(left.unwrap_or_else(PoisonError::into_inner));
    }

    /// A viewer comes. It gets the init segment and what it needs to show the newest picture at once.
    pub fn join(self: &Arc<Self>, visitor: Visitor) -> Result<Seat, Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if self.limits.max_viewers > 0 && state.viewers.len() >= self.limits.max_viewers {
            state.totals.refused += 1;
            return Err(Refused::Full(self.limits.max_viewers));
        }
        let mut queue = Queue::new(self.limits.queue);
        if let Some(init) = &state.init {
            queue.push_init(init.clone());
        }
        let now = Instant::now();
        for fragment in &state.gop.fragments {
            queue.push_fragment(fragment, now);
        }
        if state.eos {
            queue.push_eos();
        }
        state.totals.joined += 1;
        // Over all streams: one that is slow may leave its stream when the next one has viewers already.
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let viewer = Arc::new(Viewer::new(NEXT_ID.fetch_add(1, Ordering::Relaxed), visitor, queue));
        state.viewers.push(viewer.clone());
        drop(state);
        (self.listener)(Notice::Added(viewer.report()));
        Ok(Seat { stream: self.clone(), viewer })
    }

    /// How many look at it.
    pub fn viewers(&self) -> usize {
        self.state().viewers.len()
    }

    /// What media times mean, once known.
    pub fn clock(&self) -> Option<MediaClock> {
        self.state().clock
    }

    /// Frames and bits in a second at this time.
    pub fn rate(&self) -> PerSecond {
        self.state().rate.per_second(Instant::now())
    }

    /// How long fragments wait for their viewers.
    pub fn delays(&self) -> &Delays {
        &self.delays
    }

    /// Upstream was asked for a keyframe.
    pub fn count_keyframe_request(&self) {
        self.state().totals.keyframe_requests += 1;
    }

    /// All about it, for people and programs.
    pub fn report(&self) -> Report {
        let state = self.state();
        let main = state.init.as_ref().map(|init| init.main());
        let viewers: Vec<_> = state.viewers.iter().map(|viewer| viewer.report()).collect();
        let mut totals = state.totals;
        viewers.iter().for_each(|viewer| totals.add(viewer));
        Report {
            mime: state.init.as_ref().map(|init| init.mime()),
            codecs: state.init.as_ref().map(|init| init.codecs()),
            width: main.map_or(0, |track| track.width),
            height: main.map_or(0, |track| track.height),
            timescale: main.map_or(0, |track| track.timescale),
            eos: state.eos,
            rate: state.rate.per_second(Instant::now()),
            counters: state.counters,
            totals,
            viewers,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// See [`Stream::report`].
#[derive(Debug, Serialize)]
pub struct Report {
    /// `video/mp4; codecs="..."`; nothing before the first init segment.
    pub mime: Option<String>,
    /// The codecs alone.
    pub codecs: Option<String>,
    /// Pixels; 0 for sound alone.
    pub width: u16,
    /// See `width`.
    pub height: u16,
    /// Of the main track, in a second.
    pub timescale: u32,
    /// The source has ended.
    pub eos: bool,
    #[serde(flatten)]
    pub rate: PerSecond,
    #[serde(flatten)]
    pub counters: Counters,
    pub totals: Totals,
    pub viewers: Vec<ViewerReport>,
}

/// A panic elsewhere leaves what is behind these locks whole: counters, queues, settings.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::samples::{fragment, init, parse_parts};
    use crate::queue::Item;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    const LIMITS: Limits = Limits { max_viewers: 2, queue: Room { bytes: 10_000, age: None } };

    fn waiting(seat: &Seat) -> usize {
        std::iter::from_fn(|| seat.viewer.take()).filter(|item| matches!(item, Item::Fragment { .. })).count()
    }

    #[test]
    fn a_late_viewer_gets_the_fragments_since_the_newest_keyframe() {
        let stream = Stream::new("cam", LIMITS, |_| {});
        let bytes =
            [init(false), fragment(1, 0, true, b"K"), fragment(1, 40, true, b"K"), fragment(1, 80, false, b"d")];
        let (init, fragments) = parse_parts(&bytes.concat());
        stream.publish_init(&init);
        fragments.iter().for_each(|fragment| stream.publish(fragment, None));
        let seat = stream.join(Visitor::mse(true, "here")).expect("there is room");
        assert_eq!(waiting(&seat), 2);
    }

    #[test]
    fn a_keyframe_is_asked_for_only_when_none_is_kept() {
        let wanted = Arc::new(AtomicUsize::new(0));
        let count = wanted.clone();
        let stream = Stream::new("cam", LIMITS, move |notice| {
            count.fetch_add(usize::from(notice == Notice::KeyframeWanted), Relaxed);
        });
        let large = fragment(1, 0, true, &[0; 6000]);
        let rest = [fragment(1, 40, false, b"d"), fragment(1, 80, true, b"K"), fragment(1, 120, false, b"d")].concat();
        let (init, fragments) = parse_parts(&[init(false), large, rest].concat());
        stream.publish_init(&init);
        stream.publish(&fragments[0], None);
        let _first = stream.join(Visitor::mse(true, "here")).expect("there is room");
        stream.publish(&fragments[1], None);
        assert_eq!(wanted.load(Relaxed), 1);
        stream.publish(&fragments[2], None);
        let _second = stream.join(Visitor::mse(true, "here")).expect("there is room");
        stream.publish(&fragments[3], None);
        assert_eq!(wanted.load(Relaxed), 1);
    }

    #[test]
    fn a_stream_that_goes_on_after_its_end_begins_anew() {
        let stream = Stream::new("cam", LIMITS, |_| {});
        let bytes = [init(false), fragment(1, 0, true, b"K"), fragment(1, 40, true, b"K")];
        let (init, fragments) = parse_parts(&bytes.concat());
        let seat = stream.join(Visitor::mse(true, "here")).expect("there is room");
        stream.publish_init(&init);
        stream.publish(&fragments[0], None);
        assert_eq!(waiting(&seat), 1);
        stream.publish_eos();
        stream.publish_eos();
        stream.publish(&fragments[1], None);
        let items: Vec<_> = std::iter::from_fn(|| seat.viewer.take()).collect();
        assert!(matches!(&items[..], [Item::Eos, Item::Init(_), Item::Fragment { after_gap: false, .. }]), "{items:?}");
        assert!(!stream.report().eos);
    }

    #[test]
    fn a_wish_for_a_keyframe_is_repeated_until_one_comes() {
        let wanted = Arc::new(AtomicUsize::new(0));
        let count = wanted.clone();
        let stream = Stream::new("cam", LIMITS, move |notice| {
            count.fetch_add(usize::from(notice == Notice::KeyframeWanted), Relaxed);
        });
        let rest = [fragment(1, 40, false, b"d"), fragment(1, 80, true, b"K"), fragment(1, 120, false, b"d")].concat();
        let (init, fragments) = parse_parts(&[init(false), fragment(1, 0, true, b"K"), rest].concat());
        stream.publish_init(&init);
        stream.publish(&fragments[0], None);
        stream.want_keyframe();
        let asked = fragments[1..].iter().map(|fragment| {
            stream.publish(fragment, None);
            wanted.load(Relaxed)
        });
        assert_eq!(asked.collect::<Vec<_>>(), [2, 2, 2]);
    }

    #[test]
    fn no_viewer_of_a_stream_that_starts_again_has_the_number_of_one_before() {
        let seats = [(); 2].map(|()| {
            let stream = Stream::new("cam", LIMITS, |_| {});
            stream.join(Visitor::mse(true, "here")).expect("there is room")
        });
        assert_ne!(seats[0].viewer().id(), seats[1].viewer().id());
    }

    #[test]
    fn viewers_are_counted_and_limited() {
        let stream = Stream::new("cam", LIMITS, |_| {});
        let first = stream.join(Visitor::mse(true, "here")).expect("there is room");
        let _second = stream.join(Visitor::film("there")).expect("there is room");
        assert_eq!(stream.join(Visitor::mse(true, "here")).err(), Some(Refused::Full(2)));
        drop(first);
        assert_eq!(stream.viewers(), 1);
        let totals = stream.report().totals;
        assert_eq!((totals.joined, totals.refused), (2, 1));
        stream.close(Duration::ZERO);
        assert_eq!(stream.join(Visitor::mse(true, "here")).err(), Some(Refused::Closed));
    }
}
