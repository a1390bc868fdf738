//! Whether a camera lives: a state machine that is told facts, and decides from them.
//!
//! ```text
//!               frames                    frames
//! connecting ───────────► live ◄──────────────────────── lost
//!     │                   │  ▲                             ▲
//!     │      no frame for │  │ frames                      │
//!     │         3 seconds ▼  │      capture process fails  │
//!     │                 stalled ───────────────────────────┤
//!     └────────────────────────────────────────────────────┘
//!
//! any ── capture given up, or told to stop ──► stopped ── capture runs ──► connecting
//! ```
//!
//! The orchestrator touches no frame. That frames flow it knows from the capture process, which counts them, and from those who
//! read them: the analyser says each frame's number and time, the web process counts what it serves.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::mask::mask;

/// Without a frame for so long, a live camera has stalled.
const STALL: Duration = Duration::from_secs(3);
/// A capture process that brings no frame for so long is started again.
const PATIENCE: Duration = Duration::from_secs(15);
/// So long after a failure frames may come that were read before it.
const ECHO: Duration = Duration::from_millis(500);
/// The frame rate is a mean over so long.
const RATE_WINDOW: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No frame yet.
    Connecting,
    /// Frames flow.
    Live,
    /// Frames flowed; the capture process runs but brings none.
    Stalled,
    /// The capture process failed, and has brought nothing since.
    Lost,
    /// The capture process does not run, and is not started by itself.
    Stopped,
}

/// What a camera's capture process ought to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Start it again, for this reason.
    Restart(String),
}

/// One camera's state, why, and its frame rate.
#[derive(Debug)]
pub struct Health {
    state: State,
    reason: Option<String>,
    /// The capture process runs.
    capturing: bool,
    /// Since when it has had time to bring a frame.
    tried_since: Option<Instant>,
    last_frame: Option<Instant>,
    deaf_until: Option<Instant>,
    /// Frames seen by the capture process, by the web process and by the analyser. The first sees all of them, but a
    /// plain gst-launch-1.0 does not count; the others are not always there.
    captured: Meter,
    served: Meter,
    analysed: Meter,
}

