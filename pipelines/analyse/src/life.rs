//! The life of objects: who has come, what has changed, who has gone.
//!
//! ```text
//!   seen in `confirm` pictures        place, zone or state has changed          lost
//!  ──────────────────────────► new ──────────────────────────────────► update ──────► end
//!                                 the same place for `stationary` pictures: quiet
//! ```
//!
//! An object that is lost before it was confirmed was nobody: nothing is said of it. What is told is what Frigate tells,
//! in its words ([`Snapshot`]); a [`Change`] has the object as it was told of before, and as it is now.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::geometry::Bounds;
use crate::track::{Found, TrackerConfig};
use crate::zone::{Presence, Zone};

/// What has happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was seen often enough to be somebody.
    New,
    /// Something about it has changed.
    Update,
    /// It was not seen for too long.
    End,
}

/// An object in one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The tracker's number.
    pub object: u64,
    /// When the picture was taken, in ns of channel time.
    pub pts: i64,
    /// The same in seconds since 1970.
    pub frame_time: f64,
    /// Frame: generation and seq.
    pub frame: (u64, u64),
    /// Size of the picture in pixels.
    pub size: (i32, i32),
    /// What it is.
    pub label: Arc<str>,
    /// In this picture.
    pub score: f64,
    /// The best so far.
    pub top_score: f64,
    /// When it was seen so well, in seconds since 1970.
    pub top_time: f64,
    /// When it was seen first, in seconds since 1970.
    pub start_time: f64,
    /// When it was seen last, once it has gone.
    pub end_time: Option<f64>,
    /// Where it is.
    pub bounds: Bounds,
    /// Zones that it is in.
    pub current_zones: Vec<String>,
    /// Zones that it has been in.
    pub entered_zones: Vec<String>,
    /// It keeps its place.
    pub stationary: bool,
    /// For how many pictures it has kept its place.
    pub motionless_count: u32,
    /// How often it has changed its place.
    pub position_changes: u32,
}

/// What there is to say about an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Why it is said.
    pub happened: Happened,
    /// As it was told of before; for a new one, as it was seen first.
    pub before: Snapshot,
    /// As it is now.
    pub after: Snapshot,
}

/// The picture that objects were seen in.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Channel time in ns.
    pub pts: i64,
    /// Seconds since 1970.
    pub utc: f64,
    /// Generation and seq.
    pub frame: (u64, u64),
    /// Pixels.
    pub size: (i32, i32),
}

/// The lives of one camera's objects.
pub struct Lives {
    confirm: u32,
    stationary: u32,
    update_ns: i64,
    objects: BTreeMap<u64, Life>,
}

struct Life {
    now: Snapshot,
    /// As it was told of, or seen first.
    told: Snapshot,
    /// It was told of as new.
    is_known: bool,
    seen: u32,
    presence: Presence,
    /// The place that it keeps, until it is somewhere else.
    anchor: Bounds,
}

/// A box that overlaps less with its place than this is at another place.
const SAME_PLACE: f64 = 0.6;
/// A score that is better by this is worth an update.
const BETTER: f64 = 0.1;

impl Lives {
    /// Nobody lives yet.
    pub fn new(config: &TrackerConfig) -> Self {
        let update_ns = i64::from(config.update_ms) * 1_000_000;
        Self { confirm: config.confirm, stationary: config.stationary, update_ns, objects: BTreeMap::new() }
    }

    /// Notes who was seen in a picture, and says what is worth saying, the oldest object first.
    pub fn see(&mut self, moment: &Moment, seen: &[(u64, &Found)], zones: &[Zone]) -> Vec<Change> {
        let mut seen = seen.to_vec();
        seen.sort_by_key(|(id, _)| *id);
        let changes = seen.into_iter().filter_map(|(id, found)| {
            let life = self.objects.entry(id).or_insert_with(|| Life::begin(id, moment, found));
            let crossed = life.look(moment, found, zones, self.stationary);
            if !life.is_known {
                life.is_known = life.seen >= self.confirm;
                return life.is_known.then(|| life.tell(Happened::New));
            }
            let worth = crossed || life.is_worth_telling(self.update_ns);
            worth.then(|| life.tell(Happened::Update))
        });
        changes.collect()
    }

    /// These have gone.
    pub fn end(&mut self, lost: &[u64]) -> Vec<Change> {
        let lost = lost.iter().filter_map(|id| self.objects.remove(id)).filter(|life| life.is_known);
        let changes = lost.map(|mut life| {
            life.now.end_time = Some(life.now.frame_time);
            life.tell(Happened::End)
        });
        changes.collect()
    }
}

