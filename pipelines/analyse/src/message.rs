//! What the analyser says about a frame: one JSON object, the same on standard output and as reply to the writer.

use frame_ring::{Frame, monotonic_now};
use opencv::core::Size;
use serde::Serialize;

use crate::motion::Blob;

/// Version of the message, raised when a field changes its meaning or goes.
const VERSION: u32 = 1;

/// So many objects at most are told of a frame, the largest: a message stays far below the limit of a reply (64 KiB).
pub const MAX_OBJECTS: usize = 64;

/// What was found in one frame.
#[derive(Debug, Serialize)]
pub struct Detections<'a> {
    pub v: u32,
    /// The channel's name without its kind: `lobby` for `lobby.rgb`.
    pub camera: &'a str,
    pub channel: &'a str,
    /// Number of the frame in its generation.
    pub seq: u64,
    pub generation: u64,
    /// Channel time in nanoseconds: CLOCK_MONOTONIC of the writer's machine.
    pub pts: i64,
    /// When the frame was taken, in seconds since 1970.
    pub utc: f64,
    /// Size of the picture in pixels.
    pub width: i32,
    pub height: i32,
    /// Age of the frame when this was said, in milliseconds.
    pub age_ms: f64,
    pub objects: Vec<Object>,
}

/// Something in the picture.
#[derive(Debug, Serialize)]
pub struct Object {
    /// The same for the same object as long as it can be followed.
    pub id: u64,
    pub label: &'static str,
    /// 0..1. For motion: the share of the box that moves.
    pub score: f64,
    /// Left, top, right, bottom, as shares of width and height (0..1).
    #[serde(rename = "box")]
    pub edges: [f64; 4],
}

impl<'a> Detections<'a> {
    /// Stamps what was found with the identity of the frame, now.
    pub fn new(channel: &'a str, frame: &Frame, size: Size, objects: Vec<Object>) -> Self {
        let id = frame.id();
        // A frame without a time stamp was taken when it was published, as far as anybody knows.
        let time = frame.info().time.unwrap_or_else(|| frame.published());
        Self {
            v: VERSION,
            camera: camera(channel),
            channel,
            seq: id.seq,
            generation: id.generation,
            pts: time,
            utc: seconds(time.saturating_add(frame.utc_offset())),
            width: size.width,
            height: size.height,
            age_ms: round(monotonic_now().saturating_sub(time) as f64 / 1e6, 3),
            objects,
        }
    }

    /// One line of JSON, without the line's end.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and strings are always JSON")
    }
}

impl Object {
    pub fn motion(id: u64, blob: &Blob, size: Size) -> Self {
        let rect = blob.rect;
        let share = |edge: i32, of: i32| round((f64::from(edge) / f64::from(of)).clamp(0.0, 1.0), 5);
        Self {
            id,
            label: "motion",
            score: round((blob.area / f64::from(rect.area())).clamp(0.0, 1.0), 3),
            edges: [
                share(rect.x, size.width),
                share(rect.y, size.height),
                share(rect.x + rect.width, size.width),
                share(rect.y + rect.height, size.height),
            ],
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
    use opencv::core::Rect;

    use super::*;

    const SIZE: Size = Size { width: 640, height: 360 };

    #[test]
    fn boxes_are_shares_of_the_picture() {
        let object = Object::motion(7, &Blob { rect: Rect::new(64, 90, 320, 180), area: 28_800.0 }, SIZE);
        assert_eq!(object.edges, [0.1, 0.25, 0.6, 0.75]);
        assert_eq!(object.score, 0.5);
        let whole = Object::motion(0, &Blob { rect: Rect::new(0, 0, 640, 360), area: 1e9 }, SIZE);
        assert_eq!((whole.edges, whole.score), ([0.0, 0.0, 1.0, 1.0], 1.0));
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
        let object = Object::motion(3, &Blob { rect: Rect::new(64, 90, 320, 180), area: 28_800.0 }, SIZE);
        let message = Detections {
            v: VERSION,
            camera: "lobby",
            channel: "lobby.rgb",
            seq: 42,
            generation: 2,
            pts: 123_456_789,
            utc: 1_700_000_000.5,
            width: 640,
            height: 360,
            age_ms: 12.345,
            objects: vec![object],
        };
        assert_eq!(
            String::from_utf8(message.to_json()).unwrap(),
            r#"{"v":1,"camera":"lobby","channel":"lobby.rgb","seq":42,"generation":2,"pts":123456789,"utc":1700000000.5,"width":640,"height":360,"age_ms":12.345,"objects":[{"id":3,"label":"motion","score":0.5,"box":[0.1,0.25,0.6,0.75]}]}"#
        );
    }

    #[test]
    fn largest_message_fits_a_reply() {
        let blob = Blob { rect: Rect::new(213, 119, 214, 121), area: 12_345.0 };
        let name = "c".repeat(64);
        let message = Detections {
            v: VERSION,
            camera: &name,
            channel: &name,
            seq: u64::MAX,
            generation: u64::MAX,
            pts: i64::MIN,
            utc: -1_700_000_000.123_456,
            width: i32::MAX,
            height: i32::MAX,
            age_ms: -123_456_789.123,
            objects: (0..MAX_OBJECTS as u64).map(|n| Object::motion(u64::MAX - n, &blob, SIZE)).collect(),
        };
        assert!(message.to_json().len() < frame_ring::MAX_REPLY / 2);
    }
}
