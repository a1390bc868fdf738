//! One camera's place at the analyser: its channel, and the camera itself while no thread looks at its pictures.

use std::sync::Arc;

use valkka_command::PendingCall;

use crate::camera::{Camera, Look};
use crate::channel::Channel;
use crate::commands::CameraStatus;
use crate::config::CameraConfig;
use crate::detect::dnn;
use crate::zone::Zone;

/// A camera that is analysed.
pub(super) struct Seat {
    pub config: CameraConfig,
    pub channel: Channel,
    /// None while it is with an analysis thread.
    pub camera: Option<Box<Camera>>,
    pub net: Option<Arc<dnn::Net>>,
    /// It waits for its turn.
    pub is_queued: bool,
    /// It goes when its camera comes back; whoever has asked for that is answered then.
    pub leaving: Option<Option<PendingCall>>,
    /// For the camera when it comes back.
    zones: Option<Vec<Zone>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    frames: u64,
    left_out: u64,
    age: i64,
    age_max: i64,
    in_opencv: std::time::Duration,
}

impl Seat {
    pub fn new(config: CameraConfig, channel: Channel, camera: Box<Camera>) -> Self {
        let net = camera.detector().net().cloned();
        let (camera, counts) = (Some(camera), Counts::default());
        Self { config, channel, camera, net, is_queued: false, leaving: None, zones: None, counts }
    }

    /// Does it stay, under this name?
    pub fn is(&self, camera: &str) -> bool {
        self.leaving.is_none() && self.config.camera() == camera
    }

    /// The camera is here again.
    pub fn come_back(&mut self, mut camera: Box<Camera>, look: &Look) {
        if let Some(zones) = self.zones.take() {
            camera.set_zones(zones);
        }
        self.camera = Some(camera);
        let counts = &mut self.counts;
        counts.in_opencv += look.in_opencv;
        if look.messages.is_empty() {
            counts.left_out += 1;
        } else {
            counts.frames += 1;
            (counts.age, counts.age_max) = (look.age, counts.age_max.max(look.age));
        }
    }

    /// Other zones from its next frame on.
    pub fn set_zones(&mut self, zones: Vec<Zone>) {
        match &mut self.camera {
            Some(camera) => camera.set_zones(zones),
            None => self.zones = Some(zones),
        }
    }

    pub fn status(&self) -> CameraStatus {
        let counts = &self.counts;
        let ms = |ns: i64| (ns as f64 / 1e3).round() / 1e3;
        CameraStatus {
            camera: self.config.camera().to_owned(),
            channel: self.config.channel.clone(),
            frames: counts.frames,
            left_out: counts.left_out,
            skipped: self.channel.skipped(),
            age_ms: ms(counts.age),
            age_max_ms: ms(counts.age_max),
            opencv_ms: ms(i64::try_from(counts.in_opencv.as_nanos()).unwrap_or(i64::MAX)),
        }
    }
}
