//! Channel time, and how it becomes the running time of a pipeline and back.
//!
//! A frame's channel time is a signed number of nanoseconds on `CLOCK_MONOTONIC`: the base time of the pipeline that
//! wrote it plus the frame's running time. Two pipelines with the default clock share that time line, so a frame keeps
//! its age over processes:
//!
//! ```text
//!  writer   base time ─────────── running time ───────────► ●  channel time
//!  reader              base time ───── running time ──────► ●  (PTS = running time: the segment starts at 0)
//! ```
//!
//! A pipeline with another clock has an offset between that clock and `CLOCK_MONOTONIC`, which drifts. Both elements
//! measure it anew for each frame. Who uses it: `valkkashmsink` (to channel time) and `valkkashmsrc` (to running time).

use gst::prelude::*;

/// Where a pipeline's running time 0 lies on `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin(i64);

impl Origin {
    /// Of the pipeline that `element` is in; None before it has a clock and a base time.
    pub fn of(element: &impl IsA<gst::Element>, known: &mut KnownClock) -> Option<Self> {
        let clock = element.clock()?;
        let base = signed(element.base_time()?);
        Some(Self(base.saturating_add(known.offset_to_monotonic(clock))))
    }

    /// For an element without a clock: the frame with this running time happens now.
    pub fn anchored_now(running_time: i64) -> Self {
        Self(frame_ring::monotonic_now().saturating_sub(running_time))
    }

    /// For an element without a clock: what has this channel time has running time 0.
    pub fn at(channel_time: i64) -> Self {
        Self(channel_time)
    }

    /// Channel time of something with this running time.
    pub fn channel_time(self, running_time: i64) -> i64 {
        self.0.saturating_add(running_time)
    }

    /// Running time of something with this channel time. What is older than the pipeline itself becomes 0.
    pub fn running_time(self, channel_time: i64) -> gst::ClockTime {
        let running = channel_time.saturating_sub(self.0);
        gst::ClockTime::from_nseconds(u64::try_from(running).unwrap_or(0))
    }
}

/// The clock that a pipeline had last. What kind it is stays the same, and is asked once and not for each frame.
#[derive(Debug, Default)]
pub struct KnownClock(Option<(gst::Clock, bool)>);

impl KnownClock {
    /// `CLOCK_MONOTONIC` minus `clock`, in ns; exactly 0 for GStreamer's default clock.
    fn offset_to_monotonic(&mut self, clock: gst::Clock) -> i64 {
        let known = self.0.take().filter(|(last, _)| *last == clock);
        let (clock, monotonic) = self.0.insert(known.unwrap_or_else(|| {
            let monotonic = is_monotonic(&clock);
            (clock, monotonic)
        }));
        if *monotonic && !is_calibrated(clock) {
            return 0;
        }
        // The clock is read between two readings of the other one; their middle is what it is compared with.
        let before = frame_ring::monotonic_now();
        let time = signed(clock.time());
        let after = frame_ring::monotonic_now();
        before + (after - before) / 2 - time
    }
}

fn is_monotonic(clock: &gst::Clock) -> bool {
    // Network clocks are subclasses: only the system clock itself counts.
    clock.type_() == gst::SystemClock::static_type()
        && clock.property::<gst::ClockType>("clock-type") == gst::ClockType::Monotonic
}

/// Has somebody made it follow another clock? May happen at any time.
fn is_calibrated(clock: &gst::Clock) -> bool {
    let (internal, external, numerator, denominator) = clock.calibration();
    internal != external || numerator != denominator
}

/// Clock times are unsigned 64 bit; 292 years fit into the signed half.
fn signed(time: gst::ClockTime) -> i64 {
    i64::try_from(time.nseconds()).unwrap_or(i64::MAX)
}

/// Signed running time of a position in a segment; None when the segment is not in time or has no answer.
pub fn running_time(segment: &gst::Segment, position: gst::ClockTime) -> Option<i64> {
    let segment = segment.downcast_ref::<gst::ClockTime>()?;
    match segment.to_running_time_full(position)? {
        gst::Signed::Positive(time) => Some(signed(time)),
        gst::Signed::Negative(time) => Some(-signed(time)),
    }
}

/// Keeps decoding times from going back: they travel relative to PTS, and a new writer may begin before the old one's
/// last frame was due.
#[derive(Debug, Default)]
pub struct RisingDts {
    last: Option<gst::ClockTime>,
}

