//! What happens to processes, as their keepers tell the board.

use std::{collections::HashMap, time::Instant};

use serde::Deserialize;
use valkka_command::Event;

use super::{
    ChannelStatus, ProcessState, ProcessStatus,
    board::{Board, unix_now},
};
use crate::{
    demand::Flow,
    health::Health,
    process::{Kind, Spec},
    web::usage::Usage,
};

/// Why a source is asked again, as a pipeline tells it.
#[derive(Debug, Deserialize)]
struct Reconnect {
    reason: String,
}

impl Board {
    pub fn add_process(&self, spec: &Spec) {
        self.lock().processes.push(ProcessStatus {
            name: spec.name.clone(),
            camera: spec.camera.clone(),
            kind: spec.kind,
            pid: None,
            state: ProcessState::Starting,
            since: unix_now(),
            reason: None,
            restarts: 0,
            cpu_percent: None,
            pss_bytes: None,
        });
    }

    pub fn remove_process(&self, name: &str) {
        {
            let mut known = self.lock();
            known.processes.retain(|process| process.name != name);
            known.channels.retain(|channel| channel.process != name);
        }
        self.tell_status();
    }

    /// Those that run.
    pub fn pids(&self) -> Vec<u32> {
        self.lock().processes.iter().filter_map(|process| process.pid).collect()
    }

    /// What they take of the machine.
    pub fn measured(&self, usages: &HashMap<u32, Usage>) {
        for process in &mut self.lock().processes {
            let usage = process.pid.and_then(|pid| usages.get(&pid));
            process.cpu_percent = usage.and_then(|usage| usage.cpu_percent);
            process.pss_bytes = usage.map(|usage| usage.pss_bytes);
        }
    }

    pub fn process_runs(&self, name: &str, pid: u32) {
        self.process(name, ProcessState::Running, |process| process.pid = Some(pid));
        self.capture_of(name, |health| health.capture_runs(Instant::now()));
    }

    /// It is told to stop; `for_good` if neither it nor another comes after it.
    pub fn process_stops(&self, name: &str, for_good: bool) {
        self.process(name, ProcessState::Stopping, |_| ());
        if for_good {
            self.capture_of(name, |health| health.stopped("its capture was told to stop"));
        }
    }

    /// It is not running, and will be started again.
    pub fn process_waits(&self, name: &str, reason: &str, failed: bool) {
        self.process(name, ProcessState::Waiting, |process| {
            process.pid = None;
            process.reason = Some(reason.to_owned());
            process.restarts += 1;
        });
        self.capture_of(name, |health| health.capture_ended(reason, failed));
    }

    /// It has ended too often.
    pub fn process_given_up(&self, name: &str, reason: &str) {
        self.process(name, ProcessState::Failed, |process| {
            process.pid = None;
            process.reason = Some(reason.to_owned());
        });
        self.capture_of(name, |health| health.stopped(reason));
    }

    /// Nobody needs it now.
    pub fn process_rests(&self, name: &str) {
        self.process(name, ProcessState::Resting, |process| process.pid = None);
    }

    /// What a process tells by itself.
    pub fn process_event(&self, name: &str, event: &Event) {
        match event.name.as_str() {
            "detections" | "object" => {
                self.analysed(event.value.get());
            }
            "flow" => {
                if let Ok(flow) = event.parse::<Flow>() {
                    self.flows(name, &flow);
                }
            }
            "reconnect" => {
                if let Ok(told) = event.parse::<Reconnect>() {
                    self.capture_of(name, |health| health.reconnects(&told.reason, Instant::now()));
                }
            }
            _ => {}
        }
        self.pass_on(name, event);
    }

    /// What a capture counts: frames of its camera, and what it publishes of them.
    fn flows(&self, process: &str, flow: &Flow) {
        {
            let mut known = self.lock();
            let found = known.processes.iter().find(|known| known.name == process);
            let camera = found.and_then(|process| process.camera.clone());
            known.channels.retain(|channel| channel.process != process);
            known.channels.extend(flow.channels.iter().map(|channel| ChannelStatus {
                name: channel.channel.clone(),
                camera: camera.clone(),
                process: process.to_owned(),
                frames: channel.published,
                readers: channel.readers,
                resting: channel.resting,
            }));
            known.channels.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self.capture_of(process, |health| health.captured(Instant::now(), flow.frames));
    }

    pub fn process_stopped(&self, name: &str, for_good: bool) {
        self.process(name, ProcessState::Stopped, |process| process.pid = None);
        if for_good {
            self.capture_of(name, |health| health.stopped("its capture was told to stop"));
        }
    }

    /// Why a process has ended, if it is not running any more, or not yet again.
    pub fn failure_of(&self, name: &str) -> Option<String> {
        let known = self.lock();
        let process = known.processes.iter().find(|process| process.name == name)?;
        matches!(process.state, ProcessState::Waiting | ProcessState::Failed).then(|| process.reason.clone()).flatten()
    }

    fn process(&self, name: &str, state: ProcessState, change: impl FnOnce(&mut ProcessStatus)) {
        {
            let known = &mut *self.lock();
            if let Some(process) = known.processes.iter_mut().find(|process| process.name == name) {
                (process.state, process.since) = (state, unix_now());
                change(process);
            }
            if state != ProcessState::Running {
                known.channels.retain(|channel| channel.process != name);
            }
        }
        self.tell_status();
    }

    /// If the process is a capture: its camera's health.
    fn capture_of(&self, process: &str, change: impl FnOnce(&mut Health)) {
        let camera = {
            let known = self.lock();
            let captures = known.processes.iter().find(|p| p.name == process && p.kind == Kind::Capture);
            captures.and_then(|process| process.camera.clone())
        };
        if let Some(camera) = camera {
            self.camera(&camera, |entry| change(&mut entry.health));
        }
    }
}
