//! What waits for one viewer: bounded in bytes and in age, and always something that a decoder can play.
//!
//! ```text
//!            keyframe                    no room, or too old
//!   Start ────────────► Flowing ──────────────────────────► Skipping
//!    ▲ ▲                  │  ▲                                 │
//!    │ └──── new init ────┘  └──── keyframe: told as Drop ─────┘
//!    └─── resume ─── Paused ◄─── pause, from anywhere
//! ```
//!
//! When there is no room, or the oldest has waited too long, the oldest goes, up to a keyframe that is waiting too; without one
//! everything goes, and the viewer continues at the next keyframe. Either way it is told what it missed, once, just before what
//! comes after. What passes during a pause was not wanted, and is no loss.

use crate::clock::MediaClock;
use crate::mp4::{Fragment, Init};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One thing for a viewer.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// What follows needs this init segment.
    Init(Arc<Init>),
    /// What media times mean from now on.
    Clock(MediaClock),
    /// Media, that waits `since` then. `after_gap`: what came before it was left out.
    Fragment { fragment: Arc<Fragment>, after_gap: bool, since: Instant },
    /// What was left out.
    Drop(Skipped),
    /// The source has ended.
    Eos,
}

/// What a viewer did not get.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Samples of the main track.
    pub frames: u64,
    /// Bytes of the fragments.
    pub bytes: u64,
}

impl Skipped {
    fn add(&mut self, fragment: &Fragment) {
        self.frames += u64::from(fragment.frames);
        self.bytes += fragment.data.len() as u64;
    }

    fn merge(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

#[derive(Debug)]
enum State {
    /// Nothing was given since the init segment: waits for a keyframe, and nothing is missed.
    Start,
    Flowing,
    /// Fell behind: waits for a keyframe.
    Skipping(Skipped),
    /// Wants nothing.
    Paused,
}

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Of fragments; one always fits, however large.
    pub bytes: usize,
    /// `None` for any.
    pub age: Option<Duration>,
}

/// The queue of one viewer.
#[derive(Debug)]
pub struct Queue {
    items: VecDeque<Item>,
    state: State,
    /// Bytes of the fragments in `items`.
    bytes: usize,
    room: Room,
    /// All that was ever left out.
    skipped: Skipped,
}

impl Queue {
    /// Nothing waits.
    pub fn new(room: Room) -> Self {
        Self { items: VecDeque::new(), state: State::Start, bytes: 0, room, skipped: Skipped::default() }
    }

    /// Another init segment. Of several that wait, only the newest matters.
    pub fn push_init(&mut self, init: Arc<Init>) {
        if self.items.iter().any(|item| matches!(item, Item::Init(_))) {
            let skipped = self.cut(self.items.len());
            self.items.retain(|item| !matches!(item, Item::Init(_)));
            if skipped != Skipped::default() {
                self.skip(skipped);
            }
        }
        self.items.push_back(Item::Init(init));
        if matches!(self.state, State::Flowing) {
            self.state = State::Start;
        }
    }

    /// Media times mean something else from here on.
    pub fn push_clock(&mut self, clock: MediaClock) {
        if let Some(Item::Clock(last)) = self.items.back_mut() {
            *last = clock;
        } else {
            self.items.push_back(Item::Clock(clock));
        }
    }

    /// The source has ended. What is missing at the end is told as well: no keyframe comes to tell it with.
    pub fn push_eos(&mut self) {
        self.tell_skipped();
        self.items.push_back(Item::Eos);
    }

    /// The viewer wants no media for now. What it was to be told stays.
    pub fn pause(&mut self) {
        self.tell_skipped();
        self.items.retain(|item| !matches!(item, Item::Fragment { .. }));
        self.bytes = 0;
        self.state = State::Paused;
    }

    /// It wants media again, from a keyframe on. Whether it was paused.
    pub fn resume(&mut self) -> bool {
        let paused = self.paused();
        if paused {
            self.state = State::Start;
        }
        paused
    }

    /// See [`Self::pause`].
    pub fn paused(&self) -> bool {
        matches!(self.state, State::Paused)
    }

    fn tell_skipped(&mut self) {
        if let State::Skipping(skipped) = self.state {
            self.items.push_back(Item::Drop(skipped));
            self.state = State::Start;
        }
    }

