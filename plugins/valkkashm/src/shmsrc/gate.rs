//! Where the streaming thread stands still while the element is paused, and turns back when it is unlocked.
//!
//! ```text
//!              pause()                unlock()
//!  running ◄───────────► paused   ─────────────► unlocked (pass() fails, at once)
//!              resume()           ◄─────────────
//!                                  unlock_stop()
//! ```
//!
//! Pausing and unlocking also end a wait for frames, through the canceller of the reader. Whether the thread stood still here or somewhere in
//! the base class, the gate tells it once that playing has begun (again): time that passed before that is none in which it waited.

use std::{
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use frame_ring::Canceller;

use crate::lock::lock;

#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    paused: bool,
    unlocked: bool,
    /// Nobody has passed since playing began (again).
    resumed: bool,
    canceller: Option<Canceller>,
}

/// `pass()` was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The first time since playing began, or began again.
    First,
    /// The same time of playing as before.
    Again,
}

/// `pass()` was unlocked.
#[derive(Debug, PartialEq, Eq)]
pub struct Unlocked;

impl Gate {
    /// For a new reader. `unlocked` survives: the base class may unlock before it starts.
    pub fn begin(&self, canceller: Canceller) {
        let mut state = lock(&self.state);
        state.paused = false;
        state.resumed = true;
        state.canceller = Some(canceller);
        state.settle();
    }

    /// There is no reader any more.
    pub fn end(&self) {
        lock(&self.state).canceller = None;
    }

    pub fn pause(&self) {
        self.change(|state| state.paused = true);
    }

    pub fn resume(&self) {
        self.change(|state| {
            state.paused = false;
            state.resumed = true;
        });
    }

    pub fn unlock(&self) {
        self.change(|state| state.unlocked = true);
    }

    pub fn unlock_stop(&self) {
        self.change(|state| state.unlocked = false);
    }

    /// Waits while paused.
    pub fn pass(&self) -> Result<Passed, Unlocked> {
        let mut state = lock(&self.state);
        while state.paused && !state.unlocked {
            state = self.wait(state);
        }
        if state.unlocked {
            return Err(Unlocked);
        }
        Ok(if mem::take(&mut state.resumed) { Passed::First } else { Passed::Again })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        state.settle();
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Cancelled is the reader's wait as long as the gate is closed for any reason.
    fn settle(&self) {
        let Some(canceller) = &self.canceller else { return };
        if self.paused || self.unlocked {
            canceller.cancel();
        } else {
            canceller.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn open_gate_lets_pass_and_tells_each_time_of_playing_once() {
        let gate = Gate::default();
        gate.begin(Canceller::new().expect("eventfd"));
        for _ in 0..2 {
            assert_eq!(gate.pass(), Ok(Passed::First));
            assert_eq!(gate.pass(), Ok(Passed::Again));
            // Paused and resumed while the thread was somewhere else. Turned back, it has not heard of that.
            gate.pause();
            gate.unlock();
            gate.resume();
            assert_eq!(gate.pass(), Err(Unlocked));
            gate.unlock_stop();
        }
    }

    #[test]
    fn paused_thread_goes_on_when_resumed() {
        let gate = Arc::new(Gate::default());
        gate.pause();
        let waiting = thread::spawn({
            let gate = gate.clone();
            move || gate.pass()
        });
        gate.resume();
        assert_eq!(waiting.join().expect("no panic"), Ok(Passed::First));
    }

    #[test]
    fn unlocking_wakes_a_paused_thread_and_turns_it_back() {
        let gate = Arc::new(Gate::default());
        gate.pause();
        let waiting = thread::spawn({
            let gate = gate.clone();
            move || gate.pass()
        });
        gate.unlock();
        assert_eq!(waiting.join().expect("no panic"), Err(Unlocked));
    }

    #[test]
    fn canceller_follows_every_reason_to_stand_still() {
        let gate = Gate::default();
        let canceller = Canceller::new().expect("eventfd");
        gate.begin(canceller.clone());
        assert!(!canceller.is_cancelled());
        gate.pause();
        gate.unlock();
        gate.resume();
        assert!(canceller.is_cancelled(), "still unlocked");
        gate.unlock_stop();
        assert!(!canceller.is_cancelled());
    }
}
