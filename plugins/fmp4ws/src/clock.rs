//! What a media time means outside of the stream: channel time, and UTC.
//!
//! *Channel time* is signed nanoseconds on CLOCK_MONOTONIC: base time + running time of the pipeline. Whatever looks at
//! the same frames in another process stamps what it finds with it, so a box can be drawn on the very picture it belongs to:
//!
//! ```text
//!   channel time (ns)  = pts0  + media time × 10⁹
//!   UTC (s since 1970) = epoch + media time
//! ```
//!
//! A fragment has no clock in it. Muxers push its first sample in a buffer that still carries the frame's PTS, and that
//! relates the two. Media times are rounded to the track's timescale (mp4mux: 1/2500 s at 25 fps), so `pts0` is right within
//! one unit of it; it is told anew when it moves by more than [`MediaClock::TOLERANCE_NS`].

use nix::time::{ClockId, clock_gettime};

/// Where the media times of a stream belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaClock {
    /// Channel time of media time 0.
    pub pts0_ns: i64,
    /// UTC − channel time, when this was made.
    pub utc_offset_ns: i64,
    /// It comes from the frames' own time stamps; otherwise from the arrival of the first fragment.
    pub exact: bool,
}

impl MediaClock {
    /// Less than this is rounding and not worth a message.
    pub const TOLERANCE_NS: u64 = 1_000_000;
    /// The same of the clock on the wall, which is read twice, and set now and then.
    const UTC_TOLERANCE_NS: u64 = 50_000_000;

    /// The clock by which a frame of that channel time has that media time.
    pub fn new(channel_time_ns: i64, media_time_ns: i64, exact: bool) -> Self {
        Self {
            pts0_ns: channel_time_ns.saturating_sub(media_time_ns),
            utc_offset_ns: now_ns(ClockId::CLOCK_REALTIME).saturating_sub(channel_now_ns()),
            exact,
        }
    }

    /// UTC of media time 0, in seconds since 1970.
    pub fn epoch(&self) -> f64 {
        self.pts0_ns.saturating_add(self.utc_offset_ns) as f64 / 1e9
    }

    /// A viewer that knows `self` would notice no difference.
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.exact == other.exact
            && self.pts0_ns.abs_diff(other.pts0_ns) <= Self::TOLERANCE_NS
            && self.utc_offset_ns.abs_diff(other.utc_offset_ns) <= Self::UTC_TOLERANCE_NS
    }
}

/// The channel time of this moment.
pub fn channel_now_ns() -> i64 {
    now_ns(ClockId::CLOCK_MONOTONIC)
}

/// UTC at this moment, in seconds since 1970.
pub fn utc_now() -> f64 {
    now_ns(ClockId::CLOCK_REALTIME) as f64 / 1e9
}

fn now_ns(clock: ClockId) -> i64 {
    let time = clock_gettime(clock).expect("Linux has this clock");
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_and_pts0_are_the_same_moment() {
        let now = channel_now_ns();
        let clock = MediaClock::new(now, 2_000_000_000, true);
        assert_eq!(clock.pts0_ns, now - 2_000_000_000);
        let utc = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
        assert!((clock.epoch() + 2.0 - utc.as_secs_f64()).abs() < 1.0);
    }

    #[test]
    fn a_clock_that_was_set_is_told_anew() {
        let clock = MediaClock { pts0_ns: 0, utc_offset_ns: 0, exact: true };
        assert!(clock.agrees_with(&MediaClock { pts0_ns: 500_000, utc_offset_ns: 1_000_000, exact: true }));
        assert!(!clock.agrees_with(&MediaClock { pts0_ns: 2_000_000, ..clock }));
        assert!(!clock.agrees_with(&MediaClock { utc_offset_ns: 1_000_000_000, ..clock }));
    }
}
