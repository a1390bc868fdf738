//! When a frame is decoded, how long it lasts, and when it is shown: said at once, before the next frame is known.
//!
//! A frame's duration is the distance to the next one, which has not come yet. So it is foretold from the frames before, and
//! what was foretold wrongly is made up for by the next ones. Browsers forgive neither holes nor steps back in *decode* times
//! (Media Source Extensions, "coded frame processing": after either they drop everything up to the next keyframe), but
//! composition offsets may be anything. So:
//!
//! ```text
//!   decode times    ├──40──┼──40──┼──40──┼─────80─────┼──40──┤    each begins where the one before said that it ends
//!   shown           0      40     80        160      200          always exactly the frame's own time
//!   offset          0      0      0         +40       0
//! ```

use std::collections::VecDeque;

/// Units in a second of the video track: that of RTP and MPEG-TS, exact for all common frame rates.
pub const TIMESCALE: u32 = 90_000;

/// What is foretold while nothing is known.
const FIRST_INTERVAL: i64 = TIMESCALE as i64 / 25;
/// Nothing lasts less: to some browsers a frame without duration is an error.
const SHORTEST: i64 = TIMESCALE as i64 / 1000;
/// A longer hole is one for the viewer as well. What comes after has a keyframe in front of it, or needs one anyway.
const LONGEST_HOLE: i64 = 60 * TIMESCALE as i64;
/// Times that fall by more than this are a new beginning, not another order of frames.
const RESTART: i64 = TIMESCALE as i64;
/// The most pictures that H.264 and H.265 can reorder.
const MAX_REORDER: usize = 16;

/// A frame's place, in units of [`TIMESCALE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    pub decode: i64,
    pub duration: u32,
    /// Shown − decode.
    pub offset: i32,
}

/// Decode times of a video track.
#[derive(Debug, Default)]
pub struct DecodeTimes {
    /// Where the next frame begins.
    next: Option<i64>,
    /// When the last frame should have been decoded.
    last_target: Option<i64>,
    /// Distances between the last frames' targets.
    intervals: VecDeque<i64>,
    /// Times of the last frames, rising; for streams that do not tell decode times.
    shown: VecDeque<i64>,
    /// How many frames may come before one that is shown earlier.
    reorder: usize,
    last_stamp: Option<i64>,
    /// Stamps that were said to be decode times fell: they are none.
    untrue: bool,
}

impl DecodeTimes {
    /// What the stream says about its order. It may say nothing, and it may be wrong: see [`Self::place`].
    pub fn expect_reorder(&mut self, frames: u32) {
        self.reorder = self.reorder.max((frames as usize).min(MAX_REORDER));
    }

    /// Places the next frame, in the order of decoding. Both times in units of [`TIMESCALE`]; `decode` if it is known.
    pub fn place(&mut self, shown: i64, decode: Option<i64>) -> Placed {
        let target = self.target(shown, decode);
        if let Some(last) = self.last_target.replace(target) {
            self.intervals.push_back((target - last).max(0));
            if self.intervals.len() > 3 {
                self.intervals.pop_front();
            }
        }
        let interval = self.interval();
        let mut decode = *self.next.get_or_insert(target);
        if target - decode > LONGEST_HOLE {
            decode = target;
        }
        // Late frames are caught up with at twice the speed, early ones waited for at half of it.
        let behind = target - decode;
        let duration = (interval + behind).clamp(interval / 2, interval * 2).max(SHORTEST);
        self.next = Some(decode + duration);
        let offset = (shown - decode).clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        Placed { decode, duration: u32::try_from(duration).unwrap_or(u32::MAX), offset }
    }

    /// Where the next frame begins.
    pub fn next(&self) -> Option<i64> {
        self.next
    }

    /// Whether a frame that is shown then begins anew, instead of being shown earlier than it is decoded.
    pub fn begins_anew(&self, shown: i64) -> bool {
        let (Some(oldest), Some(newest)) = (self.shown.front(), self.shown.back()) else { return false };
        // A single frame that was stamped far ahead leaves the others behind that one, and none behind the oldest. How far frames
        // may be apart that are out of order, is known when as many as can be have come.
        let full = self.shown.len() > MAX_REORDER;
        shown + RESTART < *oldest || full && shown + RESTART.max(MAX_REORDER as i64 * self.interval()) < *newest
    }

    /// The times of the frames to come have nothing to do with those before.
    pub fn restart(&mut self) {
        *self = Self { reorder: self.reorder, untrue: self.untrue, ..Self::default() };
    }

