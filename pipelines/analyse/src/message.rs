//! What the analyser says: JSON, the same on standard output, as events and as replies to a frame's writer.
//!
//! [`Detections`] is about one frame, [`ObjectEvent`] about the life of one object, in Frigate's words. Their JSON Schema is
//! `docs/detections.schema.json`; `docs/detections.md` tells it to people.

use frame_ring::{Frame, monotonic_now};
use serde::Serialize;

use crate::geometry::Bounds;
use crate::life::{Change, Happened, Moment, Snapshot};
use crate::track::Found;

/// Version of the messages, raised when a field changes its meaning or goes.
pub const VERSION: u32 = 1;

/// So many objects at most are told of a frame, the best: a message stays far below the limit of a reply (64 KiB).
pub const MAX_OBJECTS: usize = 64;

/// Labels are cut to this many bytes, for the same reason.
pub const MAX_LABEL: usize = 64;

/// What was found in one frame.
#[derive(Debug, Serialize)]
pub struct Detections<'a> {
    /// [`VERSION`]
    pub v: u32,
    /// The camera that the channel belongs to.
    pub camera: &'a str,
    /// The channel of the frame.
    pub channel: &'a str,
    /// Number of the frame in its generation.
    pub seq: u64,
    /// Generation of the frame.
    pub generation: u64,
    /// Channel time in nanoseconds: CLOCK_MONOTONIC of the writer's machine.
    pub pts: i64,
    /// When the frame was taken, in seconds since 1970.
    pub utc: f64,
    /// Width of the picture in pixels.
    pub width: i32,
    /// Height of the picture in pixels.
    pub height: i32,
    /// Age of the frame when this was said, in milliseconds.
    pub age_ms: f64,
    /// What was found.
    pub objects: Vec<Object<'a>>,
}

/// Something in the picture.
#[derive(Debug, Serialize)]
pub struct Object<'a> {
    /// The same for the same object as long as it can be followed.
    pub id: u64,
    /// What it is.
    pub label: &'a str,
    /// How sure the detector is, 0..1.
    pub score: f64,
    /// Left, top, right, bottom, as shares of width and height (0..1).
    #[serde(rename = "box")]
    pub edges: [f64; 4],
}

/// When a frame was taken, and which it is.
pub fn moment_of(frame: &Frame, size: (i32, i32)) -> Moment {
    // A frame without a time stamp was taken when it was published, as far as anybody knows.
    let pts = frame.info().time.unwrap_or_else(|| frame.published());
    let utc = seconds(pts.saturating_add(frame.utc_offset()));
    Moment { pts, utc, frame: (frame.id().generation, frame.id().seq), size }
}

impl<'a> Detections<'a> {
    /// Stamps what was found with the identity of the frame, now.
    pub fn new(camera: &'a str, channel: &'a str, moment: &Moment, objects: Vec<Object<'a>>) -> Self {
        Self {
            v: VERSION,
            camera,
            channel,
            seq: moment.frame.1,
            generation: moment.frame.0,
            pts: moment.pts,
            utc: moment.utc,
            width: moment.size.0,
            height: moment.size.1,
            age_ms: round(monotonic_now().saturating_sub(moment.pts) as f64 / 1e6, 3),
            objects,
        }
    }

    /// One line of JSON, without the line's end.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings are always JSON")
    }
}

impl<'a> Object<'a> {
    /// What was found, under its id.
    pub fn new(id: u64, found: &'a Found) -> Self {
        let Bounds { x1, y1, x2, y2 } = found.bounds;
        let edges = [x1, y1, x2, y2].map(|edge| round(edge, 5));
        Self { id, label: &found.label, score: round(found.score, 3), edges }
    }
}

/// What has happened to an object, in Frigate's words (its MQTT topic `frigate/events`).
#[derive(Debug, Serialize)]
pub struct ObjectEvent<'a> {
    /// [`VERSION`]
    pub v: u32,
    /// `new`, `update` or `end`.
    pub r#type: &'static str,
    /// As it was told of before.
    pub before: TrackedObject<'a>,
    /// As it is now.
    pub after: TrackedObject<'a>,
}

/// An object as Frigate describes it; `object`, `channel`, `pts`, `seq` and `generation` are ours.
#[derive(Debug, Serialize)]
pub struct TrackedObject<'a> {
    /// Unique over cameras and restarts: start time, number of the object.
    pub id: String,
    /// The id of the messages about frames.
    pub object: u64,
    /// The camera.
    pub camera: &'a str,
    /// The channel of the frame.
    pub channel: &'a str,
    /// When the frame was taken, in seconds since 1970.
    pub frame_time: f64,
    /// When `top_score` was reached, in seconds since 1970.
    pub snapshot_time: f64,
    /// The same as channel time, in nanoseconds.
    pub pts: i64,
    /// The frame.
    pub seq: u64,
    /// The frame's generation.
    pub generation: u64,
    /// What it is.
    pub label: &'a str,
    /// Nobody here knows more than the label.
    pub sub_label: Option<&'a str>,
    /// In this frame.
    pub score: f64,
    /// The best so far.
    pub top_score: f64,
    /// What flickers is not told of.
    pub false_positive: bool,
    /// When it was seen first.
    pub start_time: f64,
    /// When it was seen last, once it has gone.
    pub end_time: Option<f64>,
    /// Left, top, right, bottom in pixels.
    #[serde(rename = "box")]
    pub edges: [i32; 4],
    /// Of the box, in square pixels.
    pub area: i64,
    /// Width over height of the box.
    pub ratio: f64,
    /// The part of the picture that was looked at, in pixels: all of it.
    pub region: [i32; 4],
    /// Zones that it is in.
    pub current_zones: &'a [String],
    /// Zones that it has been in.
    pub entered_zones: &'a [String],
    /// It keeps its place.
    pub stationary: bool,
    /// It does not.
    pub active: bool,
    /// For how many frames it has kept its place.
    pub motionless_count: u32,
    /// How often it has changed its place.
    pub position_changes: u32,
    /// Pictures are the orchestrator's business.
    pub has_snapshot: bool,
    /// Recordings, too.
    pub has_clip: bool,
}

