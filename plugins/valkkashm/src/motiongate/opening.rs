//! When frames pass. Times are those of frames, in ns.

/// How long, in ns.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The gate stays open after the last motion.
    pub hold: u64,
    /// While it is shut, a frame passes this often; 0: never.
    pub interval: u64,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub passes: bool,
    pub open: bool,
}

/// The gate's memory.
#[derive(Debug, Default)]
pub struct Opening {
    last: Option<u64>,
    moved: Option<u64>,
    passed: Option<u64>,
}

impl Opening {
    /// A frame of that time; does something move in it?
    pub fn judge(&mut self, time: u64, moves: bool, times: Times) -> Verdict {
        // Time that goes back is another stream, of which nothing is known.
        if self.last.is_none_or(|last| time < last) {
            *self = Self { last: None, moved: Some(time), passed: None };
        }
        self.last = Some(time);
        if moves {
            self.moved = Some(time);
        }
        let since = |earlier: Option<u64>| earlier.map(|earlier| time - earlier);
        let open = since(self.moved).is_some_and(|since| since <= times.hold);
        let is_due = times.interval > 0 && since(self.passed).is_none_or(|since| since >= times.interval);
        let passes = open || is_due;
        if passes {
            self.passed = Some(time);
        }
        Verdict { passes, open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { hold: 20, interval: 50 };

    /// Times of the frames that pass, of those every ten nanoseconds; something moves at these.
    fn pass(times: Times, motion: &[u64]) -> Vec<u64> {
        let mut opening = Opening::default();
        (0..30).map(|n| n * 10).filter(|time| opening.judge(*time, motion.contains(time), times).passes).collect()
    }

    #[test]
    fn it_opens_with_motion_holds_for_a_while_and_lets_one_pass_now_and_then() {
        assert_eq!(pass(TIMES, &[]), [0, 10, 20, 70, 120, 170, 220, 270]);
        assert_eq!(pass(TIMES, &[100, 110]), [0, 10, 20, 70, 100, 110, 120, 130, 180, 230, 280]);
        assert_eq!(pass(Times { interval: 0, ..TIMES }, &[200]), [0, 10, 20, 200, 210, 220]);
    }

    #[test]
    fn another_stream_begins_anew() {
        let mut opening = Opening::default();
        for time in [1000, 1010, 1020, 1030] {
            opening.judge(time, false, TIMES);
        }
        assert_eq!(opening.judge(1040, false, TIMES), Verdict { passes: false, open: false });
        assert_eq!(opening.judge(5, false, TIMES), Verdict { passes: true, open: true });
    }
}
