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

mod channel;
mod generation;
mod ledger;
mod port;
mod reader;
mod service;
mod stats;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::time::{ClockId, clock_gettime};

pub use stats::{DetachReason, Dropped, ReaderStats, WriterStats};

use crate::address::ChannelAddress;
use crate::cancel::{Cancelled, Canceller};
use crate::frame::{FrameId, FrameInfo, Reply, StateKind, monotonic_now, utc_offset_now};
use crate::layout::{INLINE_METAS, MAX_SLOT_SIZE, SlotHeader, present};
use crate::mapping::{Lease, MemoryError};
use crate::message::{CloseReason, MAX_BODY};
use crate::socket::{Listener, OpenError};
use channel::Channel;
use generation::{Generation, Plan};
use ledger::Keep;
use reader::{Aftermath, Notice, Published};

/// Most readers that a channel can have.
pub const MAX_READERS: u32 = 64;
/// When the size of frames is not known, slots begin with this and double, in bytes.
const FIRST_SLOT_SIZE: u64 = 1 << 20;
/// How long close() tries to tell the end of the stream to a reader that does not listen.
const LAST_WORDS: Duration = Duration::from_millis(100);

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

/// What a writer tells the application. Called from the service thread or from the thread that publishes, never with a lock held.
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

/// Why a frame was not published.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The wait for a lossless reader was cancelled. The other readers have the frame; [`Writer::finish`] goes on waiting, the next
    /// publish does not.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// The payload is not a slot of ours that upstream has filled; here is what was to be kept. Copy it instead.
    #[error("the payload is not in a slot of this channel")]
    NotOurs(Keep),
    /// Memory that cannot be had.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The writer is closed.
    #[error("the channel is closed")]
    Closed,
}

