//! The commands of the analyser, as its frontend calls them.
//!
//! | command | parameters | answer |
//! | --- | --- | --- |
//! | `attach` | a [`CameraConfig`] | `{"camera"}` once its detector is made. The same again changes nothing; another configuration takes the place of the old one |
//! | `detach` | `{"camera"}` | nothing, once no message about it will come any more |
//! | `zones` | `{"camera","zones":[...]}` | nothing |
//! | `status` | none | [`Status`] |
//!
//! Beside these, every backend answers `ping` and `commands`.

use serde::{Deserialize, Serialize};
use valkka_command::PendingCall;

use crate::config::CameraConfig;
use crate::zone::ZoneConfig;

/// Names of all commands.
pub const NAMES: [&str; 6] = ["attach", "commands", "detach", valkka_command::PING, "status", "zones"];

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Analyse a camera.
    Attach(Box<CameraConfig>),
    /// Do not any more.
    Detach {
        /// Which.
        camera: String,
    },
    /// Other zones from now on.
    Zones(Zones),
    /// Say how it goes.
    Status,
    /// Say which commands there are.
    Commands,
}

/// Parameters of `detach`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detach {
    camera: String,
}

/// Parameters of `zones`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zones {
    /// Whose.
    pub camera: String,
    /// All of them.
    pub zones: Vec<ZoneConfig>,
}

impl Command {
    /// Understands a call.
    pub fn of(call: &PendingCall) -> Result<Self, String> {
        let said = |refusal: valkka_command::Refusal| refusal.0;
        match call.command() {
            "attach" => call.params().map(|config| Self::Attach(Box::new(config))).map_err(said),
            "detach" => call.params().map(|Detach { camera }| Self::Detach { camera }).map_err(said),
            "zones" => call.params().map(Self::Zones).map_err(said),
            "status" => Ok(Self::Status),
            "commands" => Ok(Self::Commands),
            other => Err(format!("there is no command {other:?}; there are {}", NAMES.join(", "))),
        }
    }
}

/// Answer of `status`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Cameras that are attached.
    pub cameras: Vec<CameraStatus>,
    /// ONNX models that are loaded.
    pub models: Vec<ModelStatus>,
    /// Analysis threads.
    pub threads: usize,
}

/// How it goes with a camera.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CameraStatus {
    /// Its name.
    pub camera: String,
    /// Its channel.
    pub channel: String,
    /// Frames that were looked at.
    pub frames: u64,
    /// Frames that were taken and could not be looked at.
    pub left_out: u64,
    /// Frames that were not taken because newer ones came.
    pub skipped: u64,
    /// Age of the last frame when its answer was ready, in milliseconds.
    pub age_ms: f64,
    /// The largest of these.
    pub age_max_ms: f64,
    /// Processor time that OpenCV has taken for all frames, in milliseconds.
    pub opencv_ms: f64,
}

/// How a model is used.
#[derive(Debug, Serialize)]
pub struct ModelStatus {
    /// Its file.
    pub model: String,
    /// Forward passes.
    pub passes: u64,
    /// Pictures in all of them.
    pub pictures: u64,
    /// Pictures in the largest of them.
    pub largest_batch: u64,
}
