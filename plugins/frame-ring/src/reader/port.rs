//! The reader's end of one port, and the frames taken from it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::frame::{FrameId, FrameInfo, Integrity, Policy, monotonic_now};
use crate::layout::{INLINE_METAS, SlotHeader, entry_parts, present};
use crate::line::Line;
use crate::mapping::{Port, ReaderFrames};

/// A port as it came from the writer, with the frames that it is about.
pub(super) struct ReaderPort {
    pub frames: ReaderFrames,
    pub port: Port,
    pub attention: OwnedFd,
    /// Slots of this writer that this process holds, in all generations: the budget knows no generations.
    held: Arc<AtomicU32>,
    /// The writer may wait for room in the queue.
    lossless: bool,
    /// As long as a frame is held, the line does not hang up: that is how the writer knows.
    _line: Arc<Line>,
}

/// The writer put something into memory that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lie {
    #[error("the queue's positions are impossible")]
    Queue,
    #[error("the queue names slot {0}, which does not exist")]
    Slot(u32),
    #[error("a slot's header is not the one of its frame")]
    Header,
}

impl ReaderPort {
    pub fn new(
        frames: ReaderFrames,
        port: Port,
        attention: OwnedFd,
        held: Arc<AtomicU32>,
        policy: Policy,
        line: Arc<Line>,
    ) -> Arc<Self> {
        let lossless = policy == Policy::Lossless;
        Arc::new(Self { frames, port, attention, held, lossless, _line: line })
    }

    pub fn generation(&self) -> u64 {
        self.frames.geometry().generation
    }

    /// Takes the oldest waiting frame. With `max_held` slots out, the frame is copied and its slot given back at once.
    pub fn take(self: &Arc<Self>, max_held: u32) -> Result<Option<Taken>, Lie> {
        let Some(word) = self.port.queue().take().map_err(|_| Lie::Queue)? else { return Ok(None) };
        let (slot, seq) = entry_parts(word);
        if slot >= self.frames.geometry().slot_count {
            return Err(Lie::Slot(slot));
        }
        let held = self.held.fetch_add(1, Ordering::Relaxed);
        // From here on the slot comes back by drop, whatever happens.
        let mut loan = Loan { port: self.clone(), slot, length: 0 };
        if self.lossless && self.port.attention().must_ring() {
            self.ring();
        }
        let header = self.frames.header(slot);
        self.check(&header, seq)?;
        let now = monotonic_now();
        let latency = now.saturating_sub(header.published).max(0) as u64;
        self.port.latency_last().store(latency, Ordering::Relaxed);
        self.port.latency_max().fetch_max(latency, Ordering::Relaxed);
        let metas = self.metas(slot, &header);
        loan.length = header.length as usize;
        let mut payload = Payload::Slot(loan);
        if held >= max_held {
            self.port.copied_on_hold().fetch_add(1, Ordering::Relaxed);
            payload = Payload::Copy(payload.as_ref().into());
        }
        let integrity = match header.has(present::CHECKSUM) {
            true if crc32fast::hash(payload.as_ref()) == header.checksum => Integrity::Whole,
            true => Integrity::Torn,
            false => Integrity::Unchecked,
        };
        let frame = Frame {
            payload,
            id: FrameId { generation: self.generation(), seq: header.seq },
            info: header.info(),
            published: header.published,
            utc_offset: header.utc_offset,
            metas,
            latency,
            integrity,
            lost_before: 0,
            first_of_writer: false,
        };
        Ok(Some(Taken { frame, serial: header.serial }))
    }

    fn check(&self, header: &SlotHeader, seq: u32) -> Result<(), Lie> {
        let room = self.frames.geometry().slot_size;
        let metas_fit = if header.has(present::METAS_BEHIND) {
            header.length.checked_add(header.metas_length).is_some_and(|end| end <= room)
        } else {
            header.metas_length <= INLINE_METAS as u64
        };
        if header.seq as u32 == seq && header.length <= room && metas_fit { Ok(()) } else { Err(Lie::Header) }
    }

    /// Copied out: they are read in many places.
    fn metas(&self, slot: u32, header: &SlotHeader) -> Vec<u8> {
        let length = header.metas_length as usize;
        if header.has(present::METAS_BEHIND) {
            self.frames.payload(slot, header.length as usize, length).into()
        } else {
            self.frames.inline_metas(slot, length).into()
        }
    }

    fn give_back(&self, slot: u32) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.port.returned().give(slot);
        if self.port.attention().must_ring() {
            self.ring();
        }
    }

    fn ring(&self) {
        // Fails only when the counter is full: the writer has been rung then.
        let _ = rustix::io::write(&self.attention, &1u64.to_ne_bytes());
    }
}

/// A frame, and the serial of the newest message that it comes after.
pub(super) struct Taken {
    pub frame: Frame,
    pub serial: u32,
}

/// A slot that is looked at. Drop gives it back.
struct Loan {
    port: Arc<ReaderPort>,
    slot: u32,
    length: usize,
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.port.give_back(self.slot);
    }
}

enum Payload {
    Slot(Loan),
    Copy(Box<[u8]>),
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Slot(loan) => loan.port.frames.payload(loan.slot, 0, loan.length),
            Self::Copy(bytes) => bytes,
        }
    }
}

/// A frame of a channel: read-only, unchanging as long as it is held. Drop gives its slot back, from any thread, without a lock, and
/// without a system call unless the writer waits for it.
pub struct Frame {
    payload: Payload,
    id: FrameId,
    info: FrameInfo,
    published: i64,
    utc_offset: i64,
    metas: Vec<u8>,
    latency: u64,
    integrity: Integrity,
    pub(super) lost_before: u64,
    pub(super) first_of_writer: bool,
}

impl Frame {
    /// Which frame it is.
    pub fn id(&self) -> FrameId {
        self.id
    }

    /// What the writer says of it.
    pub fn info(&self) -> &FrameInfo {
        &self.info
    }

    /// CLOCK_MONOTONIC when it was published, in ns.
    pub fn published(&self) -> i64 {
        self.published
    }

    /// CLOCK_REALTIME − CLOCK_MONOTONIC when it was published, in ns: channel time + this = Unix time.
    pub fn utc_offset(&self) -> i64 {
        self.utc_offset
    }

    /// What the writer put beside it; opaque to the ring.
    pub fn metas(&self) -> &[u8] {
        &self.metas
    }

    /// How many frames of this writer are missing directly before it.
    pub fn lost_before(&self) -> u64 {
        self.lost_before
    }

    /// Is it the first that comes from this writer?
    pub fn first_of_writer(&self) -> bool {
        self.first_of_writer
    }

    /// Was it copied because too many slots were held?
    pub fn is_copy(&self) -> bool {
        matches!(self.payload, Payload::Copy(_))
    }

    /// Could it be proved whole when it was taken?
    pub fn integrity(&self) -> Integrity {
        self.integrity
    }

    /// From publishing to taking, in ns.
    pub fn latency(&self) -> u64 {
        self.latency
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.payload.as_ref()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let length = self.as_ref().len();
        f.debug_struct("Frame").field("id", &self.id).field("info", &self.info).field("length", &length).finish()
    }
}
