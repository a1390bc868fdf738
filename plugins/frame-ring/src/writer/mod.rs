//! The writer: makes the channel's memory, publishes frames into it, serves the readers.
//!
//! ```text
//!   publishing thread                      service thread                upstream's threads
//!   publish_own / publish_copy             accept, attach, replies,      take_slot, drop of SlotMut
//!   set_state, send_event, eos             hang-ups
//!            └──────────────── one lock, never held while anybody waits ───────────┘
//! ```
//!
//! One thread publishes at a time; the others may come at any time. Doorbells are rung, kept buffers dropped and the application called
//! when the lock is free again. Sends under the lock are of the kind that returns at once when the line is full.

mod arrivals;
mod channel;
mod generation;
mod ledger;
mod port;
mod publish;
mod reader;
mod service;
mod slots;
mod stats;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, eventfd, poll};

pub use publish::PublishError;
pub use slots::SlotMut;
pub use stats::{DetachReason, Dropped, ReaderStats, WriterStats};

use crate::address::ChannelAddress;
use crate::cancel::{Cancelled, Canceller};
use crate::frame::{Reply, StateKind};
use crate::message::{CloseReason, MAX_BODY};
use crate::socket::{Listener, OpenError};
use arrivals::Arrivals;
use channel::Channel;
use generation::Plan;
use publish::Unfinished;
use reader::{Aftermath, Notice};

/// Most readers that a channel can have.
pub const MAX_READERS: u32 = 64;

/// How a channel is written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Where readers find it.
    pub address: ChannelAddress,
    /// Slots for upstream to fill.
    pub slots: u32,
    /// At most [`MAX_READERS`].
    pub max_readers: u32,
    /// How long a lossless reader is waited for. Zero: such readers are refused.
    pub lossless_timeout: Duration,
    /// Every frame carries a CRC-32 of its payload, so that readers can prove that it is whole.
    pub checksum: bool,
}

/// What a writer tells the application. Called from the service thread or from a thread that publishes, which must not publish here.
/// A reader is added before anything else is told of its going.
pub trait WriterEvents: Send + Sync + 'static {
    /// A reader has attached.
    fn reader_added(&self, reader: &ReaderStats);
    /// A reader is gone.
    fn reader_removed(&self, reader: u32, reason: &DetachReason);
    /// A reader does not keep up, and has lost `dropped` frames so far. At most once a second for each.
    fn reader_slow(&self, reader: u32, dropped: u64);
    /// A reader answers.
    fn reply(&self, reader: u32, reply: Reply);
    /// A reader needs a keyframe. At most twice a second for each.
    fn force_key_unit(&self, reader: u32);
}

/// The one writer of a channel. Clones share it; it is closed by [`close`](Self::close), or when the last clone goes.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    service: Arc<ServiceHandle>,
}

/// What the threads share.
struct Shared {
    channel: Mutex<Channel>,
    /// Held while a frame is being published, also while a lossless reader is waited for. Inside: what a cancelled publish left.
    publishing: Mutex<Option<Unfinished>>,
    arrivals: Mutex<Arrivals>,
    events: Arc<dyn WriterEvents>,
    options: WriterOptions,
    plan: Plan,
    /// An epoll over the attention events of all ports, and `changed`.
    attention: OwnedFd,
    /// Readers have come or gone: whoever waits for them looks again.
    changed: Arc<OwnedFd>,
}

struct ServiceHandle {
    shared: Arc<Shared>,
    stop: Canceller,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    fn channel(&self) -> MutexGuard<'_, Channel> {
        // A panic under the lock would be a bug of ours; the state behind it is still the best there is.
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publishing(&self) -> MutexGuard<'_, Option<Unfinished>> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what was noted under the lock.
    fn conclude(&self, aftermath: Aftermath) {
        let Aftermath { rings, keeps, notices, wake_waiting } = aftermath;
        for doorbell in rings {
            // Fails only when the counter is full: the reader has not looked for 2^64 frames.
            let _ = rustix::io::write(&*doorbell, &1u64.to_ne_bytes());
        }
        drop(keeps);
        if wake_waiting {
            self.wake_waiting();
        }
        for notice in notices {
            match notice {
                Notice::Added(reader) => {
                    self.wake_waiting();
                    self.events.reader_added(&reader);
                    // Whoever has removed it meanwhile, in another thread, leaves it to this one to tell.
                    let gone = self.arrivals().announced(reader.id);
                    if let Some(reason) = gone {
                        self.events.reader_removed(reader.id, &reason);
                    }
                }
                Notice::Removed(reader, reason) => {
                    self.wake_waiting();
                    let told = self.arrivals().leave(reader, reason);
                    if let Some(reason) = told {
                        self.events.reader_removed(reader, &reason);
                    }
                }
                Notice::Slow(reader, dropped) => self.events.reader_slow(reader, dropped),
                Notice::Reply(reader, reply) => self.events.reply(reader, reply),
                Notice::ForceKeyUnit(reader) => self.events.force_key_unit(reader),
            }
        }
    }

    fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_waiting(&self) {
        let _ = rustix::io::write(&*self.changed, &1u64.to_ne_bytes());
    }

