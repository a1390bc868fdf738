//! Knows an object again in the next picture, so that it keeps its id.
//!
//! Each object is expected where its speed will have taken it (constant velocity, in channel time, so that pictures may
//! be missing). A box of the same label that overlaps with that place, or with where the object was seen last, is the
//! same object; the closest pairs find each other first. No more than that: no appearance. Ids begin at 0, and no two
//! objects of a process get the same, whichever camera they are seen by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Deserialize;

use crate::geometry::Bounds;

/// Something that a detector saw in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it is. Never empty.
    pub label: Arc<str>,
    /// How sure the detector is, 0..1.
    pub score: f64,
    /// Where it is.
    pub bounds: Bounds,
}

/// How patient a tracker is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrackerConfig {
    /// Boxes that share less of their union than this are different objects.
    pub min_overlap: f64,
    /// Pictures for which an object may be unseen and still keep its id.
    pub patience: u32,
    /// Pictures in which an object must be seen before it is told of as `new`: one that flickers is nobody.
    pub confirm: u32,
    /// Pictures after which an object that keeps its place is stationary, and quiet.
    pub stationary: u32,
    /// Between two updates about an object that does nothing but move.
    pub update_ms: u32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        // People who walk past a slow camera overlap little from picture to picture.
        Self { min_overlap: 0.1, patience: 5, confirm: 2, stationary: 50, update_ms: 1000 }
    }
}

impl TrackerConfig {
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !(self.min_overlap > 0.0 && self.min_overlap <= 1.0) {
            return Err("tracker: min_overlap is more than 0 and at most 1".into());
        }
        if self.patience > MOST_PATIENCE {
            return Err(format!("tracker: patience is a number of pictures, at most {MOST_PATIENCE}"));
        }
        if self.confirm == 0 || self.stationary == 0 {
            return Err("tracker: confirm and stationary are numbers of pictures, at least 1".into());
        }
        Ok(())
    }
}

/// Numbers for the objects of all cameras that share them.
#[derive(Clone, Debug, Default)]
pub struct Ids(Arc<AtomicU64>);

impl Ids {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The objects of one camera.
pub struct Tracker {
    min_overlap: f64,
    patience: u32,
    ids: Ids,
    known: Vec<Track>,
}

struct Track {
    id: u64,
    label: Arc<str>,
    bounds: Bounds,
    /// Shares of the picture per second; None until it was seen twice.
    velocity: Option<[f64; 2]>,
    /// ns
    seen_at: i64,
    unseen: u32,
}

/// What became of the objects in one picture.
#[derive(Debug, PartialEq, Eq)]
pub struct Identified {
    /// The id of each that was found, in the order of the finds.
    pub ids: Vec<u64>,
    /// Objects that are given up.
    pub lost: Vec<u64>,
}

/// Speed is not extrapolated further than this, in seconds.
const FORESIGHT: f64 = 2.0;

/// More patience than this is refused: what flickers is another object each time, and all of them are remembered.
const MOST_PATIENCE: u32 = 1000;

/// How much the newest measurement counts: boxes of detectors tremble.
const SMOOTHING: f64 = 0.5;

impl Tracker {
    /// Knows nothing yet.
    pub fn new(config: &TrackerConfig, ids: Ids) -> Self {
        Self { min_overlap: config.min_overlap, patience: config.patience, ids, known: Vec::new() }
    }

    /// Gives an id to each of `found`, seen at channel time `time` (ns).
    pub fn identify(&mut self, time: i64, found: &[Found]) -> Identified {
        let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
        for (k, track) in self.known.iter().enumerate() {
            let expected = track.expected_at(time);
            for (f, found) in found.iter().enumerate().filter(|(_, found)| found.label == track.label) {
                let overlap = found.bounds.overlap(&expected).max(found.bounds.overlap(&track.bounds));
                if overlap >= self.min_overlap {
                    pairs.push((overlap, f, k));
                }
            }
        }
        // Stable: of two that are as close, the older object is served.
        pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
        let mut owner: Vec<Option<usize>> = vec![None; found.len()];
        let mut taken = vec![false; self.known.len()];
        for (_, f, k) in pairs {
            if owner[f].is_none() && !taken[k] {
                owner[f] = Some(k);
                taken[k] = true;
            }
        }

        self.known.iter_mut().for_each(|track| track.unseen += 1);
        let ids = found.iter().zip(owner).map(|(found, owner)| self.see(time, found, owner)).collect();
        let patience = self.patience;
        let lost = self.known.extract_if(.., |track| track.unseen > patience).map(|track| track.id).collect();
        Identified { ids, lost }
    }

    /// Gives up all objects: another picture, or none any more.
    pub fn forget(&mut self) -> Vec<u64> {
        self.known.drain(..).map(|track| track.id).collect()
    }

    fn see(&mut self, time: i64, found: &Found, owner: Option<usize>) -> u64 {
        if let Some(k) = owner {
            let track = &mut self.known[k];
            track.move_to(time, found.bounds);
            return track.id;
        }
        let id = self.ids.next();
        let (label, bounds) = (found.label.clone(), found.bounds);
        self.known.push(Track { id, label, bounds, velocity: None, seen_at: time, unseen: 0 });
        id
    }
}

impl Track {
    fn expected_at(&self, time: i64) -> Bounds {
        let ahead = seconds(self.seen_at, time).min(FORESIGHT);
        self.velocity.map_or(self.bounds, |[x, y]| self.bounds.moved([x * ahead, y * ahead]))
    }