impl Life {
    fn begin(id: u64, moment: &Moment, found: &Found) -> Self {
        let now = Snapshot {
            object: id,
            pts: moment.pts,
            frame_time: moment.utc,
            frame: moment.frame,
            size: moment.size,
            label: found.label.clone(),
            score: found.score,
            top_score: found.score,
            top_time: moment.utc,
            start_time: moment.utc,
            end_time: None,
            bounds: found.bounds,
            current_zones: Vec::new(),
            entered_zones: Vec::new(),
            stationary: false,
            motionless_count: 0,
            position_changes: 0,
        };
        let told = now.clone();
        Self { now, told, is_known: false, seen: 0, presence: Presence::default(), anchor: found.bounds }
    }

    /// True if it has crossed the line of a zone.
    fn look(&mut self, moment: &Moment, found: &Found, zones: &[Zone], stationary: u32) -> bool {
        let first = self.seen == 0;
        self.seen = self.seen.saturating_add(1);
        let stays = found.bounds.overlap(&self.anchor) >= SAME_PLACE;
        // One that stands on the line of a zone does not cross it whenever its box trembles.
        let place = if stays && self.now.stationary { self.anchor } else { found.bounds };
        let crossed = self.presence.stand(zones, &found.label, place.foot());
        let now = &mut self.now;
        (now.pts, now.frame_time, now.frame, now.size) = (moment.pts, moment.utc, moment.frame, moment.size);
        (now.score, now.bounds) = (found.score, found.bounds);
        if found.score > now.top_score {
            (now.top_score, now.top_time) = (found.score, moment.utc);
        }
        now.current_zones = self.presence.current(zones);
        now.entered_zones = self.presence.entered().to_vec();
        if !stays {
            self.anchor = found.bounds;
            now.motionless_count = 0;
            now.position_changes = now.position_changes.saturating_add(1);
        } else if !first {
            now.motionless_count = now.motionless_count.saturating_add(1);
        }
        now.stationary = now.motionless_count >= stationary;
        crossed
    }

    fn is_worth_telling(&self, update_ns: i64) -> bool {
        let (now, told) = (&self.now, &self.told);
        let has_moved = now.position_changes != told.position_changes;
        let is_time = now.pts.saturating_sub(told.pts) >= update_ns;
        // Of one that stands and stands, nothing: not even that it is seen better.
        now.stationary != told.stationary
            || !now.stationary && is_time && (has_moved || now.top_score >= told.top_score + BETTER)
    }