impl std::fmt::Debug for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
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
        let Aftermath { rings, keeps, notices } = aftermath;
        for doorbell in rings {
            // Fails only when the counter is full: the reader has not looked for 2^64 frames.
            let _ = rustix::io::write(&*doorbell, &1u64.to_ne_bytes());
        }
        drop(keeps);
        for notice in notices {
            match notice {
                Notice::Added(reader) => {
                    self.wake_waiting();
                    self.events.reader_added(&reader);
                }
                Notice::Removed(reader, reason) => {
                    self.wake_waiting();
                    self.events.reader_removed(reader, &reason);
                }
                Notice::Slow(reader, dropped) => self.events.reader_slow(reader, dropped),
                Notice::Reply(reader, reply) => self.events.reply(reader, reply),
                Notice::ForceKeyUnit(reader) => self.events.force_key_unit(reader),
            }
        }
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

    /// Sees to it that slots hold `bytes` each. Starts a generation when they do not: milliseconds for each large slot.
    pub fn ensure_slot_size(&self, bytes: usize) -> Result<(), MemoryError> {
        let _publishing = self.shared.publishing();
        self.grow_slots(bytes as u64)
    }

    fn grow_slots(&self, bytes: u64) -> Result<(), MemoryError> {
        let (have, needed) = {
            let channel = self.shared.channel();
            (channel.slot_size(), channel.slots_needed())
        };
        if bytes <= have && have > 0 {
            return Ok(());
        }
        let generation = Generation::create(self.next_generation(), bytes, self.shared.plan, needed)?;
        let mut aftermath = Aftermath::default();
        {
            let mut channel = self.shared.channel();
            // A reader that was granted slots since fetches them itself, when it sees this generation.
            channel.start(generation, &mut aftermath);
        }
        self.shared.conclude(aftermath);
        Ok(())
    }

    /// Rises with every generation of this writer and of those before it: microseconds since the machine was started.
    fn next_generation(&self) -> u64 {
        let time = clock_gettime(ClockId::Boottime);
        let now = time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000;
        let last = self.shared.channel().current.as_ref().map_or(0, Generation::number);
        now.max(last + 1)
    }

    /// Bytes of a slot; 0 before there is memory.
    pub fn slot_size(&self) -> usize {
        self.shared.channel().slot_size() as usize
    }

    /// A slot for upstream to fill. None when upstream's share is in use, before there is memory and when the writer is closed: use other
    /// memory then, it is copied when it is published.
    pub fn take_slot(&self) -> Option<SlotMut> {
        let mut aftermath = Aftermath::default();
        let slot = {
            let mut channel = self.shared.channel();
            if channel.closed { None } else { channel.slot_for_upstream(&mut aftermath) }
                .and_then(|slot| self.lease(&mut channel, slot))
        };
        self.shared.conclude(aftermath);
        slot
    }

    /// A slot for a copy of `bytes` (payload, and metas that do not fit beside the header). Starts a generation when slots are too small.
    /// None: there is none at all; count the frame as dropped.
    pub fn copy_slot(&self, bytes: usize) -> Result<Option<SlotMut>, MemoryError> {
        let _publishing = self.shared.publishing();
        let have = self.shared.channel().slot_size();
        if bytes as u64 > have || have == 0 {
            let doubled = (bytes as u64).max(FIRST_SLOT_SIZE).checked_next_power_of_two().unwrap_or(u64::MAX);
            // A stream of frames that grow: double, so that few frames start a generation. Very large ones get what they need.
            let size = if doubled > MAX_SLOT_SIZE { bytes as u64 } else { doubled };
            self.grow_slots(size)?;
        }
        let mut aftermath = Aftermath::default();
        let slot = {
            let mut channel = self.shared.channel();
            match channel.slot_for_copy(&mut aftermath) {
                Ok(slot) => Ok(slot.and_then(|slot| self.lease(&mut channel, slot))),
                Err(error) => Err(error),
            }
        };
        self.shared.conclude(aftermath);
        slot
    }

    fn lease(&self, channel: &mut Channel, slot: u32) -> Option<SlotMut> {
        let lease = channel.current.as_ref()?.frames.lease(slot).expect("the ledger gives a slot to one at a time");
        Some(SlotMut { lease: Some(lease), shared: self.shared.clone() })
    }

    /// Is this payload a slot of ours, of the present generation, from its first byte on, and not published before?
    pub fn is_own(&self, payload: &[u8]) -> bool {
        let channel = self.shared.channel();
        channel.current.as_ref().is_some_and(|generation| {
            generation.frames.slot_of(payload).is_some_and(|slot| generation.ledger.may_publish(slot))
        })
    }

    /// Is there room for metas of that size with such a payload, in slots as they are?
    pub fn metas_fit(&self, payload: usize, metas: usize) -> bool {
        metas <= INLINE_METAS || (payload + metas) as u64 <= self.shared.channel().slot_size()
    }

    /// Publishes a slot that upstream has filled with `payload`. `keep` is dropped when every loan has ended. Metas that do not fit are
    /// dropped, and counted.
    ///
    /// Waits for lossless readers only: up to the writer's limit, or until `cancel`.
    pub fn publish_own(
        &self,
        payload: &[u8],
        keep: Keep,
        info: &FrameInfo,
        metas: &[u8],
        cancel: &Canceller,
    ) -> Result<FrameId, PublishError> {
        let mut publishing = self.shared.publishing();
        self.give_up(publishing.take());
        let checksum = self.checksum(payload);
        let channel = self.shared.channel();
        if channel.closed {
            return Err(PublishError::Closed);
        }
        let slot = channel.current.as_ref().and_then(|generation| {
            generation.frames.slot_of(payload).filter(|slot| generation.ledger.may_publish(*slot))
        });
        match slot {
            Some(slot) => {
                let frame = Outgoing { slot, length: payload.len(), keep: Some(keep), info, metas, checksum };
                self.publish(channel, frame, &mut publishing, cancel)
            }
            None => Err(PublishError::NotOurs(keep)),
        }
    }

    /// Publishes the first `length` bytes of a slot for copies.
    pub fn publish_copy(
        &self,
        mut slot: SlotMut,
        length: usize,
        info: &FrameInfo,
        metas: &[u8],
        cancel: &Canceller,
    ) -> Result<FrameId, PublishError> {
        let mut publishing = self.shared.publishing();
        self.give_up(publishing.take());
        let checksum = self.checksum(&slot.as_ref()[..length]);
        let mut channel = self.shared.channel();
        if channel.closed {
            return Err(PublishError::Closed);
        }
        let lease = slot.lease.take().expect("a slot has its lease until it is published");
        let (number, generation) = (lease.slot(), lease.frames().geometry().generation);
        drop(lease);
        if channel.current.as_ref().map(Generation::number) != Some(generation) {
            channel.end_lease(generation, number);
            return Err(PublishError::NotOurs(Box::new(())));
        }
        let frame = Outgoing { slot: number, length, keep: None, info, metas, checksum };
        self.publish(channel, frame, &mut publishing, cancel)
    }

    fn checksum(&self, payload: &[u8]) -> Option<u32> {
        self.shared.options.checksum.then(|| crc32fast::hash(payload))
    }

    fn publish(
        &self,
        mut channel: MutexGuard<'_, Channel>,
        frame: Outgoing<'_>,
        unfinished: &mut Option<Unfinished>,
        cancel: &Canceller,
    ) -> Result<FrameId, PublishError> {
        let mut aftermath = Aftermath::default();
        let now = monotonic_now();
        let generation = channel.current.as_ref().map(Generation::number).expect("a slot is of a generation");
        let published =
            Published { slot: frame.slot, seq: channel.seq, delta: frame.info.delta, serial: channel.serial() };
        self.write_header(&mut channel, &frame, &published, now);
        let copied = frame.keep.is_none();
        let full = channel.publish(published, frame.keep, now, &mut aftermath);
        if copied {
            channel.end_lease(generation, frame.slot);
            channel.totals.copied += 1;
        } else {
            channel.totals.zero_copy += 1;
        }
        channel.totals.bytes += frame.length as u64;
        if full.is_empty() {
            channel.end_publishing(&published, generation, &mut aftermath);
        }
        drop(channel);
        self.shared.conclude(aftermath);
        if full.is_empty() {
            return Ok(FrameId { generation, seq: published.seq });
        }
        self.wait_for_lossless(Unfinished { frame: published, generation, waits_for: full }, unfinished, cancel)?;
        Ok(FrameId { generation, seq: published.seq })
    }

    /// Goes on waiting for the lossless readers whose wait was [cancelled](PublishError::Cancelled), each with its full time. Does nothing
    /// when there are none.
    pub fn finish(&self, cancel: &Canceller) -> Result<(), Cancelled> {
        let mut publishing = self.shared.publishing();
        let Some(left) = publishing.take() else { return Ok(()) };
        let present = self.shared.channel().current.as_ref().map(Generation::number);
        if present == Some(left.generation) {
            return self.wait_for_lossless(left, &mut publishing, cancel);
        }
        // Larger slots were asked for meanwhile: readers are told of those, and would not understand where this frame is.
        self.give_up(Some(left));
        Ok(())
    }

    /// Nobody waits any more until everybody has this frame.
    fn give_up(&self, left: Option<Unfinished>) {
        let Some(Unfinished { frame, generation, .. }) = left else { return };
        let mut aftermath = Aftermath::default();
        self.shared.channel().end_publishing(&frame, generation, &mut aftermath);
        self.shared.conclude(aftermath);
    }

    fn write_header(&self, channel: &mut Channel, frame: &Outgoing<'_>, published: &Published, now: i64) {
        let generation = channel.current.as_ref().expect("a slot is of a generation");
        let mut header = SlotHeader {
            seq: published.seq,
            length: frame.length as u64,
            published: now,
            utc_offset: utc_offset_now(),
            serial: published.serial,
            ..SlotHeader::default()
        };
        header.set_info(frame.info);
        if let Some(checksum) = frame.checksum {
            header.checksum = checksum;
            header.present |= present::CHECKSUM;
        }
        let behind = (frame.length + frame.metas.len()) as u64 <= generation.slot_size();
        let metas = match frame.metas.len() {
            length if length <= INLINE_METAS => frame.metas,
            _ if behind => {
                header.present |= present::METAS_BEHIND;
                frame.metas
            }
            _ => {
                channel.totals.metas_dropped += 1;
                &[]
            }
        };
        header.metas_length = metas.len() as u64;
        generation.frames.write_header(frame.slot, &header, metas);
    }

    /// Waits until each of these readers has room for the frame, is gone, or has used up its time. What is left when it is cancelled goes into
    /// `unfinished`.
    fn wait_for_lossless(
        &self,
        mut left: Unfinished,
        unfinished: &mut Option<Unfinished>,
        cancel: &Canceller,
    ) -> Result<(), Cancelled> {
        while let Some(id) = left.waits_for.pop() {
            if let Err(cancelled) = self.wait_for_room(id, &left.frame, cancel) {
                left.waits_for.push(id);
                *unfinished = Some(left);
                return Err(cancelled);
            }
        }
        self.give_up(Some(left));
        Ok(())
    }

    fn wait_for_room(&self, id: u32, frame: &Published, cancel: &Canceller) -> Result<(), Cancelled> {
        let timeout = self.shared.options.lossless_timeout;
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let mut aftermath = Aftermath::default();
            let done = {
                let mut channel = self.shared.channel();
                // Ask first, then look: a reader that takes a frame in between rings.
                if let Some(reader) = channel.readers.get(&id) {
                    reader.ask_for_attention();
                }
                let mut done = channel.offer_again(id, frame, &mut aftermath);
                if !done && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    let timeout_ms = timeout.as_millis() as u64;
                    channel.detach(id, DetachReason::TooSlow { timeout_ms }, &mut aftermath);
                    done = true;
                }
                if done && let Some(reader) = channel.readers.get(&id) {
                    reader.need_no_attention();
                }
                done
            };
            self.shared.conclude(aftermath);
            if done {
                return Ok(());
            }
            self.shared.wait_for_attention(cancel, deadline)?;
        }
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
        let deadline = Instant::now() + LAST_WORDS;
        while self.shared.channel().eos_is_due() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
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

