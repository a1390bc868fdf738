//! How often something may happen: seldom for ever, and often for a moment.

use std::time::Instant;

/// So many at once, and so many in a second on average.
#[derive(Debug)]
pub struct Quota {
    per_second: f64,
    burst: f64,
    left: f64,
    counted: Instant,
}

impl Quota {
    /// All of the burst is left.
    pub fn new(burst: u32, per_second: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { per_second: per_second.into(), burst, left: burst, counted: now }
    }

    /// It happens. Whether it was allowed.
    pub fn take(&mut self, now: Instant) -> bool {
        let refilled = self.left + (now - self.counted).as_secs_f64() * self.per_second;
        self.counted = now;
        self.left = refilled.min(self.burst) - 1.0;
        let allowed = self.left >= 0.0;
        self.left = self.left.max(0.0);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_is_allowed_and_a_flood_is_not() {
        let start = Instant::now();
        let mut quota = Quota::new(5, 2, start);
        let mut allowed = |ms| (0..8).filter(|_| quota.take(start + Duration::from_millis(ms))).count();
        assert_eq!([allowed(0), allowed(1600), allowed(60_000)], [5, 3, 5]);
    }
}