    fn move_to(&mut self, time: i64, bounds: Bounds) {
        let passed = seconds(self.seen_at, time);
        if passed > 0.0 {
            let ([x, y], [from_x, from_y]) = (bounds.centre(), self.bounds.centre());
            let measured = [(x - from_x) / passed, (y - from_y) / passed];
            self.velocity = Some(match self.velocity {
                None => measured,
                Some(before) => [0, 1].map(|n| before[n] + SMOOTHING * (measured[n] - before[n])),
            });
        }
        (self.bounds, self.seen_at, self.unseen) = (bounds, time, 0);
    }
}

/// 0 if time goes backwards.
fn seconds(from: i64, to: i64) -> f64 {
    to.saturating_sub(from).max(0) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const PICTURE: i64 = 200_000_000;

    fn found(label: &str, x: f64) -> Found {
        Found { label: label.into(), score: 0.9, bounds: Bounds { x1: x, y1: 0.2, x2: x + 0.1, y2: 0.6 } }
    }

    fn tracker() -> Tracker {
        Tracker::new(&TrackerConfig::default(), Ids::default())
    }

    /// The ids of people at these places in picture `number`.
    fn ids(tracker: &mut Tracker, number: i64, xs: &[f64]) -> Vec<u64> {
        let found: Vec<_> = xs.iter().map(|x| found("person", *x)).collect();
        tracker.identify(number * PICTURE, &found).ids
    }

    #[test]
    fn objects_keep_their_ids_while_they_move() {
        let mut tracker = tracker();
        assert_eq!(ids(&mut tracker, 0, &[0.0, 0.7]), [0, 1]);
        for step in 1..8 {
            // Which of them is found first does not matter.
            let moved = 0.03 * step as f64;
            assert_eq!(ids(&mut tracker, step, &[0.7 - moved, moved]), [1, 0]);
        }
        assert_eq!(ids(&mut tracker, 8, &[0.45, 0.9, 0.25]), [1, 2, 0]);
    }

    #[test]
    fn cameras_that_share_numbers_give_none_twice() {
        let shared = Ids::default();
        let mut cameras = [(); 2].map(|()| Tracker::new(&TrackerConfig::default(), shared.clone()));
        assert_eq!(cameras.each_mut().map(|camera| ids(camera, 0, &[0.1])), [[0], [1]]);
        assert_eq!(cameras.each_mut().map(|camera| ids(camera, 1, &[0.1, 0.8])), [[0, 2], [1, 3]]);
    }

    #[test]
    fn closest_box_wins() {
        let mut tracker = tracker();
        ids(&mut tracker, 0, &[0.0]);
        assert_eq!(ids(&mut tracker, 1, &[0.05, 0.01]), [1, 0]);
    }

    #[test]
    fn speed_carries_an_object_over_pictures_in_which_it_is_hidden() {
        let mut tracker = tracker();
        for step in 0..4 {
            assert_eq!(ids(&mut tracker, step, &[0.05 * step as f64]), [0]);
        }
        for step in 4..8 {
            assert!(ids(&mut tracker, step, &[]).is_empty());
        }
        // More than its width from where it was seen last, and just where it was to be expected.
        assert_eq!(ids(&mut tracker, 8, &[0.4]), [0]);
    }

    #[test]
    fn objects_that_cross_keep_their_directions() {
        let mut tracker = tracker();
        for step in 0..12 {
            let moved = 0.06 * step as f64;
            assert_eq!(ids(&mut tracker, step, &[0.1 + moved, 0.8 - moved]), [0, 1], "step {step}");
        }
    }

    #[test]
    fn object_that_is_not_seen_for_long_is_lost_and_its_id_is_not_given_twice() {
        let mut tracker = tracker();
        ids(&mut tracker, 0, &[0.3]);
        let patience = i64::from(TrackerConfig::default().patience);
        for step in 1..=patience {
            assert_eq!(tracker.identify(step * PICTURE, &[]), Identified { ids: vec![], lost: vec![] });
        }
        assert_eq!(tracker.identify((patience + 1) * PICTURE, &[]).lost, [0]);
        assert_eq!(ids(&mut tracker, patience + 2, &[0.3]), [1]);
    }

    #[test]
    fn another_label_is_another_object() {
        let mut tracker = tracker();
        assert_eq!(tracker.identify(0, &[found("person", 0.1)]).ids, [0]);
        assert_eq!(tracker.identify(PICTURE, &[found("dog", 0.1), found("person", 0.1)]).ids, [1, 0]);
    }

    #[test]
    fn frames_without_advancing_time_do_no_harm() {
        let mut tracker = tracker();
        for x in [0.1, 0.12, 0.14] {
            assert_eq!(tracker.identify(0, &[found("person", x)]).ids, [0]);
        }
        assert_eq!(tracker.identify(i64::MIN, &[found("person", 0.14)]).ids, [0]);
        assert_eq!(tracker.identify(i64::MAX, &[found("person", 0.14)]).ids, [0]);
    }

    #[test]
    fn everything_can_be_forgotten() {
        let mut tracker = tracker();
        ids(&mut tracker, 0, &[0.1, 0.8]);
        assert_eq!(tracker.forget(), [0, 1]);
        assert_eq!(ids(&mut tracker, 1, &[0.1]), [2]);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        assert!(TrackerConfig::default().check().is_ok());
        for wrong in [
            TrackerConfig { min_overlap: 0.0, ..Default::default() },
            TrackerConfig { min_overlap: f64::NAN, ..Default::default() },
            TrackerConfig { patience: u32::MAX, ..Default::default() },
            TrackerConfig { confirm: 0, ..Default::default() },
            TrackerConfig { stationary: 0, ..Default::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
