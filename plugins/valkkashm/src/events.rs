//! Stream events in the bytes in which they travel between frames: gaps, custom events, force-key-unit, tags, latency.
//!
//! | kind | what | body (little endian) |
//! | --- | --- | --- |
//! | event 1 | gap | channel time `i64` (`i64::MIN`: none), duration ns `u64` (all ones: none) |
//! | event 2 | custom event | flavour `u8`, then its serialised GstStructure |
//! | event 3 | downstream force-key-unit | channel time `i64` (`i64::MIN`: none), all-headers `u8`, count `u32` |
//! | state `TAGS` | tags of the stream | serialised GstTagList, empty: none |
//! | state `LATENCY` | what the reader has to add | ns `u64` |
//! | state 64 | sticky custom events | per event a `u32` length and a serialised GstStructure |
//!
//! Events are sent once and lost on a reader that is not there; of each state a late reader gets the newest.
//! Bodies come from another process: decoding checks them and never panics.

use std::str::FromStr;

use frame_ring::StateKind;
use gst::{glib, prelude::*};

/// Sticky custom events, all of them at once: a late reader gets each.
pub const STICKY_EVENTS: StateKind = StateKind(64);

const GAP: u16 = 1;
const CUSTOM: u16 = 2;
const FORCE_KEY_UNIT: u16 = 3;

const NO_TIME: i64 = i64::MIN;
const NO_DURATION: u64 = u64::MAX;

/// Something that happens between two frames.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamEvent {
    /// Nothing to see from `time` on for `duration`.
    Gap {
        /// Channel time.
        time: Option<i64>,
        /// ns
        duration: Option<u64>,
    },
    /// An application's or an element's own event.
    Custom {
        /// In order with frames, or not.
        flavour: Flavour,
        /// What it says.
        structure: gst::Structure,
    },
    /// The encoder was told to make a keyframe here.
    ForceKeyUnit {
        /// Channel time.
        time: Option<i64>,
        /// Repeat stream headers with it.
        all_headers: bool,
        /// Number of such events so far.
        count: u32,
    },
}

/// Which of GStreamer's custom event types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// `custom-downstream`
    Downstream,
    /// `custom-downstream-oob`
    DownstreamOob,
    /// `custom-both`
    Both,
    /// `custom-both-oob`
    BothOob,
}

/// Why a body is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Too short.
    #[error("event of kind {0} ends too early")]
    Truncated(u16),
    /// Not UTF-8, or not what GStreamer parses.
    #[error("no {0} in the body of an event")]
    NotParsed(&'static str),
    /// A newer writer's.
    #[error("unknown event of kind {0}")]
    Unknown(u16),
}

impl StreamEvent {
    /// Kind and body.
    pub fn encode(&self) -> (u16, Vec<u8>) {
        match self {
            Self::Gap { time, duration } => {
                let mut body = time.unwrap_or(NO_TIME).to_le_bytes().to_vec();
                body.extend_from_slice(&duration.unwrap_or(NO_DURATION).to_le_bytes());
                (GAP, body)
            }
            Self::Custom { flavour, structure } => {
                let mut body = vec![flavour.code()];
                body.extend_from_slice(text_of(structure).as_bytes());
                (CUSTOM, body)
            }
            Self::ForceKeyUnit { time, all_headers, count } => {
                let mut body = time.unwrap_or(NO_TIME).to_le_bytes().to_vec();
                body.push(u8::from(*all_headers));
                body.extend_from_slice(&count.to_le_bytes());
                (FORCE_KEY_UNIT, body)
            }
        }
    }

    /// The event in `body`.
    pub fn decode(kind: u16, body: &[u8]) -> Result<Self, EventError> {
        let mut rest = Body { kind, rest: body };
        match kind {
            GAP => Ok(Self::Gap {
                time: Some(i64::from_le_bytes(rest.array()?)).filter(|time| *time != NO_TIME),
                duration: Some(u64::from_le_bytes(rest.array()?)).filter(|duration| *duration != NO_DURATION),
            }),
            CUSTOM => {
                let [code] = rest.array()?;
                let flavour = Flavour::of_code(code).ok_or(EventError::NotParsed("flavour"))?;
                Ok(Self::Custom { flavour, structure: structure_of(rest.rest)? })
            }
            FORCE_KEY_UNIT => {
                let time = Some(i64::from_le_bytes(rest.array()?)).filter(|time| *time != NO_TIME);
                let [all_headers] = rest.array()?;
                Ok(Self::ForceKeyUnit { time, all_headers: all_headers != 0, count: u32::from_le_bytes(rest.array()?) })
            }
            other => Err(EventError::Unknown(other)),
        }
    }
}

