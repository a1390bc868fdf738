//! The thread that waits: for frames of all channels, for analysis threads, for commands, for the end.
//!
//! ```text
//!   channels ──► seats that are ready, in a queue ──► idle thread of the crew ──► reply, messages
//!                       ▲                                    │
//!                       └────────── camera comes back ◄──────┘
//! ```
//!
//! `seat` is one camera's place, `calls` what commands do. Detectors are made in a thread of their own: while a large model is loaded,
//! frames are looked at as before.
//!
//! A channel is *ready* from the time its descriptor wakes this thread until it has nothing more. A ready camera waits in a
//! queue for its turn, and gets one frame per turn: a busy camera does not starve the others. Its frame is taken when a
//! thread is idle, not before: with the policy `latest` that is the newest. Cameras with the same ONNX model take their
//! turn together when several of them wait.

mod calls;
mod seat;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use valkka_command::{Backend, Closed};

use calls::Asked;
use seat::Seat;

use crate::camera::{Camera, Look, Message, Turn, look};
use crate::channel::{Channel, Step};
use crate::config::CameraConfig;
use crate::crew::{Broken, Crew};
use crate::detect::{Models, dnn};
use crate::lines::LinesError;
use crate::log;
use crate::outlet::Outlet;

/// Things in a row that are not frames, after which the other channels have their turn.
const MAX_STEPS: usize = 64;

/// Epoll data of the descriptors that are not channels.
const STOP: u64 = u64::MAX;
const OUTPUT: u64 = u64::MAX - 1;
const CREW: u64 = u64::MAX - 2;
const COMMANDS: u64 = u64::MAX - 3;
const LOADER: u64 = u64::MAX - 4;
const AGAIN: u64 = u64::MAX - 5;

/// After this a channel that could not be read is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Why the analyser has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop, or whoever gave it commands has gone.
    Stopped,
    /// Nobody reads its lines.
    OutputClosed,
    /// Every channel has ended or failed; true if none has failed.
    NoChannelsLeft {
        /// None has failed.
        well: bool,
    },
}