    /// When this frame should be decoded.
    fn target(&mut self, shown: i64, decode: Option<i64>) -> i64 {
        let position = self.shown.partition_point(|&earlier| earlier <= shown);
        // Earlier than all that can be ahead of a frame: that is no order, but a wrong stamp.
        let ordered = position > 0 || self.shown.len() <= MAX_REORDER;
        self.shown.insert(position, shown);
        if self.shown.len() > MAX_REORDER + 1 {
            self.shown.pop_front();
        }
        if let Some(decode) = decode {
            self.untrue |= self.last_stamp.is_some_and(|last| decode < last);
            self.last_stamp = Some(decode);
            if !self.untrue {
                return decode;
            }
        }
        // Frames that came before and are shown after this one.
        if ordered {
            self.reorder = self.reorder.max(self.shown.len() - 1 - position.min(self.shown.len() - 1));
        }
        // Of n frames in order of decoding, the times at which they are decoded are the n times at which frames are shown, in
        // rising order, earlier by as many frames as may be ahead.
        match self.shown.len().checked_sub(self.reorder + 1) {
            Some(index) => self.shown[index],
            None => {
                let missing = (self.reorder + 1 - self.shown.len()) as i64;
                self.shown[0] - missing * self.interval()
            }
        }
    }

    /// The middle one of the last three: a frame that is missing, or late, or early, changes nothing.
    pub fn interval(&self) -> i64 {
        let mut sorted: Vec<_> = self.intervals.iter().copied().filter(|&interval| interval > 0).collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(FIRST_INTERVAL).clamp(SHORTEST, 10 * i64::from(TIMESCALE))
    }
}

/// Times of an audio track: frames join without holes while their stamps say about the same.
#[derive(Debug, Default)]
pub struct Joined {
    next: Option<i64>,
}

/// Where a frame of sound belongs, in units of its timescale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub begin: i64,
    /// So many frames of the same length are missing just before.
    pub missing: u32,
}

impl Joined {
    /// Stamps of sound jitter (they are rounded, or come from arrival); more than this (in ms) means something.
    const TOLERANCE_MS: i64 = 40;

    /// Places the next frame; `None` when its time has been taken by others.
    pub fn place(&mut self, stamp: i64, duration: u32, timescale: u32) -> Option<Heard> {
        let duration = i64::from(duration.max(1));
        let tolerance = (i64::from(timescale) * Self::TOLERANCE_MS / 1000).max(duration);
        let next = self.next.unwrap_or(stamp);
        let (begin, missing) = match stamp - next {
            early if early < -tolerance => return None,
            late if late > tolerance => (next + late / duration * duration, late / duration),
            _ => (next, 0),
        };
        self.next = Some(begin + duration);
        Some(Heard { begin, missing: u32::try_from(missing).unwrap_or(u32::MAX) })
    }

    /// Takes the time up to `until` for frames of silence. Where each begins, of those that are not older than `most`.
    pub fn fill(&mut self, until: i64, duration: u32, most: i64) -> Vec<i64> {
        let duration = i64::from(duration.max(1));
        let Some(next) = self.next else { return Vec::new() };
        let missing = ((until - next) / duration).max(0);
        let end = next + missing * duration;
        self.next = Some(end);
        (1..=missing.min(most / duration)).rev().map(|frames| end - frames * duration).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: i64) -> i64 {
        ms * i64::from(TIMESCALE) / 1000
    }

    /// (decode, duration, offset) in ms of frames that are shown at these times, in ms.
    fn placed(times: &mut DecodeTimes, shown: &[i64]) -> Vec<(i64, i64, i64)> {
        let to_ms = |ticks: i64| ticks * 1000 / i64::from(TIMESCALE);
        let place = |&shown: &i64| {
            let placed = times.place(ms(shown), None);
            (to_ms(placed.decode), to_ms(placed.duration.into()), to_ms(placed.offset.into()))
        };
        shown.iter().map(place).collect()
    }

    #[test]
    fn regular_frames_are_foretold() {
        let all = placed(&mut DecodeTimes::default(), &[1000, 1040, 1080, 1120]);
        assert_eq!(all, [(1000, 40, 0), (1040, 40, 0), (1080, 40, 0), (1120, 40, 0)]);
    }

    #[test]
    fn a_missing_frame_leaves_no_hole_in_decode_times() {
        let all = placed(&mut DecodeTimes::default(), &[0, 40, 80, 160, 200, 240]);
        assert_eq!(all, [(0, 40, 0), (40, 40, 0), (80, 40, 0), (120, 80, 40), (200, 40, 0), (240, 40, 0)]);
    }