impl Flavour {
    fn code(self) -> u8 {
        match self {
            Self::Downstream => 0,
            Self::DownstreamOob => 1,
            Self::Both => 2,
            Self::BothOob => 3,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Downstream, Self::DownstreamOob, Self::Both, Self::BothOob].into_iter().find(|f| f.code() == code)
    }

    /// Of a GStreamer event that travels downstream and is not sticky.
    pub fn of(kind: gst::EventType) -> Option<Self> {
        match kind {
            gst::EventType::CustomDownstream => Some(Self::Downstream),
            gst::EventType::CustomDownstreamOob => Some(Self::DownstreamOob),
            gst::EventType::CustomBoth => Some(Self::Both),
            gst::EventType::CustomBothOob => Some(Self::BothOob),
            _ => None,
        }
    }

    /// A new GStreamer event of this kind.
    pub fn event(self, structure: gst::Structure) -> gst::Event {
        match self {
            Self::Downstream => gst::event::CustomDownstream::new(structure),
            Self::DownstreamOob => gst::event::CustomDownstreamOob::new(structure),
            Self::Both => gst::event::CustomBoth::new(structure),
            Self::BothOob => gst::event::CustomBothOob::new(structure),
        }
    }
}

/// Body of the state `TAGS`.
pub fn encode_tags(tags: &gst::TagListRef) -> Vec<u8> {
    if tags.n_tags() == 0 { Vec::new() } else { tags.to_string().into_bytes() }
}

/// The tags of the state `TAGS`.
pub fn decode_tags(body: &[u8]) -> Result<gst::TagList, EventError> {
    if body.is_empty() {
        return Ok(gst::TagList::new());
    }
    let error = EventError::NotParsed("tag list");
    // GStreamer complains aloud about anything else.
    let text = parsable(body).filter(|text| text.starts_with("taglist")).ok_or_else(|| error.clone())?;
    glib::Value::deserialize(text, gst::TagList::static_type())
        .ok()
        .and_then(|value| value.get::<gst::TagList>().ok())
        .ok_or(error)
}

/// Body of the state `LATENCY`.
pub fn encode_latency(latency: gst::ClockTime) -> Vec<u8> {
    latency.nseconds().to_le_bytes().to_vec()
}

/// The latency in the state `LATENCY`; None when it is none.
pub fn decode_latency(body: &[u8]) -> Option<gst::ClockTime> {
    // Hours of latency are a lie, and would make the reading pipeline wait for as long.
    const MAX: u64 = 3_600_000_000_000;
    let ns = u64::from_le_bytes(body.get(..8)?.try_into().ok()?);
    (ns <= MAX).then(|| gst::ClockTime::from_nseconds(ns))
}

