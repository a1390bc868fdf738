//! One memory of the channel: its frames and who has which slot.

use std::sync::Arc;

use super::ledger::{Keep, Ledger};
use super::reader::Published;
use crate::layout::{FramesGeometry, MAX_SLOT_SIZE, MAX_SLOTS};
use crate::mapping::{MemoryError, WriterFrames};

/// Slots for copies of foreign buffers: one that is filled while another is being published.
pub(super) const COPY_SLOTS: u32 = 2;
/// The newest frame keeps its slot for readers that come later.
const NEWEST_SLOT: u32 = 1;
/// Slots laid out for readers, at least and at most. Only what is granted costs memory: the file is sparse.
const READER_SLOTS: std::ops::RangeInclusive<u32> = 64..=1024;
/// Slots laid out per reader that may come.
const SLOTS_PER_READER: u32 = 9;

/// How many slots a channel has: upstream's, those for copies, the newest frame, and room for the readers' budgets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    upstream: u32,
    for_readers: u32,
}

impl Plan {
    pub fn new(upstream: u32, max_readers: u32) -> Self {
        let for_readers =
            max_readers.saturating_mul(SLOTS_PER_READER).clamp(*READER_SLOTS.start(), *READER_SLOTS.end());
        Self { upstream: upstream.clamp(1, 512), for_readers }
    }

    /// Slots laid out.
    pub fn capacity(&self) -> u32 {
        (self.upstream + COPY_SLOTS + NEWEST_SLOT + self.for_readers).min(MAX_SLOTS)
    }

    /// Most slots that readers can have reserved.
    pub fn for_readers(&self) -> u32 {
        self.for_readers
    }

    /// Slots that need memory when readers have `reserved`.
    pub fn needed(&self, reserved: u32) -> u32 {
        (self.upstream + COPY_SLOTS + NEWEST_SLOT + reserved).min(self.capacity())
    }
}

pub(super) struct Generation {
    pub frames: Arc<WriterFrames>,
    pub ledger: Ledger,
    /// The frame that was published last. It has a loan.
    newest: Option<Published>,
}

impl Generation {
    /// Makes the memory and fetches what is needed of it. Takes milliseconds for each large slot.
    pub fn create(number: u64, slot_bytes: u64, plan: Plan, needed: u32) -> Result<Self, MemoryError> {
        let slot_size = FramesGeometry::slot_size_for(slot_bytes);
        let geometry = FramesGeometry::new(number, plan.capacity(), slot_size)
            .ok_or(MemoryError::FrameTooLarge { bytes: slot_bytes, limit: MAX_SLOT_SIZE })?;
        let frames = Arc::new(WriterFrames::create(geometry)?);
        frames.populate(0, needed)?;
        let mut ledger = Ledger::new();
        ledger.grow(needed);
        Ok(Self { frames, ledger, newest: None })
    }

    pub fn number(&self) -> u64 {
        self.frames.geometry().generation
    }

    pub fn slot_size(&self) -> u64 {
        self.frames.geometry().slot_size
    }

    pub fn newest(&self) -> Option<Published> {
        self.newest
    }

    /// `frame` is the newest now; the one before has one loan less.
    pub fn set_newest(&mut self, frame: Option<Published>, keeps: &mut Vec<Keep>) {
        if let Some(frame) = &frame {
            self.ledger.lend(frame.slot);
        }
        if let Some(before) = std::mem::replace(&mut self.newest, frame) {
            keeps.extend(self.ledger.end_loan(before.slot));
        }
    }

    /// A frame is about to be copied in: where the newest one is, if nobody looks at that any more, because that memory is in the caches.
    /// A reader that attaches before the copy is published gets the copy.
    pub fn reuse_newest(&mut self, keeps: &mut Vec<Keep>) {
        if self.newest.is_some_and(|newest| self.ledger.is_last_loan(newest.slot)) {
            self.set_newest(None, keeps);
        }
    }
}
