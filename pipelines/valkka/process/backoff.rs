//! How long to wait before a process that ended is started again, and when not to any more.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);
/// A process that ran for so long was in good health: what ended it is a new story.
const GOOD_WHILE: Duration = Duration::from_secs(30);
/// So many early ends in a row, and it is not tried any more. Pauses add up to half a minute by then.
const LIMIT: u32 = 8;

/// Doubles with each early end, from a quarter of a second to fifteen seconds, and begins anew after a good while. Pauses vary by a
/// fifth, so that what failed together does not come back together.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause that follows a run of the given length.
    pub fn after(&mut self, ran: Duration) -> Duration {
        // Randomness of the standard library: better than none, and all that is needed.
        let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
        self.pause(ran).mul_f64(0.8 + 0.4 * random)
    }

    /// How many early ends there were in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// There were too many.
    pub fn is_hopeless(&self) -> bool {
        self.failures >= LIMIT
    }

    fn pause(&mut self, ran: Duration) -> Duration {
        if ran >= GOOD_WHILE {
            self.failures = 0;
        }
        let pause = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause(SOON).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    }

    #[test]
    fn pauses_vary_by_a_fifth() {
        let pauses: Vec<_> = (0..50).map(|_| Backoff::default().after(SOON)).collect();
        assert!(pauses.iter().all(|pause| (FIRST.mul_f64(0.79)..FIRST.mul_f64(1.21)).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }

    #[test]
    fn a_good_while_forgives() {
        let mut backoff = Backoff::default();
        for _ in 0..50 {
            backoff.after(SOON);
        }
        assert!(backoff.is_hopeless());
        assert_eq!(backoff.pause(GOOD_WHILE), FIRST);
        assert!(!backoff.is_hopeless());
        assert_eq!(backoff.pause(SOON), FIRST * 2);
    }

    #[test]
    fn a_process_that_never_stays_up_never_overflows() {
        let mut backoff = Backoff { failures: u32::MAX - 1 };
        assert_eq!(backoff.pause(SOON), LONGEST);
    }
}
