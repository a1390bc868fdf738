//! `/metrics`: the status in Prometheus' words (OpenMetrics text).
//!
//! Made anew for each scrape from what the board says, so that a camera that is gone leaves no stale series.

use std::sync::atomic::AtomicU64;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::{App, problem::Problem, usage};
use crate::{
    health::State as CameraState,
    status::{ProcessState, Status},
};

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Real = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Camera {
    camera: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    camera: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Process {
    process: String,
    camera: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Channel {
    channel: String,
}

/// All states, so that a query finds a 0 and not nothing.
const STATES: [(CameraState, &str); 5] = [
    (CameraState::Connecting, "connecting"),
    (CameraState::Live, "live"),
    (CameraState::Stalled, "stalled"),
    (CameraState::Lost, "lost"),
    (CameraState::Stopped, "stopped"),
];

/// What there is to say now.
pub async fn tell(State(app): State<App>) -> Result<Response, Problem> {
    let mut registry = Registry::with_prefix("valkka");
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "Version of the orchestrator", version);
    let status = app.board.status();
    cameras(&mut registry, &status);
    processes(&mut registry, &status);
    channels(&mut registry, &status);
    let mut text = String::new();
    encode(&mut text, &registry)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("no metrics: {error}")))?;
    Ok(([(header::CONTENT_TYPE, KIND)], text).into_response())
}

fn cameras(registry: &mut Registry, status: &Status) {
    let state = family::<InState, Gauge>(registry, "camera_state", "1 for the state in which the camera is");
    let fps = family::<Camera, Real>(registry, "camera_frames_per_second", "Frames that the camera brings");
    let viewers = family::<Camera, Gauge>(registry, "camera_viewers", "Browsers that watch the camera");
    let objects = family::<Camera, Gauge>(registry, "camera_objects", "Objects in the newest analysed frame");
    let age = Family::<Camera, Real>::default();
    let help = "Age of the newest frame that somebody has seen";
    registry.register_with_unit("camera_frame_age", help, Unit::Seconds, age.clone());
    for camera in &status.cameras {
        let labels = Camera { camera: camera.name.clone() };
        for (which, name) in STATES {
            let labels = InState { camera: camera.name.clone(), state: name };
            state.get_or_create(&labels).set(i64::from(camera.state == which));
        }
        fps.get_or_create(&labels).set(camera.fps);
        viewers.get_or_create(&labels).set(camera.viewers.try_into().unwrap_or(i64::MAX));
        objects.get_or_create(&labels).set(camera.objects.try_into().unwrap_or(i64::MAX));
        if let Some(ms) = camera.age_ms {
            age.get_or_create(&labels).set(ms as f64 / 1000.0);
        }
    }
}

fn processes(registry: &mut Registry, status: &Status) {
    let up = family::<Process, Gauge>(registry, "process_up", "1 while the process runs");
    let restarts = family::<Process, Counter>(registry, "process_restarts", "How often it was started again");
    let cpu = Family::<Process, Counter<f64, AtomicU64>>::default();
    registry.register_with_unit("process_cpu", "Processor time since it was started", Unit::Seconds, cpu.clone());
    let memory = Family::<Process, Gauge>::default();
    let help = "Memory; what is shared with others is counted to each in part (PSS)";
    registry.register_with_unit("process_memory", help, Unit::Bytes, memory.clone());
    for process in &status.processes {
        let labels = Process { process: process.name.clone(), camera: process.camera.clone().unwrap_or_default() };
        up.get_or_create(&labels).set(i64::from(process.state == ProcessState::Running));
        restarts.get_or_create(&labels).inc_by(process.restarts);
        if let Some(seconds) = process.pid.and_then(usage::cpu_seconds) {
            cpu.get_or_create(&labels).inc_by(seconds);
        }
        if let Some(bytes) = process.pss_bytes {
            memory.get_or_create(&labels).set(bytes.try_into().unwrap_or(i64::MAX));
        }
    }
}

fn channels(registry: &mut Registry, status: &Status) {
    let frames =
        family::<Channel, Counter>(registry, "channel_frames", "Frames published since its writer was started");
    let readers = family::<Channel, Gauge>(registry, "channel_readers", "Readers of the channel");
    let resting =
        family::<Channel, Gauge>(registry, "channel_resting", "1 while nothing is published, as nobody reads");
    for channel in &status.channels {
        let labels = Channel { channel: channel.name.clone() };
        frames.get_or_create(&labels).inc_by(channel.frames);
        readers.get_or_create(&labels).set(channel.readers.into());
        resting.get_or_create(&labels).set(channel.resting.into());
    }
}

fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    L: EncodeLabelSet + Clone + std::hash::Hash + Eq + std::fmt::Debug + Send + Sync + 'static,
    M: prometheus_client::metrics::TypedMetric
        + prometheus_client::encoding::EncodeMetric
        + Default
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let family = Family::<L, M>::default();
    registry.register(name, help, family.clone());
    family
}
