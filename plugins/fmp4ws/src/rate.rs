//! Frames and bits in a second, over the last seconds.

use serde::Serialize;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(5);
/// Fragments that are looked at, at most: sound alone can have hundreds in a second.
const MAX_MARKS: usize = 2000;

/// When how much came.
#[derive(Debug, Default)]
pub struct Rate(VecDeque<Mark>);

#[derive(Debug)]
struct Mark {
    at: Instant,
    frames: u32,
    bytes: usize,
}

/// What the stream carries at this time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PerSecond {
    pub frames_per_second: f64,
    pub bits_per_second: f64,
}

impl Rate {
    /// A fragment came.
    pub fn add(&mut self, at: Instant, frames: u32, bytes: usize) {
        while self.0.len() >= MAX_MARKS || self.0.front().is_some_and(|first| at - first.at > WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(Mark { at, frames, bytes });
    }

    /// As seen from `now`: a stream that stands still slows down to 0.
    pub fn per_second(&self, now: Instant) -> PerSecond {
        let mut marks = self.0.iter().filter(|mark| now.saturating_duration_since(mark.at) <= WINDOW);
        // What came with the first mark came in the time before it.
        let Some(first) = marks.next() else { return PerSecond::default() };
        let (mut frames, mut bytes, mut count, mut last) = (0, 0, 0, first.at);
        for mark in marks {
            frames += u64::from(mark.frames);
            bytes += mark.bytes as u64;
            count += 1;
            last = mark.at;
        }
        if count == 0 {
            return PerSecond::default();
        }
        // Until the last mark, unless the next one is overdue.
        let span = last - first.at;
        let step = span / count;
        let seconds = if now.saturating_duration_since(last) > step * 2 { now - first.at } else { span }.as_secs_f64();
        if seconds <= 0.0 {
            return PerSecond::default();
        }
        PerSecond { frames_per_second: frames as f64 / seconds, bits_per_second: bytes as f64 * 8.0 / seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_and_a_stopped_one_none() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(start), PerSecond::default());
        for index in 0..1000 {
            rate.add(at(index * 40), 1, 1000);
        }
        let now = rate.per_second(at(999 * 40));
        assert!(
            (now.frames_per_second - 25.0).abs() < 0.01 && (now.bits_per_second - 200_000.0).abs() < 100.0,
            "{now:?}"
        );
        assert!(rate.per_second(at(999 * 40 + 2500)).frames_per_second < 15.0);
        assert_eq!(rate.per_second(at(999 * 40 + 6000)), PerSecond::default());
        assert!(rate.0.len() <= 126);
    }

    #[test]
    fn everything_in_one_moment_is_no_rate() {
        let now = Instant::now();
        let mut rate = Rate::default();
        (0..3000).for_each(|_| rate.add(now, 1, 10));
        assert_eq!((rate.per_second(now), rate.0.len()), (PerSecond::default(), MAX_MARKS));
    }
}
