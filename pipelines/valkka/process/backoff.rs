//! How long to wait before a process that ended is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);
/// A process that ran for so long was in good health: what ended it is a new story.
const GOOD_WHILE: Duration = Duration::from_secs(30);

/// Doubles with each early end, from a quarter of a second to fifteen seconds, and begins anew after a good while.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause that follows a run of the given length.
    pub fn after(&mut self, ran: Duration) -> Duration {
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
        let pauses: Vec<_> = (0..9).map(|_| backoff.after(SOON).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    }

    #[test]
    fn a_good_while_forgives() {
        let mut backoff = Backoff::default();
        for _ in 0..50 {
            backoff.after(SOON);
        }
        assert_eq!(backoff.after(GOOD_WHILE), FIRST);
        assert_eq!(backoff.after(SOON), FIRST * 2);
    }

    #[test]
    fn a_process_that_never_stays_up_never_overflows() {
        let mut backoff = Backoff { failures: u32::MAX - 1 };
        assert_eq!(backoff.after(SOON), LONGEST);
    }
}
