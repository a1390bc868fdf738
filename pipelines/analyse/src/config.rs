//! What is asked of the analyser for one camera: the parameters of the command `attach`, and of `--attach`.

use std::path::Path;

use frame_ring::{ChannelAddress, InitialFrame, Policy, Reader, ReaderOptions};
use serde::Deserialize;

use crate::detect::DetectorConfig;
use crate::geometry::Polygon;
use crate::message;
use crate::track::TrackerConfig;
use crate::zone::{Zone, ZoneConfig, zones_of};

/// A camera that is to be analysed. Only `channel` must be there.
///
/// ```
/// use valkka_analyse::config::CameraConfig;
/// let config: CameraConfig = serde_json::from_str(
///     r#"{"channel":"lobby.rgb","detector":"people","zones":[{"name":"door","polygon":[[0,0],[0.5,0],[0.5,1],[0,1]]}]}"#,
/// )
/// .unwrap();
/// assert_eq!(config.camera(), "lobby");
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraConfig {
    /// The channel to read: its name, or the path of its socket if it has a slash.
    pub channel: String,
    /// What messages call the camera; the channel's name before its last dot if it is left out.
    #[serde(default)]
    pub camera: Option<String>,
    /// What looks at its pictures.
    #[serde(default)]
    pub detector: DetectorConfig,
    /// Regions that do not count, each a list of corners `[x, y]` in shares of width and height. Motion there is not seen;
    /// other objects are passed over when they stand there.
    #[serde(default)]
    pub mask: Vec<Vec<[f64; 2]>>,
    /// Regions with a name.
    #[serde(default)]
    pub zones: Vec<ZoneConfig>,
    /// How objects are followed.
    #[serde(default)]
    pub tracker: TrackerConfig,
    /// Which frames to take when analysing is slower than writing.
    #[serde(default)]
    pub policy: PolicyName,
    /// Frames that may wait in the channel, for the policies queue and lossless.
    #[serde(default = "four")]
    pub queue_size: u32,
}

fn four() -> u32 {
    4
}

/// Which frames to take when analysing is slower than writing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PolicyName {
    /// Always the newest frame
    #[default]
    Latest,
    /// The oldest of --queue-size frames
    Queue,
    /// Every frame; the writer waits (it must allow that: lossless-timeout)
    Lossless,
}

impl From<PolicyName> for Policy {
    fn from(name: PolicyName) -> Self {
        match name {
            PolicyName::Latest => Policy::Latest,
            PolicyName::Queue => Policy::Queue,
            PolicyName::Lossless => Policy::Lossless,
        }
    }
}

/// Longer names of cameras are refused.
const MAX_NAME: usize = 64;

impl CameraConfig {
    /// A channel, looked at for motion.
    pub fn of_channel(channel: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            camera: None,
            detector: DetectorConfig::default(),
            mask: Vec::new(),
            zones: Vec::new(),
            tracker: TrackerConfig::default(),
            policy: PolicyName::default(),
            queue_size: four(),
        }
    }

    /// What messages call the camera.
    pub fn camera(&self) -> &str {
        self.camera.as_deref().unwrap_or_else(|| message::camera(self.channel_name()))
    }

    /// What messages call the channel: a path's last part.
    pub fn channel_name(&self) -> &str {
        self.channel.rsplit('/').next().unwrap_or(&self.channel)
    }

    /// Says what is wrong with it, before anything is opened.
    pub fn check(&self) -> Result<(), String> {
        self.address()?;
        let name = self.camera();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(format!("camera {name:?}: a name has 1 to {MAX_NAME} bytes"));
        }
        if !(1..=1024).contains(&self.queue_size) {
            return Err(format!("queue_size is {}, but must be from 1 to 1024", self.queue_size));
        }
        self.detector.check()?;
        self.tracker.check()?;
        self.mask()?;
        self.zones().map(|_| ())
    }

    /// The regions that do not count.
    pub fn mask(&self) -> Result<Vec<Polygon>, String> {
        let polygons = self.mask.iter().map(|points| Polygon::try_from(points.clone()));
        polygons.collect::<Result<_, _>>().map_err(|error| format!("mask: {error}"))
    }

    /// The regions with a name.
    pub fn zones(&self) -> Result<Vec<Zone>, String> {
        zones_of(&self.zones)
    }

    /// A reader of the channel, which need not exist yet.
    pub fn reader(&self) -> Result<Reader, String> {
        let options = ReaderOptions {
            address: self.address()?,
            policy: self.policy.into(),
            queue_size: self.queue_size,
            // The one under analysis.
            max_held: 1,
            initial: InitialFrame::Newest,
        };
        Reader::new(options).map_err(|error| error.to_string())
    }

    fn address(&self) -> Result<ChannelAddress, String> {
        if !self.channel.contains('/') {
            return ChannelAddress::channel(&self.channel).map_err(|error| error.to_string());
        }
        let path = Path::new(&self.channel);
        if path.file_name().and_then(|name| name.to_str()) != Some(self.channel_name()) {
            return Err(format!("channel {:?}: the path of a socket must end with its name", self.channel));
        }
        ChannelAddress::socket(path).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<CameraConfig, String> {
        let config: CameraConfig = serde_json::from_str(text).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn a_channel_is_enough() {
        let least = config(r#"{"channel":"lobby.rgb"}"#).unwrap();
        assert_eq!(least, CameraConfig::of_channel("lobby.rgb"));
        assert_eq!((least.camera(), least.channel_name()), ("lobby", "lobby.rgb"));
        let named = config(r#"{"channel":"/tmp/x/lobby.rgb","camera":"hall"}"#).unwrap();
        assert_eq!((named.camera(), named.channel_name()), ("hall", "lobby.rgb"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, explanation) in [
            (r#"{}"#, "channel"),
            (r#"{"channel":"Lobby!"}"#, "Lobby!"),
            (r#"{"channel":"/tmp/x/"}"#, "end with its name"),
            (r#"{"channel":"a.rgb","camera":""}"#, "1 to 64"),
            (r#"{"channel":"a.rgb","queue_size":0}"#, "queue_size"),
            (r#"{"channel":"a.rgb","policy":"fastest"}"#, "lossless"),
            (r#"{"channel":"a.rgb","zone":[]}"#, "zones"),
            (r#"{"channel":"a.rgb","mask":[[[0,0],[1,1]]]}"#, "mask"),
            (r#"{"channel":"a.rgb","zones":[{"name":"x","polygon":[[0,0],[1,1],[9,9]]}]}"#, "shares"),
            (r#"{"channel":"a.rgb","tracker":{"confirm":0}}"#, "confirm"),
            (r#"{"channel":"a.rgb","detector":{"kind":"motion","min_area":2}}"#, "min_area"),
            (r#"{"channel":"a.rgb","detector":{"kind":"people","stride":7}}"#, "multiples of 8"),
        ] {
            let error = config(text).unwrap_err();
            assert!(error.contains(explanation), "{text}: {error}");
        }
    }
}