/// Body of [`STICKY_EVENTS`].
pub fn encode_sticky(structures: &[gst::Structure]) -> Vec<u8> {
    let mut body = Vec::new();
    for structure in structures {
        let text = text_of(structure);
        let length = u32::try_from(text.len()).expect("an event is far smaller than 4 GiB");
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    body
}

/// The structures in [`STICKY_EVENTS`].
pub fn decode_sticky(body: &[u8]) -> Result<Vec<gst::Structure>, EventError> {
    let mut rest = Body { kind: STICKY_EVENTS.0, rest: body };
    let mut structures = Vec::new();
    while !rest.rest.is_empty() {
        let length = u32::from_le_bytes(rest.array()?);
        let (text, tail) = rest.rest.split_at_checked(length as usize).ok_or(EventError::Truncated(rest.kind))?;
        rest.rest = tail;
        structures.push(structure_of(text)?);
    }
    Ok(structures)
}

/// A GstStructure as it travels.
pub fn text_of(structure: &gst::StructureRef) -> String {
    structure.serialize(gst::SerializeFlags::empty()).to_string()
}

/// The GstStructure in `text`.
pub fn structure_of(text: &[u8]) -> Result<gst::Structure, EventError> {
    let error = EventError::NotParsed("structure");
    let text = parsable(text).ok_or_else(|| error.clone())?;
    gst::Structure::from_str(text).map_err(|_| error)
}

/// `text`, if GStreamer's parser may see it: no zero in it, and nested less deeply than its recursion has stack for.
pub fn parsable(text: &[u8]) -> Option<&str> {
    const MAX_DEPTH: usize = 500;
    let (mut depth, mut deepest) = (0usize, 0);
    for byte in text {
        match byte {
            0 => return None,
            b'[' | b'<' | b'{' | b'(' => depth += 1,
            b']' | b'>' | b'}' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    std::str::from_utf8(text).ok().filter(|_| deepest <= MAX_DEPTH)
}

struct Body<'a> {
    kind: u16,
    rest: &'a [u8],
}

impl Body<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], EventError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(EventError::Truncated(self.kind))?;
        self.rest = tail;
        Ok(*head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(event: StreamEvent) {
        let (kind, body) = event.encode();
        assert_eq!(StreamEvent::decode(kind, &body), Ok(event));
        for end in 0..body.len() {
            // Shorter is an error, or for text perhaps another structure, but never a panic.
            let _ = StreamEvent::decode(kind, &body[..end]);
        }
    }

    #[test]
    fn every_event_comes_back_as_it_was() {
        gst::init().expect("GStreamer starts");
        let structure = gst::Structure::builder("my-event")
            .field("n", 5u64)
            .field("text", "quotes \" and; semicolons, \u{e9}")
            .field("nested", gst::Structure::builder("inner").field("x", 1.5f64).build())
            .build();
        for flavour in [Flavour::Downstream, Flavour::DownstreamOob, Flavour::Both, Flavour::BothOob] {
            comes_back(StreamEvent::Custom { flavour, structure: structure.clone() });
        }
        comes_back(StreamEvent::Gap { time: Some(-5), duration: Some(7) });
        comes_back(StreamEvent::Gap { time: None, duration: None });
        comes_back(StreamEvent::ForceKeyUnit { time: Some(1), all_headers: true, count: 3 });
    }

    #[test]
    fn bodies_that_are_no_events_are_refused() {
        gst::init().expect("GStreamer starts");
        assert_eq!(StreamEvent::decode(GAP, &[0; 15]), Err(EventError::Truncated(GAP)));
        assert_eq!(StreamEvent::decode(999, &[]), Err(EventError::Unknown(999)));
        assert_eq!(StreamEvent::decode(CUSTOM, &[9]), Err(EventError::NotParsed("flavour")));
        assert_eq!(StreamEvent::decode(CUSTOM, b"\0= = ="), Err(EventError::NotParsed("structure")));
        assert_eq!(StreamEvent::decode(CUSTOM, b"\0\xff\xfe"), Err(EventError::NotParsed("structure")));
        assert_eq!(StreamEvent::decode(CUSTOM, b"\0a\0b"), Err(EventError::NotParsed("structure")));
    }

    #[test]
    fn nesting_has_an_end() {
        gst::init().expect("GStreamer starts");
        let nested = |depth| format!("s, a={}(int)1{};", "<".repeat(depth), ">".repeat(depth));
        assert!(structure_of(nested(100).as_bytes()).is_ok());
        assert!(structure_of(nested(100_000).as_bytes()).is_err());
    }

    #[test]
    fn tags_come_back_as_they_were() {
        gst::init().expect("GStreamer starts");
        let mut tags = gst::TagList::new();
        {
            let tags = tags.get_mut().expect("new");
            tags.add::<gst::tags::Title>(&"Lobby, \"north\"", gst::TagMergeMode::Append);
            tags.add::<gst::tags::Bitrate>(&4711, gst::TagMergeMode::Append);
        }
        assert_eq!(decode_tags(&encode_tags(&tags)), Ok(tags));
        assert_eq!(decode_tags(b""), Ok(gst::TagList::new()));
        assert!(decode_tags(b"no tags").is_err());
        assert!(decode_tags(b"\xff").is_err());
    }

    #[test]
    fn latency_comes_back_unless_it_is_absurd() {
        let latency = gst::ClockTime::from_mseconds(40);
        assert_eq!(decode_latency(&encode_latency(latency)), Some(latency));
        assert_eq!(decode_latency(&[1, 2, 3]), None);
        assert_eq!(decode_latency(&u64::MAX.to_le_bytes()), None);
    }

    #[test]
    fn sticky_events_come_back_as_they_were() {
        gst::init().expect("GStreamer starts");
        let structures: Vec<_> = ["a", "b"].map(|name| gst::Structure::builder(name).field("n", 1).build()).into();
        let body = encode_sticky(&structures);
        assert_eq!(decode_sticky(&body), Ok(structures));
        assert_eq!(decode_sticky(&[]), Ok(vec![]));
        assert_eq!(decode_sticky(&body[..body.len() - 1]), Err(EventError::Truncated(64)));
        assert_eq!(decode_sticky(&u32::MAX.to_le_bytes()), Err(EventError::Truncated(64)));
    }
}
