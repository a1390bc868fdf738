//! `valkka pipeline`: runs a description in the syntax of gst-launch, and takes commands.
//!
//! What `gst-launch-1.0` does with errors, latency, buffering, clocks and the end of a stream is done here too. In
//! addition it reads its description from a descriptor, so that no credential stands in an argument list; it is a
//! backend ([`commands`]) that tells what happens on its bus ([`bus`]) as events; and on stop it sends end of stream,
//! so that files are complete. Used by the orchestrator for every template, and by hand like `gst-launch-1.0`.
//!
//! ```text
//!              SIGINT, `eos`                       EOS on the bus, or 2 seconds
//! playing ───────────────────────► ending (EOS sent) ────────────────────────► exit 0
//!    │  SIGTERM, hang-up of the frontend                                          ▲
//!    ├────────────────────────────────────────────────────────────────────────────┘
//!    │  error
//!    └──────────► exit 1          (exit 6: the description cannot be run at all)
//! ```
//!
//! One thread does all that: it waits for bus, commands and signals at once, and never takes part in the streaming.

mod bus;
mod commands;
pub mod description;
mod flow;
mod reconnect;
mod values;

use std::{
    os::fd::AsFd,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use gst::prelude::*;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use valkka_command::{Backend, Closed, Events, Handlers};

pub use description::Origin;
use flow::Flow;
use reconnect::{Reconnect, SOURCE_ENDED};

/// End of stream that takes longer than this to pass through is not waited for.
const EOS_LIMIT: Duration = Duration::from_secs(5);

/// Exit code for a description that cannot be run.
pub const UNUSABLE: i32 = crate::verbs::Code::Unusable as i32;

/// Runs a description until it ends, fails or is stopped.
pub fn run(origin: &Origin) -> Result<()> {
    let words = description::words(origin)?;
    // Before GStreamer starts threads, which would take the signals otherwise.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().context("signals cannot be received")?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("signals cannot be received")?;
    let backend = Backend::inherited()?;
    gst::init().context("GStreamer cannot be started")?;
    let pipeline = description::parse(&words)?;
    let mut running = Running::start(pipeline, backend.as_ref().map(Backend::events))?;
    let outcome = running.live(&signals, backend);
    running.stop();
    outcome
}

/// A pipeline that plays, and everything that comes from it.
struct Running {
    pipeline: gst::Pipeline,
    /// Of whoever gives commands, if somebody does.
    events: Option<Events>,
    messages: mpsc::Receiver<gst::Message>,
    wake: Arc<EventFd>,
    /// What it is to be, apart from pauses to fill buffers.
    target: gst::State,
    is_live: bool,
    /// It did not want to play.
    refused: bool,
    buffering: bool,
    qos: bus::QosDigest,
    flow: Flow,
    reconnect: Reconnect,
    /// End of stream was sent, and is waited for until then.
    ending: Option<Instant>,
}

/// Whether to go on.
enum Step {
    GoOn,
    End,
}

impl Running {
    fn start(pipeline: gst::Pipeline, events: Option<Events>) -> Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_flags(flags).context("no eventfd can be made")?);
        let (posted, messages) = mpsc::channel();
        let ring = wake.clone();
        pipeline.bus().context("a pipeline has a bus")?.set_sync_handler(move |_, message| {
            // The receiver lives as long as the pipeline plays; a full counter rings already.
            let _ = posted.send(message.clone());
            let _ = ring.write(1);
            gst::BusSyncReply::Drop
        });
        if let Some(events) = events.clone() {
            bus::tell_counts(&pipeline, events);
        }
        let (reconnect, flow) = (Reconnect::prepare(&pipeline), Flow::watch(&pipeline));
        let mut running = Self {
            pipeline,
            events,
            messages,
            wake,
            target: gst::State::Playing,
            is_live: false,
            refused: false,
            buffering: false,
            qos: bus::QosDigest::default(),
            flow,
            reconnect,
            ending: None,
        };
        // A failure is told by the bus, with its reason, before this returns.
        let begun = running.pipeline.set_state(gst::State::Playing);
        (running.is_live, running.refused) = (begun == Ok(gst::StateChangeSuccess::NoPreroll), begun.is_err());
        Ok(running)
    }

    fn live(&mut self, signals: &SignalFd, mut backend: Option<Backend>) -> Result<()> {
        let mut handlers = commands::handlers();
        loop {
            if !self.refused {
                self.wait(signals, backend.as_ref())?;
            }
            let _ = self.wake.read();
            while let Ok(message) = self.messages.try_recv() {
                if let Step::End = self.heed(&message)? {
                    return Ok(());
                }
            }
            // Nobody said why, or it would have ended above; a source that comes back is tried again.
            if self.refused && self.reconnect.next().is_none() {
                bail!("the pipeline does not want to play");
            }
            self.refused = false;
            while let Ok(Some(signal)) = signals.read_signal() {
                // A second SIGINT does not wait for the end of the stream.
                if signal.ssi_signo != Signal::SIGINT as u32 || self.ending.is_some() {
                    return Ok(());
                }
                self.end();
            }
            if let Some(backend) = &mut backend {
                self.take_commands(backend, &mut handlers)?;
            }
            self.reconnect.retry(&self.pipeline);
            if let Some(flowing) = self.flow.take() {
                self.tell("flow", &flowing);
            }
            if self.ending.is_some_and(|until| Instant::now() >= until) {
                let limit = EOS_LIMIT.as_secs();
                eprintln!(
                    "WARNING: the stream has not ended within {limit} s: a file that is being written may be incomplete"
                );
                return Ok(());
            }
        }
    }

    fn wait(&self, signals: &SignalFd, backend: Option<&Backend>) -> Result<()> {
        let mut fds =
            vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(backend.map(|backend| PollFd::new(backend.as_fd(), PollFlags::POLLIN)));
        let told = self.events.is_some().then(|| self.flow.next());
        let next = self.ending.into_iter().chain(self.reconnect.next()).chain(told).min();
        let limit = next.map_or(PollTimeout::NONE, |at| {
            // Rounded up, or the last millisecond would be spent in a loop.
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, limit) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("cannot wait for the pipeline"),
        }
    }

    fn take_commands(&mut self, backend: &mut Backend, handlers: &mut Handlers<Running>) -> Result<()> {
        loop {
            match backend.receive() {
                Ok(Some(call)) => handlers.run(self, call),
                Ok(None) => return Ok(()),
                Err(Closed::HungUp) => bail!("whoever started this pipeline has ended"),
                Err(closed) => return Err(closed.into()),
            }
        }
    }

    /// Has the stream end: what is under way is finished first.
    fn end(&mut self) {
        if self.ending.is_none() {
            self.ending = Some(Instant::now() + EOS_LIMIT);
            self.reconnect.give_up();
            // A branch that rests would keep the end of the stream from what is behind it.
            for valve in self.pipeline.iterate_recurse().into_iter().flatten().filter(flow::is_valve) {
                valve.set_property("drop", false);
            }
            self.pipeline.send_event(gst::event::Eos::new());
        }
    }

    /// What gst-launch does on a message, and the news of it for whoever gives commands.
    fn heed(&mut self, message: &gst::Message) -> Result<Step> {
        let from_pipeline = message.src().is_some_and(|src| *src == self.pipeline);
        match message.view() {
            gst::MessageView::Eos(_) => {
                self.tell("eos", &serde_json::Value::Null);
                return Ok(Step::End);
            }
            gst::MessageView::Error(error) => {
                let told = bus::Problem::of_error(error);
                return self.survive(message, &told);
            }
            gst::MessageView::Application(told) if told.structure().is_some_and(|s| s.name() == SOURCE_ENDED) => {
                let told = bus::Problem::of_source_that_ended(message.src());
                return self.survive(message, &told);
            }
            gst::MessageView::Warning(warning) => {
                let told = bus::Problem::of_warning(warning);
                bus::print("WARNING", &told);
                self.tell("warning", &told);
            }
            gst::MessageView::Latency(_) => self.latency(),
            gst::MessageView::Buffering(buffering) => self.buffer(buffering.percent()),
            gst::MessageView::ClockLost(_) if self.target == gst::State::Playing => {
                // Pausing makes the pipeline choose another clock.
                let _ = self.pipeline.set_state(gst::State::Paused);
                let _ = self.pipeline.set_state(gst::State::Playing);
            }
            gst::MessageView::RequestState(request) => self.aim(request.requested_state()),
            gst::MessageView::StateChanged(change) if from_pipeline => {
                let state = values::state_name(change.current());
                self.tell("state", &serde_json::json!({ "state": state, "was": values::state_name(change.old()) }));
            }
            gst::MessageView::Qos(qos) => {
                if let Some(told) = self.qos.take(message, qos) {
                    self.tell("qos", &told);
                }
            }
            view => {
                if let Some((name, value)) = bus::news(message, &view) {
                    self.tell(name, &value);
                }
            }
        }
        Ok(Step::GoOn)
    }

    /// A source that can come back is tried again; anything else that fails ends the pipeline.
    fn survive(&mut self, message: &gst::Message, told: &bus::Problem) -> Result<Step> {
        let again = if self.ending.is_none() { self.reconnect.takes(message) } else { None };
        let Some(pause) = again else {
            self.tell("error", told);
            bus::print("ERROR", told);
            // The reason stands on standard error already, as gst-launch prints it.
            bail!("the pipeline has failed");
        };
        bus::print("WARNING", told);
        let (source, reason, in_s) = (&told.source, &told.message, pause.as_secs_f64());
        self.tell("reconnect", &serde_json::json!({ "source": source, "reason": reason, "in_s": in_s }));
        Ok(Step::GoOn)
    }

    /// Wants another state from now on.
    fn aim(&mut self, state: gst::State) {
        self.target = state;
        let now = if self.buffering && state == gst::State::Playing { gst::State::Paused } else { state };
        self.is_live = self.pipeline.set_state(now) == Ok(gst::StateChangeSuccess::NoPreroll);
    }

    fn latency(&self) {
        let _ = self.pipeline.recalculate_latency();
        let mut query = gst::query::Latency::new();
        if self.pipeline.query(&mut query) {
            let (live, min, max) = query.result();
            let max = max.map(gst::ClockTime::nseconds);
            self.tell("latency", &serde_json::json!({ "live": live, "min_ns": min.nseconds(), "max_ns": max }));
        }
    }

    /// A pipeline that is not live pauses while its buffers fill.
    fn buffer(&mut self, percent: i32) {
        self.tell("buffering", &serde_json::json!({ "percent": percent }));
        if self.is_live || self.target != gst::State::Playing {
            return;
        }
        let buffering = percent < 100;
        if buffering != self.buffering {
            self.buffering = buffering;
            let state = if buffering { gst::State::Paused } else { gst::State::Playing };
            let _ = self.pipeline.set_state(state);
        }
    }

    fn tell(&self, name: &str, value: &impl serde::Serialize) {
        if let Some(events) = &self.events {
            // Dropped when the frontend does not keep up; it asks for the state then, if it wants it.
            let _ = events.send(name, value);
        }
    }

    fn stop(&self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