impl<'a> ObjectEvent<'a> {
    /// Says a change.
    pub fn new(camera: &'a str, channel: &'a str, change: &'a Change) -> Self {
        let r#type = match change.happened {
            Happened::New => "new",
            Happened::Update => "update",
            Happened::End => "end",
        };
        let tracked = |snapshot| TrackedObject::new(camera, channel, snapshot);
        Self { v: VERSION, r#type, before: tracked(&change.before), after: tracked(&change.after) }
    }

    /// One line of JSON, without the line's end.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings are always JSON")
    }
}

impl<'a> TrackedObject<'a> {
    fn new(camera: &'a str, channel: &'a str, snapshot: &'a Snapshot) -> Self {
        let Bounds { x1, y1, x2, y2 } = snapshot.bounds;
        let (width, height) = snapshot.size;
        let pixel = |share: f64, side: i32| (share * f64::from(side)).round() as i32;
        let edges = [pixel(x1, width), pixel(y1, height), pixel(x2, width), pixel(y2, height)];
        let (across, down) = (edges[2] - edges[0], edges[3] - edges[1]);
        let ratio = if down > 0 { round(f64::from(across) / f64::from(down), 2) } else { 0.0 };
        Self {
            id: format!("{:.6}-{}", snapshot.start_time, snapshot.object),
            object: snapshot.object,
            camera,
            channel,
            frame_time: snapshot.frame_time,
            snapshot_time: snapshot.top_time,
            pts: snapshot.pts,
            seq: snapshot.frame.1,
            generation: snapshot.frame.0,
            label: &snapshot.label,
            sub_label: None,
            score: round(snapshot.score, 3),
            top_score: round(snapshot.top_score, 3),
            false_positive: false,
            start_time: snapshot.start_time,
            end_time: snapshot.end_time,
            edges,
            area: i64::from(across) * i64::from(down),
            ratio,
            region: [0, 0, width, height],
            current_zones: &snapshot.current_zones,
            entered_zones: &snapshot.entered_zones,
            stationary: snapshot.stationary,
            active: !snapshot.stationary,
            motionless_count: snapshot.motionless_count,
            position_changes: snapshot.position_changes,
            has_snapshot: false,
            has_clip: false,
        }
    }
}

/// The camera that a channel belongs to: its name before the last dot.
pub fn camera(channel: &str) -> &str {
    match channel.rsplit_once('.') {
        Some((camera, _)) if !camera.is_empty() => camera,
        _ => channel,
    }
}

/// Nanoseconds as seconds. Split first: nanoseconds since 1970 have more digits than a double.
fn seconds(ns: i64) -> f64 {
    (ns.div_euclid(1_000_000_000)) as f64 + ns.rem_euclid(1_000_000_000) as f64 / 1e9
}

/// Digits that mean nothing only make lines longer.
fn round(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Moment = Moment { pts: 123_456_789, utc: 1_700_000_000.5, frame: (2, 42), size: (640, 360) };

    fn found(score: f64) -> Found {
        Found { label: "motion".into(), score, bounds: Bounds { x1: 0.1, y1: 0.25, x2: 0.6, y2: 0.75 } }
    }

    #[test]
    fn camera_is_the_name_before_the_last_dot() {
        assert_eq!(camera("lobby.rgb"), "lobby");
        assert_eq!(camera("gate.left.rgb"), "gate.left");
        assert_eq!(camera("yard"), "yard");
        assert_eq!(camera(".rgb"), ".rgb");
    }

    #[test]
    fn seconds_keep_a_microsecond() {
        assert!((seconds(1_700_000_000_123_456_789) - 1_700_000_000.123_457).abs() < 1e-6);
        assert_eq!(seconds(-500_000_000), -0.5);
    }

    #[test]
    fn messages_have_the_agreed_fields_in_their_order() {
        let half = found(0.5);
        let mut message = Detections::new("lobby", "lobby.rgb", &MOMENT, vec![Object::new(3, &half)]);
        message.age_ms = 12.345;
        assert_eq!(
            String::from_utf8(message.to_json()).unwrap(),
            r#"{"v":1,"camera":"lobby","channel":"lobby.rgb","seq":42,"generation":2,"pts":123456789,"utc":1700000000.5,"width":640,"height":360,"age_ms":12.345,"objects":[{"id":3,"label":"motion","score":0.5,"box":[0.1,0.25,0.6,0.75]}]}"#
        );
    }

    #[test]
    fn largest_message_fits_a_reply() {
        let name = "c".repeat(64);
        let odd = Bounds { x1: 0.123_456_7, y1: 0.234_567_8, x2: 0.345_678_9, y2: 0.456_789 };
        let found = Found { label: "l".repeat(MAX_LABEL).into(), score: 0.123_456, bounds: odd };
        let objects = (0..MAX_OBJECTS as u64).map(|n| Object::new(u64::MAX - n, &found)).collect();
        let moment =
            Moment { pts: i64::MIN, utc: -1_700_000_000.123_456, frame: (u64::MAX, u64::MAX), size: (i32::MAX, 1) };
        assert!(Detections::new(&name, &name, &moment, objects).to_json().len() < frame_ring::MAX_REPLY / 2);
    }
}