impl Health {
    pub fn new() -> Self {
        Self {
            state: State::Connecting,
            reason: None,
            capturing: false,
            tried_since: None,
            last_frame: None,
            deaf_until: None,
            captured: Meter::default(),
            served: Meter::default(),
            analysed: Meter::default(),
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is not live.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub fn capture_runs(&mut self, now: Instant) {
        (self.capturing, self.tried_since) = (true, Some(now));
        if self.state == State::Stopped {
            (self.state, self.reason) = (State::Connecting, None);
        }
    }

    /// The capture process was given up, or is told to stop: nothing is to be expected of it.
    pub fn stopped(&mut self, reason: &str) {
        (self.capturing, self.tried_since) = (false, None);
        if self.state != State::Stopped {
            (self.state, self.reason) = (State::Stopped, Some(reason.to_owned()));
        }
    }

    /// The capture process is not there. A failure loses the camera; an end (of a file) does not.
    pub fn capture_ended(&mut self, reason: &str, failed: bool) {
        (self.capturing, self.tried_since) = (false, None);
        if failed {
            (self.state, self.reason) = (State::Lost, Some(reason.to_owned()));
        }
    }

    /// The capture process runs, but its source has failed, and is asked again by itself.
    pub fn reconnects(&mut self, reason: &str, now: Instant) {
        if self.capturing {
            (self.state, self.reason, self.tried_since) = (State::Lost, Some(mask(reason)), Some(now));
            // Frames that are under way are older than the failure.
            self.deaf_until = Some(now + ECHO);
        }
    }

    /// The analyser has seen a frame.
    pub fn analysed(&mut self, now: Instant) {
        self.analysed.total += 1;
        self.frame(now);
    }

    /// The web process has seen so many frames since it was started.
    pub fn served(&mut self, now: Instant, total: u64) {
        if total > self.served.total {
            self.frame(now);
        }
        self.served.total = total;
    }

    /// The capture process has seen so many frames of the camera since it was started.
    pub fn captured(&mut self, now: Instant, total: u64) {
        if total > self.captured.total {
            self.frame(now);
        }
        self.captured.total = total;
        // When it is told, not when somebody looks: it is told about once a second, as the others are asked.
        self.captured.sample(now);
    }

    fn frame(&mut self, now: Instant) {
        // What was on its way when the capture process or its source ended brings no camera back.
        if !self.capturing || self.deaf_until.is_some_and(|until| now < until) {
            return;
        }
        self.last_frame = Some(now);
        (self.state, self.reason) = (State::Live, None);
    }

    /// To be called about once a second.
    pub fn tick(&mut self, now: Instant) -> Verdict {
        self.served.sample(now);
        self.analysed.sample(now);
        let quiet = self.last_frame.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        if self.state == State::Live && quiet > STALL {
            let reason = format!("no frame for {} seconds", STALL.as_secs());
            (self.state, self.reason) = (State::Stalled, Some(reason));
        }
        let tried = self.tried_since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if self.state != State::Live && tried.min(quiet) > PATIENCE {
            // Said once: the next attempt begins when the process runs again.
            self.tried_since = None;
            return Verdict::Restart(format!("it has brought no frame for {} seconds", PATIENCE.as_secs()));
        }
        Verdict::Fine
    }

    /// Frames a second; 0 when none come.
    pub fn fps(&self) -> f64 {
        if self.state != State::Live {
            0.0
        } else {
            self.captured.rate().max(self.served.rate()).max(self.analysed.rate())
        }
    }

    /// When the newest frame was seen.
    pub fn last_frame(&self) -> Option<Instant> {
        self.last_frame
    }
}

/// A rate from samples of a count.
#[derive(Debug, Default)]
struct Meter {
    total: u64,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    fn sample(&mut self, now: Instant) {
        if self.samples.back().is_some_and(|&(_, total)| self.total < total) {
            // Who counts has been started again.
            self.samples.clear();
        }
        self.samples.push_back((now, self.total));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|&(at, _)| now - at > RATE_WINDOW) {
            self.samples.pop_front();
        }
    }

    fn rate(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some(&(from, first)), Some(&(to, last))) if to > from => (last - first) as f64 / (to - from).as_secs_f64(),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn running(start: Instant) -> Health {
        let mut health = Health::new();
        health.capture_runs(start);
        health
    }

    #[test]
    fn a_camera_connects_lives_stalls_and_lives_again() {
        let start = Instant::now();
        let mut health = running(start);
        assert_eq!((health.tick(start), health.state()), (Verdict::Fine, State::Connecting));
        health.analysed(start + SECOND);
        assert_eq!((health.tick(start + SECOND * 3), health.state()), (Verdict::Fine, State::Live));
        assert_eq!((health.tick(start + SECOND * 5), health.state()), (Verdict::Fine, State::Stalled));
        assert_eq!(health.reason(), Some("no frame for 3 seconds"));
        health.served(start + SECOND * 6, 100);
        assert_eq!((health.state(), health.reason()), (State::Live, None));
    }

    #[test]
    fn a_camera_whose_capture_fails_is_lost_until_frames_come() {
        let start = Instant::now();
        let mut health = running(start);
        health.capture_ended("exit code 1: no route", true);
        assert_eq!((health.state(), health.reason()), (State::Lost, Some("exit code 1: no route")));
        // Frames that were on their way.
        health.analysed(start + SECOND);
        health.served(start + SECOND, 10);
        assert_eq!(health.state(), State::Lost);
        health.capture_runs(start + SECOND);
        health.tick(start + SECOND);
        assert_eq!(health.state(), State::Lost);
        health.analysed(start + SECOND * 2);
        assert_eq!(health.state(), State::Live);
    }

    #[test]
    fn a_camera_that_is_asked_again_is_lost_until_frames_come() {
        let start = Instant::now();
        let mut health = running(start);
        health.analysed(start);
        health.reconnects("the camera at rtsp://u:p@cam/ is gone", start + SECOND);
        assert_eq!((health.state(), health.reason()), (State::Lost, Some("the camera at rtsp://***@cam/ is gone")));
        health.analysed(start + SECOND);
        assert_eq!(health.state(), State::Lost);
        // Each attempt has its own patience.
        assert_eq!(health.tick(start + SECOND + PATIENCE), Verdict::Fine);
        health.analysed(start + SECOND * 5);
        assert_eq!(health.state(), State::Live);
    }

    #[test]
    fn the_end_of_a_file_loses_no_camera() {
        let start = Instant::now();
        let mut health = running(start);
        health.analysed(start);
        health.capture_ended("has ended", false);
        assert_eq!(health.state(), State::Live);
    }

    #[test]
    fn a_capture_that_brings_nothing_is_started_again_once_per_patience() {
        let start = Instant::now();
        let mut health = running(start);
        assert_eq!(health.tick(start + PATIENCE), Verdict::Fine);
        assert!(matches!(health.tick(start + PATIENCE + SECOND), Verdict::Restart(_)));
        assert_eq!(health.tick(start + PATIENCE + SECOND * 2), Verdict::Fine);
        health.capture_runs(start + PATIENCE + SECOND * 3);
        assert_eq!(health.tick(start + PATIENCE + SECOND * 4), Verdict::Fine);
    }

    #[test]
    fn the_rate_is_that_of_whoever_sees_more_and_zero_without_frames() {
        let start = Instant::now();
        let mut health = running(start);
        for second in 0..5_u32 {
            let now = start + SECOND * second;
            health.served(now, u64::from(second) * 25 + 1);
            health.analysed(now);
            health.tick(now);
        }
        assert!((health.fps() - 25.0).abs() < 0.01, "{}", health.fps());
        health.tick(start + SECOND * 20);
        assert_eq!(health.fps(), 0.0);
    }

    #[test]
    fn a_count_that_begins_anew_does_no_harm() {
        let start = Instant::now();
        let mut health = running(start);
        health.served(start, 1000);
        health.tick(start);
        health.served(start + SECOND, 5);
        health.tick(start + SECOND);
        health.served(start + SECOND * 2, 15);
        health.tick(start + SECOND * 2);
        assert!((health.fps() - 10.0).abs() < 0.01, "{}", health.fps());
    }
}
