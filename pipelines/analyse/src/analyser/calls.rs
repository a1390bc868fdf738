//! Commands: cameras come, go and change while the others are looked at.

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};
use serde_json::json;
use valkka_command::{Closed, PendingCall};

use super::{Analyser, AnalyserError, Done, Ended, PAUSE};
use crate::camera::Camera;
use crate::commands::{Command, ModelStatus, NAMES, Status, Zones};
use crate::config::CameraConfig;
use crate::log;

/// Who wants a camera.
pub(super) enum Asked {
    /// Whoever has started the program: without it there is nothing to do.
    AtStart,
    /// Whoever calls, and is answered.
    By(PendingCall),
    /// Whoever did so before its channel could not be read any more.
    Again,
}

impl Analyser {
    /// Runs all commands that have come. The end of the frontend is the end of the analyser.
    pub(super) fn run_commands(&mut self) -> Result<Option<Ended>, AnalyserError> {
        loop {
            let Some(backend) = &mut self.backend else { return Ok(None) };
            match backend.receive() {
                Ok(Some(call)) => self.run_command(call)?,
                Ok(None) => return Ok(None),
                Err(Closed::HungUp) => return Ok(Some(Ended::Stopped)),
                Err(closed) => return Err(AnalyserError::Commands(closed)),
            }
        }
    }

    fn run_command(&mut self, call: PendingCall) -> Result<(), AnalyserError> {
        match Command::of(&call) {
            Ok(Command::Attach(config)) => self.attach_by(*config, call),
            Ok(Command::Detach { camera }) => return self.detach(&camera, call),
            Ok(Command::Zones(zones)) => call.answer(self.set_zones(zones)),
            Ok(Command::Status) => call.answer(Ok::<_, String>(self.status())),
            Ok(Command::Commands) => call.answer(Ok::<_, String>(NAMES)),
            Err(why) => call.answer(Err::<(), _>(why)),
        }
        Ok(())
    }

    /// Begins to analyse a camera, once its detector is made.
    pub fn attach(&mut self, config: CameraConfig) {
        self.open(config, Asked::AtStart);
    }

    fn attach_by(&mut self, config: CameraConfig, call: PendingCall) {
        let camera = config.camera().to_owned();
        let is_same = self.seats.values().any(|seat| seat.is(&camera) && seat.config == config);
        match config.check() {
            Err(why) => call.answer(Err::<(), _>(why)),
            Ok(()) if self.opening.contains(&camera) => call.answer(Err::<(), _>(is_coming(&camera))),
            Ok(()) if is_same => call.answer(attached(&camera)),
            Ok(()) => self.open(config, Asked::By(call)),
        }
    }

    fn open(&mut self, config: CameraConfig, asked: Asked) {
        self.failed.retain(|failed| failed.camera() != config.camera());
        self.opening.push(config.camera().to_owned());
        let models = self.models.clone();
        let config = Box::new(config);
        self.loader.give(move || {
            let camera = Camera::open(&config, &models).map(Box::new);
            Done::Opened { config, camera, asked }
        });
    }

    /// Its detector is made, or cannot be.
    pub(super) fn opened(
        &mut self,
        config: CameraConfig,
        camera: Result<Box<Camera>, String>,
        asked: Asked,
    ) -> Result<(), AnalyserError> {
        let name = config.camera().to_owned();
        self.opening.retain(|opening| *opening != name);
        let before = self.seats.iter().find(|(_, seat)| seat.is(&name)).map(|(id, _)| *id);
        let seated = camera.and_then(|camera| self.seat(config.clone(), camera));
        if let (Ok(()), Some(before)) = (&seated, before) {
            self.leave(before, None)?;
        }
        match (asked, seated) {
            (Asked::By(call), Ok(())) => call.answer(attached(&name)),
            (Asked::By(call), Err(why)) => call.answer(Err::<(), _>(why)),
            (Asked::AtStart, Err(reason)) => return Err(AnalyserError::Attach { camera: name, reason }),
            (Asked::Again, Err(why)) => {
                log::line(&format!("error: {name}: {why}"));
                self.try_later(Some(config));
            }
            (Asked::AtStart | Asked::Again, Ok(())) => {}
        }
        Ok(())
    }

