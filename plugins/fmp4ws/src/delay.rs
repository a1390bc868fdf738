//! How long fragments wait for their viewers here, as a histogram.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds in seconds; what takes longer than the last is counted without one.
pub const BOUNDS: [f64; 12] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// From arrival in the sink to the operating system's hands, for every fragment that was sent.
#[derive(Debug, Default)]
pub struct Delays {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What was measured so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Fragments up to each bound that are not below the one before; the last bound is infinity.
    pub buckets: Vec<(f64, u64)>,
    /// Seconds in all.
    pub sum: f64,
    pub count: u64,
}

impl Delays {
    /// Another fragment was sent.
    pub fn observe(&self, delay: Duration) {
        let seconds = delay.as_secs_f64();
        let index = BOUNDS.iter().position(|&bound| seconds <= bound).unwrap_or(BOUNDS.len());
        // Relaxed: counters that stand for themselves.
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// All of them.
    pub fn histogram(&self) -> Histogram {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = BOUNDS.into_iter().chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Histogram { buckets, sum: self.nanoseconds.load(Ordering::Relaxed) as f64 / 1e9, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_counted_by_their_length() {
        let delays = Delays::default();
        for us in [300, 500, 700, 60_000, 9_000_000] {
            delays.observe(Duration::from_micros(us));
        }
        let histogram = delays.histogram();
        let counts: Vec<_> = histogram.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!(histogram.count, 5);
        assert!((histogram.sum - 9.0615).abs() < 1e-9, "{}", histogram.sum);
    }
}