    /// The next fragment of the stream. Whether the viewer waits for a keyframe after it.
    pub fn push_fragment(&mut self, fragment: &Arc<Fragment>, now: Instant) -> bool {
        let fits = self.bytes == 0 || (self.bytes + fragment.data.len() <= self.room.bytes && !self.too_old(now));
        match &mut self.state {
            State::Paused => return false,
            State::Start if !fragment.keyframe => {}
            State::Start => self.append(fragment, false, now),
            State::Skipping(skipped) if !fragment.keyframe => {
                skipped.add(fragment);
                self.skipped.add(fragment);
            }
            State::Skipping(_) => self.append(fragment, true, now),
            State::Flowing if fits => self.append(fragment, false, now),
            State::Flowing => self.overflow(fragment, now),
        }
        !matches!(self.state, State::Flowing)
    }

    /// The next item to send.
    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Fragment { fragment, .. } = &item {
            self.bytes -= fragment.data.len();
        }
        Some(item)
    }

    /// Bytes of media that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long the oldest of it has waited.
    pub fn age(&self, now: Instant) -> Duration {
        let oldest = self.items.iter().find_map(|item| match item {
            Item::Fragment { since, .. } => Some(*since),
            _ => None,
        });
        oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn too_old(&self, now: Instant) -> bool {
        self.room.age.is_some_and(|max| self.age(now) > max)
    }

    /// What this viewer missed in all.
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    fn append(&mut self, fragment: &Arc<Fragment>, after_gap: bool, since: Instant) {
        if let State::Skipping(skipped) = std::mem::replace(&mut self.state, State::Flowing) {
            self.items.push_back(Item::Drop(skipped));
        }
        self.bytes += fragment.data.len();
        self.items.push_back(Item::Fragment { fragment: fragment.clone(), after_gap, since });
    }

    fn overflow(&mut self, fragment: &Arc<Fragment>, now: Instant) {
        if fragment.keyframe {
            let skipped = self.cut(self.items.len());
            self.skip(skipped);
            self.append(fragment, true, now);
        } else if let Some(keyframe) = self.resume_point(fragment.data.len(), now) {
            let skipped = self.cut(keyframe);
            let resumes = self.items.iter().position(|item| matches!(item, Item::Fragment { .. }));
            let resumes = resumes.expect("the cut ended before a fragment");
            if let Item::Fragment { after_gap, .. } = &mut self.items[resumes] {
                *after_gap = true;
            }
            self.items.insert(resumes, Item::Drop(skipped));
            self.append(fragment, false, now);
        } else {
            let mut skipped = self.cut(self.items.len());
            skipped.add(fragment);
            self.skipped.add(fragment);
            self.skip(skipped);
        }
    }

    /// The first waiting keyframe that is young enough and, when all before it goes, leaves room for `bytes` more.
    fn resume_point(&self, bytes: usize, now: Instant) -> Option<usize> {
        let mut freed = 0;
        let young = |since| self.room.age.is_none_or(|max| now.saturating_duration_since(since) <= max);
        self.items.iter().position(|item| {
            let Item::Fragment { fragment, since, .. } = item else { return false };
            let fits = self.bytes - freed + bytes <= self.room.bytes;
            let resumes = freed > 0 && fragment.keyframe && fits && young(*since);
            freed += fragment.data.len();
            resumes
        })
    }

    /// Takes the media out of the first `count` items, and what was told of earlier gaps; what is left keeps its order.
    fn cut(&mut self, count: usize) -> Skipped {
        let mut skipped = Skipped::default();
        let mut index = 0;
        let mut cut_bytes = 0;
        let mut cut_now = Skipped::default();
        self.items.retain(|item| {
            index += 1;
            match item {
                Item::Fragment { fragment, .. } if index <= count => {
                    cut_bytes += fragment.data.len();
                    cut_now.add(fragment);
                    false
                }
                Item::Drop(earlier) if index <= count => {
                    skipped.merge(*earlier);
                    false
                }
                _ => true,
            }
        });
        self.bytes -= cut_bytes;
        self.skipped.merge(cut_now);
        skipped.merge(cut_now);
        skipped
    }

    fn skip(&mut self, skipped: Skipped) {
        match &mut self.state {
            State::Skipping(already) => already.merge(skipped),
            State::Start | State::Flowing => self.state = State::Skipping(skipped),
            State::Paused => self.items.push_back(Item::Drop(skipped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::samples;

    /// Fragments as in `"K40 d10 d10"`: a keyframe or not, and its payload's bytes.
    fn fragments(description: &str) -> Vec<Arc<Fragment>> {
        let mut stream = samples::init(true);
        for (index, word) in description.split(' ').enumerate() {
            let (kind, size) = word.split_at(1);
            let payload = vec![0; size.parse().expect("a size")];
            let track = if kind == "s" { 2 } else { 1 };
            stream.extend(samples::fragment(track, index as u64 * 40, kind == "K" || kind == "s", &payload));
        }
        samples::parse_parts(&stream).1
    }

    /// What a viewer would get, as tfdt/40 of the fragments, `!` for those after a gap, `x` and a number of frames for gaps.
    fn drained(queue: &mut Queue) -> String {
        let words = std::iter::from_fn(|| queue.pop()).map(|item| match item {
            Item::Fragment { fragment, after_gap, .. } => {
                format!("{}{}", fragment.runs[0].tfdt / 40, if after_gap { "!" } else { "" })
            }
            Item::Drop(skipped) => format!("x{}", skipped.frames),
            Item::Init(_) => "init".into(),
            Item::Clock(_) => "clock".into(),
            Item::Eos => "eos".into(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn bytes(bytes: usize) -> Room {
        Room { bytes, age: None }
    }

    fn filled(max_bytes: usize, description: &str) -> Queue {
        let mut queue = Queue::new(bytes(max_bytes));
        push_all(&mut queue, description);
        queue
    }

    /// After how many of them the viewer waits for a keyframe.
    fn push_all(queue: &mut Queue, description: &str) -> usize {
        fragments(description).iter().filter(|fragment| queue.push_fragment(fragment, Instant::now())).count()
    }

    #[test]
    fn a_viewer_starts_at_a_keyframe_and_has_missed_nothing() {
        let mut queue = filled(10_000, "d10 s10 K10 d10 s10");
        assert_eq!(drained(&mut queue), "2 3 4");
        assert_eq!((queue.skipped(), queue.bytes()), (Skipped::default(), 0));
    }

    #[test]
    fn without_room_everything_goes_until_the_next_keyframe() {
        let mut queue = filled(2000, "K700 d700 d700 d700 s10");
        assert_eq!((drained(&mut queue), queue.bytes()), (String::new(), 0));
        push_all(&mut queue, "d5 d5 K5 d5");
        assert_eq!(drained(&mut queue), "x6 2! 3");
        assert_eq!(queue.skipped().frames, 6);
    }

    #[test]
    fn what_is_missing_at_the_end_is_told() {
        let mut queue = filled(2000, "K700 d700 d700 d700");
        queue.push_eos();
        assert_eq!(drained(&mut queue), "x4 eos");
    }

    #[test]
    fn who_waits_for_a_keyframe_says_so() {
        let mut queue = Queue::new(bytes(2000));
        assert_eq!(push_all(&mut queue, "d10 d10 K700 d700"), 2);
        assert_eq!(push_all(&mut queue, "d700 d700 K10 d10"), 2);
    }

    #[test]
    fn a_waiting_keyframe_is_where_a_slow_viewer_continues() {
        let mut queue = filled(2400, "K700 d700 K300 d10 d700");
        assert_eq!(drained(&mut queue), "x2 2! 3 4");
    }

    #[test]
    fn a_keyframe_without_room_takes_the_place_of_all_before_it() {
        let mut queue = filled(2000, "K700 d700 K700");
        assert_eq!(drained(&mut queue), "x2 2!");
    }

    #[test]
    fn a_gap_that_was_not_told_yet_grows() {
        let mut queue = filled(1000, "K700 d700 K700 d700 K700");
        assert_eq!(drained(&mut queue), "x4 4!");
        assert_eq!(queue.skipped().frames, 4);
    }

    #[test]
    fn a_fragment_larger_than_the_room_still_passes() {
        let mut queue = filled(100, "K5000");
        assert_eq!(drained(&mut queue), "0");
    }

    #[test]
    fn of_several_waiting_init_segments_the_newest_counts() {
        let (init, _) = samples::parse_parts(&samples::init(true));
        let mut queue = Queue::new(bytes(10_000));
        queue.push_init(init.clone());
        push_all(&mut queue, "K10 d10");
        queue.push_init(init.clone());
        push_all(&mut queue, "d10 K10");
        assert_eq!(drained(&mut queue), "init x3 1!");
        queue.push_init(init);
        push_all(&mut queue, "d10 K10");
        queue.push_eos();
        assert_eq!(drained(&mut queue), "init 1 eos");
    }

    #[test]
    fn what_waits_too_long_gives_way_to_the_next_keyframe_that_is_young_enough() {
        let mut queue = Queue::new(Room { bytes: 10_000, age: Some(Duration::from_millis(100)) });
        let start = Instant::now();
        let at = |index: usize| start + Duration::from_millis(index as u64 * 40);
        // At 120 ms the first has waited too long, and the keyframe of 40 ms has not.
        for (index, fragment) in fragments("K10 K10 d10 d10").iter().enumerate() {
            queue.push_fragment(fragment, at(index));
        }
        assert_eq!(queue.age(at(3)), Duration::from_millis(80));
        assert_eq!(drained(&mut queue), "x1 1! 2 3");
        // Without such a keyframe everything goes.
        for (index, fragment) in fragments("K10 d10 d10 d10 d10 K10 d10").iter().enumerate() {
            queue.push_fragment(fragment, at(index));
        }
        assert_eq!(drained(&mut queue), "x5 5! 6");
        assert_eq!((queue.skipped().frames, queue.age(at(9))), (6, Duration::ZERO));
    }

    #[test]
    fn a_pause_costs_nothing_and_ends_at_a_keyframe() {
        let mut queue = filled(2000, "K700 d700 d700");
        queue.pause();
        assert_eq!(push_all(&mut queue, "K700 d700 d700"), 0);
        assert_eq!((queue.bytes(), queue.paused()), (0, true));
        queue.push_init(samples::parse_parts(&samples::init(true)).0);
        queue.push_eos();
        assert!(queue.resume() && !queue.resume());
        push_all(&mut queue, "d10 K10 d10");
        assert_eq!(drained(&mut queue), "x3 init eos 1 2");
        assert_eq!(queue.skipped().frames, 3);
    }

    proptest::proptest! {
        #[test]
        fn any_stream_stays_within_the_room_and_playable(
            sizes in proptest::collection::vec((proptest::bool::weighted(0.2), 1usize..900, 0usize..3), 1..80),
        ) {
            let description: Vec<_> =
                sizes.iter().map(|(key, size, _)| format!("{}{size}", if *key { 'K' } else { 'd' })).collect();
            let mut queue = Queue::new(bytes(2500));
            let (mut last, mut given, mut told) = (None, 0, 0);
            let mut take = |queue: &mut Queue| match queue.pop() {
                Some(Item::Fragment { fragment, after_gap, .. }) => {
                    let index = fragment.runs[0].tfdt / 40;
                    // Either the next of the stream, or a keyframe.
                    assert!(fragment.keyframe || last == Some(index - 1));
                    assert_eq!(after_gap, last.is_some_and(|last| last + 1 != index) || (after_gap && last.is_none()));
                    last = Some(index);
                    given += 1;
                    true
                }
                Some(Item::Drop(skipped)) => {
                    told += skipped.frames;
                    true
                }
                Some(_) => true,
                None => false,
            };
            let all = fragments(&description.join(" "));
            let first = all.iter().position(|fragment| fragment.keyframe).unwrap_or(all.len());
            for (fragment, (_, _, takes)) in all.iter().zip(&sizes) {
                queue.push_fragment(fragment, Instant::now());
                proptest::prop_assert!(queue.bytes() <= 2500);
                for _ in 0..*takes {
                    take(&mut queue);
                }
            }
            while take(&mut queue) {}
            let untold = match queue.state { State::Skipping(skipped) => skipped.frames, _ => 0 };
            proptest::prop_assert_eq!(told, queue.skipped().frames - untold);
            proptest::prop_assert_eq!(given + queue.skipped().frames, (all.len() - first) as u64);
        }
    }
}
