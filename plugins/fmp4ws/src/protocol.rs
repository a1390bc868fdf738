//! The messages between a viewer and the sink: go2rtc's, and what a viewer gets in addition when it asks with `"ext":1`.
//!
//! ```text
//!   viewer                                              sink
//!     │  {"type":"mse","value":"avc1.640029,...","ext":1} │
//!     ├──────────────────────────────────────────────────►│
//!     │  {"type":"mse","value":"video/mp4; codecs=\"...\""}│
//!     │◄──────────────────────────────────────────────────┤
//!     │  {"type":"init",...}                         (ext) │
//!     │  binary: ftyp moov                                 │
//!     │  binary: moof mdat, the first one a keyframe       │
//!     │  binary: moof mdat                                 │
//!     │  {"type":"drop","frames":12,"bytes":34567}   (ext) │   it was too slow; a keyframe follows
//!     │  {"type":"clock",...}                        (ext) │   media times mean something else from here on
//!     │  {"type":"reinit","value":"..."}, then init  (ext) │   the stream has changed; an init segment follows
//!     │  {"type":"eos"}                              (ext) │   the source has ended
//!     │  {"type":"stats",...}                        (ext) │   every 5 s, and in answer to a report
//!     │  {"type":"error","value":"mse: ..."}, then close   │
//!     │◄──────────────────────────────────────────────────┤
//!     │  {"type":"idr"}                              (ext) │   a keyframe, please
//!     │  {"type":"pause"}, {"type":"resume"}         (ext) │   no media; media again, from a keyframe on
//!     │  {"type":"report","latency":0.1,...}         (ext) │   how the viewer fares
//!     ├──────────────────────────────────────────────────►│
//! ```

use crate::clock::MediaClock;
use crate::mp4::{self, Init};
use crate::rate::PerSecond;
use serde::{Deserialize, Serialize};

/// From the sink.
#[derive(Debug, Serialize, PartialEq)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// The stream can be played as this type; its init segment follows.
    Mse { value: String },
    /// Why nothing (more) will come.
    Error { value: String },
    /// What the init segment that follows describes.
    Init {
        stream: String,
        /// Pixels; 0 for sound alone.
        width: u16,
        height: u16,
        /// Units per second of the main track.
        timescale: u32,
        #[serde(flatten)]
        clock: Clock,
    },
    /// What media times mean from now on.
    Clock(Clock),
    /// Fragments were left out before the next one.
    Drop { frames: u64, bytes: u64 },
    /// An init segment of another kind follows (`SourceBuffer.changeType()`; with other tracks, another MediaSource).
    Reinit { value: String },
    /// The source has ended.
    Eos,
    /// How the stream and this viewer fare.
    Stats(Stats),
}

/// See [`Message::Stats`].
#[derive(Debug, Default, Serialize, PartialEq)]
pub struct Stats {
    /// Of the stream, at this moment.
    pub viewers: usize,
    #[serde(flatten)]
    pub rate: PerSecond,
    /// What waits for this viewer.
    pub queue_bytes: u64,
    pub queue_seconds: f64,
    /// What it missed because it was too slow.
    pub dropped_frames: u64,
    pub dropped_bytes: u64,
    /// The sink's clock, in seconds since 1970.
    pub utc: f64,
    /// `time` of the report that this answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echo: Option<f64>,
}

/// Where media times belong (see [`crate::clock`]); null until the first frame has come.
#[derive(Debug, Default, Serialize, PartialEq)]
pub struct Clock {
    /// UTC of media time 0, in seconds since 1970.
    pub epoch: Option<f64>,
    /// Channel time of media time 0, in nanoseconds.
    pub pts0: Option<i64>,
    /// Both come from the frames' own time stamps, not from their arrival.
    pub exact: bool,
}

impl From<Option<MediaClock>> for Clock {
    fn from(clock: Option<MediaClock>) -> Self {
        clock.map_or(Self::default(), |clock| Self {
            epoch: Some(clock.epoch()),
            pts0: Some(clock.pts0_ns),
            exact: clock.exact,
        })
    }
}

impl Message {
    /// go2rtc's spelling of an error.
    pub fn error(reason: impl std::fmt::Display) -> Self {
        Self::Error { value: format!("mse: {reason}") }
    }

    /// As text for the wire.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("these messages have only names for keys")
    }
}

/// From a viewer. Unknown types and keys are ignored: go2rtc's player also offers WebRTC on the same socket.
#[derive(Debug, PartialEq)]
pub enum Request {
    Hello(Hello),
    /// A keyframe, please.
    Idr,
    /// No media for now.
    Pause,
    /// Media again.
    Resume,
    /// How it fares.
    Report(Feedback),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FromViewer {
    #[serde(rename = "type")]
    kind: String,
    value: serde_json::Value,
    ext: serde_json::Value,
    latency: serde_json::Value,
    buffered: serde_json::Value,
    dropped: serde_json::Value,
    time: serde_json::Value,
}

/// What a viewer says first: it wants MSE.
#[derive(Debug, PartialEq)]
pub struct Hello {
    /// What it can play, by its own words; empty means anything.
    codecs: String,
    /// It understands more than go2rtc's messages.
    pub ext: bool,
}

/// What a viewer tells of itself. All of it is its claim, and none of it is needed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Feedback {
    /// Seconds from taking a picture to showing it; may be negative when clocks disagree.
    pub latency: Option<f64>,
    /// Seconds of media that wait to be shown.
    pub buffered: Option<f64>,
    /// Frames that it did not show, since it came.
    pub dropped: Option<u64>,
    /// By its own clock: comes back in the answer, so that it can compare its clock with the sink's.
    pub time: Option<f64>,
}