    /// Whoever has attached a camera wants it until it is detached: what keeps its channel from being read may go away.
    pub(super) fn try_later(&mut self, config: Option<CameraConfig>) {
        let Some(config) = config else { return };
        self.failed.push(config);
        // The timer is ours and the time is valid: there is nothing that could fail.
        let _ = self.again.set(Expiration::OneShot(TimeSpec::from(PAUSE)), TimerSetTimeFlags::empty());
    }

    pub(super) fn try_again(&mut self) {
        // Does not block: it is due.
        let _ = self.again.wait();
        for config in std::mem::take(&mut self.failed) {
            self.open(config, Asked::Again);
        }
    }

    fn detach(&mut self, camera: &str, call: PendingCall) -> Result<(), AnalyserError> {
        let failed = self.failed.len();
        self.failed.retain(|failed| failed.camera() != camera);
        match self.seats.iter().find(|(_, seat)| seat.is(camera)) {
            Some((&id, _)) => return self.leave(id, Some(call)),
            None if self.failed.len() < failed => call.done(),
            None if self.opening.iter().any(|opening| opening == camera) => {
                call.answer(Err::<(), _>(is_coming(camera)))
            }
            None => call.answer(Err::<(), _>(self.unknown(camera))),
        }
        Ok(())
    }

    /// A seat becomes free: now, or when its camera comes back.
    fn leave(&mut self, id: u64, call: Option<PendingCall>) -> Result<(), AnalyserError> {
        let Some(seat) = self.seats.get_mut(&id) else { return Ok(()) };
        if seat.camera.is_none() {
            seat.leaving = Some(call);
            return Ok(());
        }
        self.free(id, call)
    }

    /// Takes a seat away whose camera is here. The lives of its objects end.
    pub(super) fn free(&mut self, id: u64, call: Option<PendingCall>) -> Result<(), AnalyserError> {
        // Closing the reader's descriptor takes it out of the epoll.
        if let Some(mut seat) = self.seats.remove(&id) {
            let messages = seat.camera.as_mut().map(|camera| camera.forget(seat.channel.line())).unwrap_or_default();
            log::line(&format!("{}: is not analysed any more", seat.channel.name()));
            self.say(&messages)?;
        }
        if let Some(call) = call {
            call.done();
        }
        Ok(())
    }

    fn set_zones(&mut self, Zones { camera, zones }: Zones) -> Result<(), String> {
        let checked = crate::zone::zones_of(&zones)?;
        let unknown = self.unknown(&camera);
        let seat = self.seats.values_mut().find(|seat| seat.is(&camera)).ok_or(unknown)?;
        seat.set_zones(checked);
        seat.config.zones = zones;
        Ok(())
    }

    fn status(&self) -> Status {
        let model = |net: std::sync::Arc<crate::detect::dnn::Net>| {
            let usage = net.usage();
            ModelStatus {
                model: net.model().display().to_string(),
                passes: usage.passes,
                pictures: usage.pictures,
                largest_batch: usage.largest_batch,
            }
        };
        Status {
            cameras: self.seats.values().filter(|seat| seat.leaving.is_none()).map(|seat| seat.status()).collect(),
            models: self.models.nets().into_iter().map(model).collect(),
            threads: self.options.threads,
        }
    }

    fn unknown(&self, camera: &str) -> String {
        let names: Vec<_> =
            self.seats.values().filter(|seat| seat.leaving.is_none()).map(|s| s.config.camera()).collect();
        format!("there is no camera {camera:?}; there are: {}", names.join(", "))
    }
}

fn attached(camera: &str) -> Result<serde_json::Value, String> {
    Ok(json!({ "camera": camera }))
}

fn is_coming(camera: &str) -> String {
    format!("camera {camera:?} is being attached: wait for the answer to that call")
}