/// A frame that lossless readers do not have yet. It has a loan until they do.
struct Unfinished {
    frame: Published,
    generation: u64,
    waits_for: Vec<u32>,
}

/// A frame on its way out.
struct Outgoing<'a> {
    slot: u32,
    length: usize,
    /// None: a copy.
    keep: Option<Keep>,
    info: &'a FrameInfo,
    metas: &'a [u8],
    checksum: Option<u32>,
}

/// A slot to fill: all its bytes, page-aligned, exclusively, from any thread. Drop gives it back (published slots when the readers are
/// done, too).
pub struct SlotMut {
    /// None: published as a copy.
    lease: Option<Lease>,
    shared: Arc<Shared>,
}

impl SlotMut {
    fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("a slot has its lease until it is published")
    }
}

impl AsRef<[u8]> for SlotMut {
    fn as_ref(&self) -> &[u8] {
        self.lease().as_ref()
    }
}

impl AsMut<[u8]> for SlotMut {
    fn as_mut(&mut self) -> &mut [u8] {
        self.lease.as_mut().expect("a slot has its lease until it is published").as_mut()
    }
}

impl Drop for SlotMut {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            let (slot, generation) = (lease.slot(), lease.frames().geometry().generation);
            // Its lease ends before the ledger may give it to somebody else.
            drop(lease);
            self.shared.channel().end_lease(generation, slot);
        }
    }
}
