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
//!     │  {"type":"error","value":"mse: ..."}, then close   │
//!     │◄──────────────────────────────────────────────────┤
//! ```

use crate::clock::MediaClock;
use crate::mp4::{self, Init};
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
    /// An init segment of another kind follows (`SourceBuffer.changeType()`).
    Reinit { value: String },
    /// The source has ended.
    Eos,
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
#[derive(Debug, Deserialize)]
struct FromViewer {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: serde_json::Value,
    #[serde(default)]
    ext: serde_json::Value,
}

/// What a viewer says first: it wants MSE.
#[derive(Debug, PartialEq)]
pub struct Hello {
    /// What it can play, by its own words; empty means anything.
    codecs: String,
    /// It understands more than go2rtc's messages.
    pub ext: bool,
}

impl Hello {
    /// Reads a text message; `None` when it is something else.
    pub fn read(text: &str) -> Option<Self> {
        let message: FromViewer = serde_json::from_str(text).ok()?;
        let ext =
            message.ext.as_u64().is_some_and(|version| version >= 1) || message.ext == serde_json::Value::Bool(true);
        (message.kind == "mse").then(|| Self { codecs: message.value.as_str().unwrap_or_default().into(), ext })
    }

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
        let hello = |text| Hello::read(text);
        assert_eq!(hello(r#"{"type":"mse","value":"opus"}"#), Some(Hello { codecs: "opus".into(), ext: false }));
        assert_eq!(hello(r#"{"type":"mse","ext":1}"#), Some(Hello { codecs: String::new(), ext: true }));
        assert_eq!(hello(r#"{"type":"webrtc/offer","value":{"sdp":""}}"#), None);
        assert_eq!(hello("not JSON"), None);
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