impl Request {
    /// Reads a text message; `None` when it is something else.
    pub fn read(text: &str) -> Option<Self> {
        let message: FromViewer = serde_json::from_str(text).ok()?;
        match message.kind.as_str() {
            "mse" => {
                let version = message.ext.as_u64().is_some_and(|version| version >= 1);
                let ext = version || message.ext == serde_json::Value::Bool(true);
                Some(Self::Hello(Hello { codecs: message.value.as_str().unwrap_or_default().into(), ext }))
            }
            "idr" => Some(Self::Idr),
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            "report" => Some(Self::Report(Feedback {
                latency: sensible(&message.latency),
                buffered: sensible(&message.buffered),
                dropped: message.dropped.as_u64(),
                time: message.time.as_f64(),
            })),
            _ => None,
        }
    }
}

/// Seconds, up to a few days.
fn sensible(value: &serde_json::Value) -> Option<f64> {
    value.as_f64().filter(|seconds| seconds.abs() < 1e6)
}

impl Hello {
    /// The first codec of the stream that the viewer cannot play.
    pub fn unplayable<'a>(&self, init: &'a Init) -> Option<&'a str> {
        if self.codecs.trim().is_empty() {
            return None;
        }
        let families = mp4::families(&self.codecs);
        let named: Vec<&str> = self.codecs.split(',').map(str::trim).collect();
        let playable =
            |codec: &str| mp4::family(codec).map_or(named.contains(&codec), |family| families.contains(&family));
        init.tracks.iter().map(|track| track.codec.as_str()).find(|codec| !playable(codec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::samples;

    #[test]
    fn messages_are_spelled_as_go2rtc_spells_them() {
        let mse = Message::Mse { value: "video/mp4; codecs=\"avc1.64001F\"".into() };
        assert_eq!(mse.json(), r#"{"type":"mse","value":"video/mp4; codecs=\"avc1.64001F\""}"#);
        assert_eq!(Message::error("no such stream").json(), r#"{"type":"error","value":"mse: no such stream"}"#);
        assert_eq!(Message::Eos.json(), r#"{"type":"eos"}"#);
    }

    #[test]
    fn init_tells_size_and_time() {
        let clock = Clock { epoch: Some(1.5), pts0: Some(-7), exact: true };
        let init = Message::Init { stream: "cam".into(), width: 320, height: 240, timescale: 2500, clock };
        let json = r#"{"type":"init","stream":"cam","width":320,"height":240,"timescale":2500,"epoch":1.5,"pts0":-7,"exact":true}"#;
        assert_eq!(init.json(), json);
    }

    #[test]
    fn a_viewer_introduces_itself() {
        let hello = |codecs: &str, ext| Some(Request::Hello(Hello { codecs: codecs.into(), ext }));
        assert_eq!(Request::read(r#"{"type":"mse","value":"opus"}"#), hello("opus", false));
        assert_eq!(Request::read(r#"{"type":"mse","ext":1}"#), hello("", true));
        assert_eq!(Request::read(r#"{"type":"webrtc/offer","value":{"sdp":""}}"#), None);
        assert_eq!(Request::read("not JSON"), None);
        assert_eq!(Request::read("[1,2]"), None);
    }

    #[test]
    fn a_viewer_tells_what_it_wants_and_how_it_fares() {
        assert_eq!(Request::read(r#"{"type":"idr"}"#), Some(Request::Idr));
        assert_eq!(Request::read(r#"{"type":"pause","value":7}"#), Some(Request::Pause));
        assert_eq!(Request::read(r#"{"type":"resume"}"#), Some(Request::Resume));
        let full = r#"{"type":"report","latency":-0.5,"buffered":0.08,"dropped":3,"time":12.5}"#;
        let feedback = Feedback { latency: Some(-0.5), buffered: Some(0.08), dropped: Some(3), time: Some(12.5) };
        assert_eq!(Request::read(full), Some(Request::Report(feedback)));
        let nonsense = r#"{"type":"report","latency":1e300,"buffered":"much","dropped":-1,"time":null}"#;
        assert_eq!(Request::read(nonsense), Some(Request::Report(Feedback::default())));
    }

    #[test]
    fn stats_answer_a_report_with_its_time() {
        let json = Message::Stats(Stats { viewers: 2, echo: Some(12.5), ..Stats::default() }).json();
        assert!(json.starts_with(r#"{"type":"stats","viewers":2,"frames_per_second":0.0"#), "{json}");
        assert!(json.ends_with(r#""echo":12.5}"#), "{json}");
        assert!(!Message::Stats(Stats::default()).json().contains("echo"));
    }

    #[test]
    fn codecs_are_compared_by_family() {
        let (init, _) = samples::parse_parts(&samples::init(true));
        let unplayable = |value: &str| {
            let hello = Hello { codecs: value.into(), ext: false };
            hello.unplayable(&init).map(str::to_owned)
        };
        assert_eq!(unplayable("avc1.640029,opus"), None);
        assert_eq!(unplayable(""), None);
        assert_eq!(unplayable("hvc1.1.6.L153.B0,opus").as_deref(), Some("avc1.64001F"));
        assert_eq!(unplayable("avc1.640029").as_deref(), Some("opus"));
    }
}