    fn tell(&mut self, happened: Happened) -> Change {
        let before = std::mem::replace(&mut self.told, self.now.clone());
        Change { happened, before, after: self.now.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::{ZoneConfig, zones_of};

    const PICTURE: i64 = 200_000_000;

    fn moment(number: i64) -> Moment {
        let pts = number * PICTURE;
        Moment { pts, utc: 1000.0 + number as f64 / 5.0, frame: (7, number as u64), size: (640, 360) }
    }

    fn found(x: f64, score: f64) -> Found {
        Found { label: "person".into(), score, bounds: Bounds { x1: x, y1: 0.2, x2: x + 0.1, y2: 0.6 } }
    }

    fn config() -> TrackerConfig {
        TrackerConfig { confirm: 3, stationary: 10, update_ms: 1000, ..Default::default() }
    }

    fn see(lives: &mut Lives, number: i64, x: f64) -> Vec<Change> {
        lives.see(&moment(number), &[(4, &found(x, 0.5))], &[])
    }

    #[test]
    fn object_is_new_when_it_was_seen_often_enough() {
        let mut lives = Lives::new(&config());
        assert_eq!(see(&mut lives, 0, 0.1), []);
        assert_eq!(see(&mut lives, 1, 0.11), []);
        let told = see(&mut lives, 2, 0.12);
        assert_eq!((told.len(), told[0].happened), (1, Happened::New));
        let (before, after) = (&told[0].before, &told[0].after);
        assert_eq!((before.frame, after.frame), ((7, 0), (7, 2)));
        assert_eq!((after.object, after.start_time, after.end_time), (4, 1000.0, None));
    }

    #[test]
    fn one_that_flickers_was_nobody() {
        let mut lives = Lives::new(&config());
        see(&mut lives, 0, 0.1);
        see(&mut lives, 1, 0.1);
        assert_eq!(lives.end(&[4]), []);
    }

    #[test]
    fn who_moves_is_told_of_once_a_second() {
        let mut lives = Lives::new(&config());
        let mut told = Vec::new();
        for number in 0..30 {
            let changes = see(&mut lives, number, 0.02 * number as f64);
            told.extend(changes.into_iter().map(|change| (change.happened, number)));
        }
        let update = |number| (Happened::Update, number);
        assert_eq!(told, [(Happened::New, 2), update(7), update(12), update(17), update(22), update(27)]);
    }

    #[test]
    fn one_that_stands_says_so_once_and_is_quiet_until_it_goes_on() {
        let mut lives = Lives::new(&config());
        let mut told = Vec::new();
        for number in 0..100 {
            // It trembles a little.
            let tremble = if number % 2 == 0 { 0.003 } else { 0.0 };
            told.extend(see(&mut lives, number, 0.5 + tremble));
        }
        let happened: Vec<_> = told.iter().map(|change| (change.happened, change.after.stationary)).collect();
        assert_eq!(happened, [(Happened::New, false), (Happened::Update, true)]);
        assert!(!told[1].before.stationary && told[1].after.motionless_count == 10);

        let gone_on = see(&mut lives, 100, 0.7);
        assert_eq!(gone_on.len(), 1);
        assert!(gone_on[0].before.stationary && !gone_on[0].after.stationary);
        assert_eq!(gone_on[0].after.position_changes, 1);
    }

    #[test]
    fn one_that_stands_on_the_line_of_a_zone_is_quiet_until_the_zone_changes() {
        let zone = |left: f64| {
            let polygon = vec![[left, 0.0], [1.0, 0.0], [1.0, 1.0], [left, 1.0]];
            zones_of(&[ZoneConfig { name: "door".into(), polygon, labels: Vec::new(), inertia: 1 }]).unwrap()
        };
        let mut lives = Lives::new(&config());
        let mut see = |number: i64, zones: &[Zone]| {
            // Its foot goes from 0.55 to 0.56 and back.
            let tremble = if number % 2 == 0 { 0.01 } else { 0.0 };
            lives.see(&moment(number), &[(4, &found(0.5 + tremble, 0.5))], zones)
        };
        let line = zone(0.555);
        // Before it is stationary, it crosses.
        assert!((0..12).flat_map(|number| see(number, &line)).count() > 5);
        assert_eq!((12..100).flat_map(|number| see(number, &line)).count(), 0);
        assert_eq!(see(100, &zone(0.9))[0].after.current_zones, [""; 0]);
        assert_eq!(see(101, &zone(0.1))[0].after.current_zones, ["door"]);
    }

    #[test]
    fn zones_are_told_at_once() {
        let polygon = vec![[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]];
        let zone = ZoneConfig { name: "door".into(), polygon, labels: Vec::new(), inertia: 1 };
        let zones = zones_of(&[zone]).unwrap();
        let mut lives = Lives::new(&config());
        let mut told = Vec::new();
        for (number, x) in (0..).zip([0.3, 0.35, 0.4, 0.44, 0.46, 0.48, 0.44]) {
            told.extend(lives.see(&moment(number), &[(0, &found(x, 0.5))], &zones));
        }
        let zones: Vec<_> =
            told.iter().map(|change| (&change.before.current_zones[..], &change.after.current_zones[..])).collect();
        let door = ["door".to_owned()];
        assert_eq!(zones, [(&[][..], &[][..]), (&[], &door), (&door, &[])]);
        assert_eq!(told[2].after.entered_zones, door);
    }

    #[test]
    fn the_end_has_the_last_that_was_seen() {
        let mut lives = Lives::new(&config());
        for number in 0..5 {
            see(&mut lives, number, 0.1);
        }
        let told = lives.end(&[4, 99]);
        assert_eq!((told.len(), told[0].happened), (1, Happened::End));
        assert_eq!(told[0].after.end_time, Some(1000.8));
        assert_eq!(told[0].before.end_time, None);
        assert_eq!(lives.end(&[4]), [], "it ends once");
    }

    #[test]
    fn a_better_look_is_worth_an_update() {
        let mut lives = Lives::new(&TrackerConfig { stationary: 1000, ..config() });
        for number in 0..6 {
            see(&mut lives, number, 0.1);
        }
        let better = lives.see(&moment(20), &[(4, &found(0.1, 0.9))], &[]);
        let after = &better[0].after;
        assert_eq!((better[0].happened, after.top_score, after.top_time), (Happened::Update, 0.9, 1004.0));
        let worse = lives.see(&moment(40), &[(4, &found(0.1, 0.3))], &[]);
        assert_eq!(worse, []);
        assert_eq!(lives.end(&[4])[0].after.top_time, 1004.0);
    }
}