    #[test]
    fn another_rate_is_learnt() {
        let all = placed(&mut DecodeTimes::default(), &[0, 40, 80, 280, 480, 680, 880, 1080, 1280, 1480]);
        assert_eq!(all.last(), Some(&(1480, 200, 0)), "{all:?}");
    }

    #[test]
    fn frames_out_of_order_are_decoded_in_the_order_that_they_come() {
        let mut times = DecodeTimes::default();
        times.expect_reorder(1);
        // I P B B P B B
        let all = placed(&mut times, &[1000, 1120, 1040, 1080, 1240, 1160, 1200]);
        let decoded: Vec<_> = all.iter().map(|frame| frame.0).collect();
        assert_eq!(decoded, [960, 1000, 1040, 1080, 1120, 1160, 1200]);
        assert!(all.iter().all(|frame| frame.2 >= 0), "{all:?}");
    }

    #[test]
    fn the_order_is_learnt_where_the_stream_does_not_tell_it() {
        let mut times = DecodeTimes::default();
        let group = |start: i64| [start + 120, start + 40, start + 80];
        let shown: Vec<i64> = std::iter::once(0).chain((0..20).flat_map(|group_at| group(group_at * 120))).collect();
        let all = placed(&mut times, &shown);
        for frame in &all[20..] {
            assert!(frame.1 == 40 && (0..=120).contains(&frame.2), "{all:?}");
        }
    }

    #[test]
    fn one_picture_that_is_stamped_earlier_teaches_no_order() {
        let mut times = DecodeTimes::default();
        let regular = |from: i64| (from..from + 20).map(|frame| frame * 40).collect::<Vec<_>>();
        placed(&mut times, &regular(0));
        placed(&mut times, &[20]);
        let all = placed(&mut times, &regular(21));
        assert!(all[5..].iter().all(|&(_, duration, offset)| (duration, offset) == (40, 0)), "{all:?}");
    }

    #[test]
    fn stamps_that_fall_are_no_decode_times() {
        let mut times = DecodeTimes::default();
        for shown in [0, 120, 40, 80, 240, 160, 200, 360, 280, 320] {
            times.place(ms(shown), Some(ms(shown)));
        }
        let placed = times.place(ms(480), Some(ms(480)));
        assert!((ms(0)..=ms(200)).contains(&i64::from(placed.offset)), "{placed:?}");
    }

    #[test]
    fn sound_is_joined_unless_something_is_missing() {
        let mut times = Joined::default();
        let mut place = |stamp| times.place(stamp, 1024, 48_000).map(|heard| (heard.begin, heard.missing));
        let places = [0, 1030, 2040, 3072, 9000, 10_000].map(&mut place);
        assert_eq!(places, [(0, 0), (1024, 0), (2048, 0), (3072, 0), (8192, 4), (9216, 0)].map(Some));
        assert_eq!(place(0), None);
        assert_eq!(place(10_240), Some((10_240, 0)));
    }

    #[test]
    fn silence_takes_the_place_of_sound_that_does_not_come() {
        let mut times = Joined::default();
        assert_eq!(times.fill(5000, 1000, 3000), [0; 0]);
        times.place(0, 1000, 48_000);
        assert_eq!(times.fill(3999, 1000, 3000), [1000, 2000]);
        assert_eq!(times.fill(9000, 1000, 3000), [6000, 7000, 8000]);
        assert_eq!(times.place(6000, 1000, 48_000), None);
        assert_eq!(times.place(9010, 1000, 48_000), Some(Heard { begin: 9000, missing: 0 }));
    }

    proptest! {
        #[test]
        fn decode_times_rise_without_holes_and_what_is_shown_is_exact(
            steps in prop::collection::vec((0i64..200_000, prop::option::of(-20_000i64..20_000)), 1..60),
        ) {
            let mut times = DecodeTimes::default();
            let (mut stamp, mut expected) = (0, None);
            for (step, decode) in steps {
                stamp += step;
                let shown = stamp + decode.unwrap_or(0);
                let placed = times.place(shown, decode.map(|_| stamp));
                prop_assert_eq!(placed.decode, expected.unwrap_or(placed.decode));
                prop_assert!(placed.duration >= 90);
                prop_assert_eq!(placed.decode + i64::from(placed.offset), shown);
                expected = Some(placed.decode + i64::from(placed.duration));
            }
        }
    }
}