    /// Waits until a reader rings, readers come or go, it is cancelled, or the deadline is over.
    fn wait_for_attention(&self, cancel: &Canceller, deadline: Option<Instant>) -> Result<(), Cancelled> {
        cancel.check()?;
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        let mut ready = [PollFd::new(&self.attention, PollFlags::IN), PollFd::new(cancel, PollFlags::IN)];
        // Interrupted or not: the caller looks again.
        let _ = poll(&mut ready, timeout.as_ref());
        let mut rung = Vec::with_capacity(16);
        let _ = epoll::wait(&self.attention, rustix::buffer::spare_capacity(&mut rung), Some(&Timespec::default()));
        cancel.check()
    }
}

impl Writer {
    /// Takes the channel and begins to serve it. There is no memory for frames yet: the first frame, or
    /// [`ensure_slot_size`](Self::ensure_slot_size), makes it.
    pub fn open(mut options: WriterOptions, events: Arc<dyn WriterEvents>) -> Result<Self, OpenError> {
        options.max_readers = options.max_readers.clamp(1, MAX_READERS);
        let system = |doing| {
            let path = options.address.clone();
            move |error: rustix::io::Errno| OpenError::System { path, doing, source: error.into() }
        };
        let listener = Listener::open(&options.address)?;
        let stop = Canceller::new().map_err(|source| OpenError::System {
            path: options.address.clone(),
            doing: "eventfd",
            source,
        })?;
        let watch = service::watch(&listener, &stop).map_err(system("epoll"))?;
        let attention = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system("epoll"))?;
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let changed = eventfd(0, flags).map_err(system("eventfd"))?;
        epoll::add(&attention, &changed, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)
            .map_err(system("epoll"))?;
        let for_channel = attention.try_clone().map_err(|source| OpenError::System {
            path: options.address.clone(),
            doing: "descriptors",
            source,
        })?;
        let plan = Plan::new(options.slots, options.max_readers);
        let lossless = !options.lossless_timeout.is_zero();
        let shared = Arc::new(Shared {
            channel: Mutex::new(Channel::new(plan, options.max_readers, lossless, for_channel)),
            publishing: Mutex::new(None),
            arrivals: Mutex::default(),
            events,
            plan,
            attention,
            changed: Arc::new(changed),
            options,
        });
        let (for_thread, until) = (shared.clone(), stop.clone());
        let thread = thread::Builder::new()
            .name("valkka-line".into())
            .spawn(move || service::run(for_thread, listener, watch, until))
            .map_err(|source| OpenError::System {
                path: shared.options.address.clone(),
                doing: "starting a thread",
                source,
            })?;
        let service = Arc::new(ServiceHandle { shared: shared.clone(), stop, thread: Mutex::new(Some(thread)) });
        Ok(Self { shared, service })
    }

    /// Sets a sticky state: in order with the frames, and told to every reader that comes later. Larger than 128 KiB: refused (false).
    pub fn set_state(&self, kind: StateKind, bytes: Vec<u8>) -> bool {
        if bytes.len() > MAX_BODY {
            return false;
        }
        self.shared.channel().set_state(kind, bytes);
        true
    }

    /// Sends an event to the readers of now, in order with the frames. A reader whose line is full does not get it: counted.
    /// Larger than 128 KiB: refused (false).
    pub fn send_event(&self, kind: u16, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= MAX_BODY;
        let mut channel = self.shared.channel();
        if fits {
            channel.send_event(kind, bytes);
        } else {
            channel.totals.events_dropped += 1;
        }
        fits
    }

    /// The stream has ended. Readers are told, those that come later too.
    pub fn eos(&self) {
        self.shared.channel().send_eos();
    }

    /// A new stream begins after the end of the last.
    pub fn reset_eos(&self) {
        self.shared.channel().reset_eos();
    }

    /// How many readers there are.
    pub fn readers(&self) -> u32 {
        self.shared.channel().readers.len() as u32
    }

    /// One reader.
    pub fn reader(&self, id: u32) -> Option<ReaderStats> {
        self.shared.channel().reader_stats(id)
    }

    /// Waits until there is a reader.
    pub fn wait_for_reader(&self, cancel: &Canceller) -> Result<(), Cancelled> {
        loop {
            {
                let channel = self.shared.channel();
                if !channel.readers.is_empty() || channel.closed {
                    return Ok(());
                }
            }
            self.shared.wait_for_attention(cancel, None)?;
        }
    }

    /// What has been counted so far.
    pub fn stats(&self) -> WriterStats {
        let mut aftermath = Aftermath::default();
        let stats = self.shared.channel().stats(&mut aftermath);
        self.shared.conclude(aftermath);
        stats
    }

    /// Tells the readers why, ends their lines, removes the socket. Readers keep what they hold and take what waits for them. Whoever waits in
    /// a publish must be cancelled by the caller. Does nothing the second time.
    pub fn close(&self, reason: CloseReason) {
        self.service.close(reason);
    }
}

impl ServiceHandle {
    fn close(&self, reason: CloseReason) {
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut aftermath = Aftermath::default();
        let text = match reason {
            CloseReason::Restart => "the writer stops",
            CloseReason::Error | CloseReason::Detached => "the writer cannot go on",
        };
        self.shared.channel().close(reason, text, &mut aftermath);
        self.shared.conclude(aftermath);
        self.stop.cancel();
        if thread.thread().id() != thread::current().id() {
            // It panics only by a bug of ours, and has said so then.
            let _ = thread.join();
        }
    }
}

impl Drop for ServiceHandle {
    fn drop(&mut self) {
        self.close(CloseReason::Restart);
    }
}