impl RisingDts {
    /// `dts`, or the last one when it lies before that.
    pub fn next(&mut self, dts: gst::ClockTime) -> gst::ClockTime {
        let dts = self.last.map_or(dts, |last| dts.max(last));
        self.last = Some(dts);
        dts
    }
}

/// Tells frames apart that are older than the reading pipeline. Their running time is 0 for all of them, and parsers
/// take what has one time for parts of one picture: all but the first would lose their time.
#[derive(Debug, Default)]
pub struct EarlyPts {
    count: u64,
}

impl EarlyPts {
    /// `pts`, or for each that is 0 a nanosecond more than for the one before.
    pub fn next(&mut self, pts: gst::ClockTime) -> gst::ClockTime {
        if pts > gst::ClockTime::ZERO {
            return pts;
        }
        let pts = gst::ClockTime::from_nseconds(self.count);
        self.count += 1;
        pts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_older_than_the_reading_pipeline_have_times_of_their_own() {
        let mut early = EarlyPts::default();
        let times = [0, 0, 0, 7_000_000].map(|ns| early.next(gst::ClockTime::from_nseconds(ns)).nseconds());
        assert_eq!(times, [0, 1, 2, 7_000_000]);
    }

    #[test]
    fn frame_keeps_its_age_over_two_pipelines() {
        let (writer, reader) = (Origin(1_000_000), Origin(1_400_000));
        let time = writer.channel_time(500_000);
        assert_eq!(time, 1_500_000);
        assert_eq!(reader.running_time(time), gst::ClockTime::from_nseconds(100_000));
    }

    #[test]
    fn what_is_older_than_the_reading_pipeline_becomes_zero() {
        let reader = Origin(1_000);
        assert_eq!(reader.running_time(999), gst::ClockTime::ZERO);
        assert_eq!(reader.running_time(i64::MIN), gst::ClockTime::ZERO);
    }

    #[test]
    fn extreme_times_saturate() {
        assert_eq!(Origin(i64::MAX).channel_time(i64::MAX), i64::MAX);
        assert_eq!(Origin(i64::MIN).running_time(i64::MAX).nseconds(), i64::MAX as u64);
    }

    #[test]
    fn default_clock_has_no_offset() {
        gst::init().expect("GStreamer starts");
        let mut known = KnownClock::default();
        for _ in 0..2 {
            assert_eq!(known.offset_to_monotonic(gst::SystemClock::obtain()), 0);
        }
    }

    #[test]
    fn another_clock_is_measured() {
        gst::init().expect("GStreamer starts");
        let mut known = KnownClock::default();
        assert_eq!(known.offset_to_monotonic(gst::SystemClock::obtain()), 0);
        let clock = glib_clock(gst::ClockType::Realtime);
        let realtime = signed(clock.time());
        let found = known.offset_to_monotonic(clock);
        let expected = frame_ring::monotonic_now() - realtime;
        assert_ne!(found, 0);
        assert!((found - expected).abs() < 2_000_000_000, "{found} is not near {expected}");
    }

    #[test]
    fn default_clock_that_is_calibrated_later_is_measured() {
        gst::init().expect("GStreamer starts");
        let (clock, mut known) = (glib_clock(gst::ClockType::Monotonic), KnownClock::default());
        assert_eq!(known.offset_to_monotonic(clock.clone()), 0);
        let hour = gst::ClockTime::from_seconds(3600);
        clock.set_calibration(gst::ClockTime::ZERO, hour, 1, 1);
        assert!(known.offset_to_monotonic(clock) < -signed(hour) / 2);
    }

    #[test]
    fn negative_running_times_survive() {
        gst::init().expect("GStreamer starts");
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(gst::ClockTime::from_seconds(10));
        let running = running_time(segment.upcast_ref(), gst::ClockTime::from_seconds(9));
        assert_eq!(running, Some(-1_000_000_000));
    }

    #[test]
    fn decoding_times_never_go_back() {
        let mut dts = RisingDts::default();
        let ns = gst::ClockTime::from_nseconds;
        assert_eq!(dts.next(ns(5)), ns(5));
        assert_eq!(dts.next(ns(3)), ns(5));
        assert_eq!(dts.next(ns(8)), ns(8));
    }

    fn glib_clock(kind: gst::ClockType) -> gst::Clock {
        gst::glib::Object::builder::<gst::SystemClock>().property("clock-type", kind).build().upcast()
    }
}