/// Why the analyser cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AnalyserError {
    /// The kernel says no.
    #[error("cannot wait for channels")]
    Wait(#[from] Errno),
    /// No thread, no descriptor.
    #[error("cannot start")]
    Start(#[from] io::Error),
    /// Messages do not go out.
    #[error(transparent)]
    Output(LinesError),
    /// What it was started with.
    #[error("{camera}: {reason}")]
    Attach {
        /// Which camera.
        camera: String,
        /// Why not.
        reason: String,
    },
    /// Commands that nobody understands.
    #[error(transparent)]
    Commands(Closed),
    /// A bug.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// How it is to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Analysis threads.
    pub threads: usize,
    /// Leave a channel when its stream ends; otherwise wait for its next writer.
    pub until_eos: bool,
}

/// What analysis threads bring.
enum Done {
    Looked { turns: Vec<(u64, Box<Camera>, Look)>, net: Option<Arc<dnn::Net>> },
    Opened { config: Box<CameraConfig>, camera: Result<Box<Camera>, String>, asked: Asked },
}

/// All cameras, and those who look at them.
pub struct Analyser {
    options: Options,
    epoll: Epoll,
    crew: Crew<Done>,
    /// Makes detectors.
    loader: Crew<Done>,
    models: Models,
    outlet: Outlet,
    seats: BTreeMap<u64, Seat>,
    next_seat: u64,
    ready: VecDeque<u64>,
    /// Models that look at something now.
    busy_nets: Vec<Arc<dnn::Net>>,
    /// Cameras whose detector is being made.
    opening: Vec<String>,
    /// Cameras that a frontend wants and whose channel cannot be read; `again` says when to try the next time.
    failed: Vec<CameraConfig>,
    again: TimerFd,
    backend: Option<Backend>,
    well: bool,
}

impl Analyser {
    /// Starts the threads; looks at nothing yet. With a `backend` it takes commands, and needs no camera to go on.
    pub fn new(options: Options, outlet: Outlet, backend: Option<Backend>) -> Result<Self, AnalyserError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (crew, loader) = (Crew::new("analyse", options.threads)?, Crew::new("load", 1)?);
        let again = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        for (descriptor, data) in [(crew.as_fd(), CREW), (loader.as_fd(), LOADER), (again.as_fd(), AGAIN)] {
            epoll.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, data))?;
        }
        if let Some(backend) = &backend {
            epoll.add(backend, EpollEvent::new(EpollFlags::EPOLLIN, COMMANDS))?;
        }
        if let Some(descriptor) = outlet.descriptor() {
            // No flags: errors and hang-ups are reported all the same.
            match epoll.add(descriptor, EpollEvent::new(EpollFlags::empty(), OUTPUT)) {
                // A file never hangs up, and cannot be watched.
                Ok(()) | Err(Errno::EPERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Self {
            options,
            epoll,
            crew,
            loader,
            models: Models::default(),
            outlet,
            seats: BTreeMap::new(),
            next_seat: 0,
            ready: VecDeque::new(),
            busy_nets: Vec::new(),
            opening: Vec::new(),
            failed: Vec::new(),
            again,
            backend,
            well: true,
        })
    }

    /// Runs until `stop` becomes readable, nobody reads the lines any more, or no channel is left.
    pub fn run(&mut self, stop: BorrowedFd<'_>) -> Result<Ended, AnalyserError> {
        let ended = self.take_turns(stop)?;
        if ended == Ended::Stopped {
            // Writers have had their answers to these frames; whoever reads the lines hears of them, too.
            let done = self.crew.finish();
            match self.take_back(done) {
                Ok(()) | Err(AnalyserError::Output(LinesError::Closed)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    fn take_turns(&mut self, stop: BorrowedFd<'_>) -> Result<Ended, AnalyserError> {
        self.epoll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let mut events = vec![EpollEvent::empty(); 64];
        loop {
            match self.hand_out() {
                Err(AnalyserError::Output(LinesError::Closed)) => return Ok(Ended::OutputClosed),
                other => other?,
            }
            if self.is_over() {
                return Ok(Ended::NoChannelsLeft { well: self.well });
            }
            let woken = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            for event in &events[..woken] {
                let outcome = match event.data() {
                    STOP => return Ok(Ended::Stopped),
                    OUTPUT => self.output(event.events()),
                    CREW => self.crew.take().map_err(Into::into).and_then(|done| self.take_back(done)),
                    LOADER => self.loader.take().map_err(Into::into).and_then(|done| self.take_back(done)),
                    AGAIN => {
                        self.try_again();
                        Ok(())
                    }
                    COMMANDS => match self.run_commands()? {
                        Some(ended) => return Ok(ended),
                        None => Ok(()),
                    },
                    seat => {
                        self.queue(seat);
                        Ok(())
                    }
                };
                match outcome {
                    Err(AnalyserError::Output(LinesError::Closed)) => return Ok(Ended::OutputClosed),
                    other => other?,
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        let is_idle = self.crew.is_idle() && self.loader.is_idle();
        self.backend.is_none() && self.seats.is_empty() && is_idle && self.outlet.is_empty()
    }

    // Turns.

    fn queue(&mut self, seat: u64) {
        if let Some(entry) = self.seats.get_mut(&seat)
            && entry.camera.is_some()
            && !std::mem::replace(&mut entry.is_queued, true)
        {
            self.ready.push_back(seat);
        }
    }

    /// Gives work to idle threads, as long as there is both.
    fn hand_out(&mut self) -> Result<(), AnalyserError> {
        while self.crew.idle() > 0 && self.outlet.is_empty() {
            let is_free = |seat: &u64| match self.net_of(*seat) {
                Some(net) => !self.busy_nets.iter().any(|busy| Arc::ptr_eq(busy, &net)),
                None => true,
            };
            let Some(place) = self.ready.iter().position(is_free) else { return Ok(()) };
            let Some(first) = self.ready.remove(place) else { return Ok(()) };
            let Some(turn) = self.take(first)? else { continue };
            let net = self.net_of(first);
            let mut turns = vec![turn];
            if let Some(net) = &net {
                self.join(net, &mut turns)?;
                self.busy_nets.push(net.clone());
            }
            self.crew.give(move || Done::Looked { turns: look(turns), net });
        }
        Ok(())
    }

    /// Others that wait for the same model come along.
    fn join(&mut self, net: &Arc<dnn::Net>, turns: &mut Vec<Turn>) -> Result<(), AnalyserError> {
        let mut place = 0;
        while turns.len() < net.batch() && place < self.ready.len() {
            let seat = self.ready[place];
            if self.net_of(seat).is_some_and(|other| Arc::ptr_eq(&other, net)) {
                self.ready.remove(place);
                // One that has more to come than frames goes to the end of the queue, and is met again there.
                let before = self.ready.len();
                turns.extend(self.take(seat)?);
                if self.ready.len() > before {
                    break;
                }
            } else {
                place += 1;
            }
        }
        Ok(())
    }

    fn net_of(&self, seat: u64) -> Option<Arc<dnn::Net>> {
        self.seats.get(&seat).and_then(|seat| seat.net.clone())
    }

    /// The newest frame of a camera whose turn it is, if it has one.
    fn take(&mut self, id: u64) -> Result<Option<Turn>, AnalyserError> {
        let Some(seat) = self.seats.get_mut(&id) else { return Ok(None) };
        seat.is_queued = false;
        let mut messages = Vec::new();
        let mut turn = None;
        let (mut is_left, mut is_lost, mut is_idle) = (false, false, false);
        // What woke this thread while the camera was away does not wake it again. A reader looks at its descriptors when it is asked a second
        // time after it had nothing.
        let mut had_nothing = false;
        for _ in 0..MAX_STEPS {
            let Some(camera) = &mut seat.camera else { break };
            let step = seat.channel.step();
            let asked_twice = std::mem::replace(&mut had_nothing, matches!(step, Ok(Step::Idle)));
            match step {
                Ok(Step::Busy) => continue,
                Ok(Step::Idle) if !asked_twice => continue,
                Ok(Step::Idle) => is_idle = true,
                Ok(Step::Shot(shot)) => {
                    turn = seat.camera.take().map(|camera| Turn { seat: id, camera, shot: *shot });
                }
                Ok(Step::Lost) => {
                    messages.extend(camera.forget(seat.channel.line()));
                    continue;
                }
                Ok(Step::Ended) => {
                    messages.extend(camera.forget(seat.channel.line()));
                    if !self.options.until_eos {
                        continue;
                    }
                    is_left = true;
                }
                Err(error) => {
                    log::line(&format!("error: {}: {error}", seat.channel.name()));
                    messages.extend(camera.forget(seat.channel.line()));
                    self.outlet.failed(seat.config.camera(), &error.to_string());
                    self.well = false;
                    is_lost = true;
                }
            }
            break;
        }
        if is_left || is_lost {
            // Closing the reader's descriptor takes it out of the epoll.
            let seat = self.seats.remove(&id);
            self.try_later(seat.filter(|_| is_lost && self.backend.is_some()).map(|seat| seat.config));
        } else if turn.is_none() && !is_idle {
            self.queue(id);
        }
        self.say(&messages)?;
        Ok(turn)
    }

    fn take_back(&mut self, all: Vec<Done>) -> Result<(), AnalyserError> {
        for done in all {
            match done {
                Done::Looked { turns, net } => {
                    if let Some(net) = net {
                        self.busy_nets.retain(|busy| !Arc::ptr_eq(busy, &net));
                    }
                    for (seat, camera, look) in turns {
                        self.seat_again(seat, camera, look)?;
                    }
                }
                Done::Opened { config, camera, asked } => self.opened(*config, camera, asked)?,
            }
        }
        Ok(())
    }

    fn seat_again(&mut self, id: u64, camera: Box<Camera>, look: Look) -> Result<(), AnalyserError> {
        self.say(&look.messages)?;
        let Some(seat) = self.seats.get_mut(&id) else { return Ok(()) };
        seat.come_back(camera, &look);
        match seat.leaving.take() {
            Some(call) => self.free(id, call)?,
            // What came meanwhile is asked for, and the doorbell armed.
            None => self.queue(id),
        }
        Ok(())
    }

    fn seat(&mut self, config: CameraConfig, camera: Box<Camera>) -> Result<(), String> {
        let channel = Channel::new(config.channel_name(), config.reader()?);
        let id = self.next_seat;
        self.next_seat += 1;
        // Edges: a channel that waits for its turn, or is with a thread, is not told again and again.
        let edge = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, id);
        self.epoll.add(channel.as_fd(), edge).map_err(|errno| format!("cannot wait for the channel: {errno}"))?;
        self.seats.insert(id, Seat::new(config, channel, camera));
        self.queue(id);
        Ok(())
    }

    // Output.

    fn say(&mut self, messages: &[Message]) -> Result<(), AnalyserError> {
        let said = messages.iter().try_for_each(|message| self.outlet.say(message));
        said.map_err(AnalyserError::Output)?;
        self.watch_output()
    }

    fn output(&mut self, events: EpollFlags) -> Result<(), AnalyserError> {
        if events.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP) {
            return Err(AnalyserError::Output(LinesError::Closed));
        }
        self.outlet.flush().map_err(AnalyserError::Output)?;
        self.watch_output()
    }

    /// Room matters only while something waits for it.
    fn watch_output(&self) -> Result<(), AnalyserError> {
        let Some(descriptor) = self.outlet.descriptor() else { return Ok(()) };
        let wanted = if self.outlet.is_empty() { EpollFlags::empty() } else { EpollFlags::EPOLLOUT };
        match self.epoll.modify(descriptor, &mut EpollEvent::new(wanted, OUTPUT)) {
            // A file, which always has room.
            Ok(()) | Err(Errno::EPERM | Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
