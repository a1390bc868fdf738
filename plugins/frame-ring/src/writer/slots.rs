//! Slots to fill: for upstream, and for copies.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

use super::channel::Channel;
use super::generation::Generation;
use super::reader::Aftermath;
use super::{Shared, Writer};
use crate::layout::{INLINE_METAS, MAX_SLOT_SIZE};
use crate::mapping::{Lease, MemoryError};

/// When the size of frames is not known, slots begin with this and double, in bytes.
const FIRST_SLOT_SIZE: u64 = 1 << 20;

impl Writer {
    /// Sees to it that slots hold `bytes` each. Starts a generation when they do not: milliseconds for each large slot.
    pub fn ensure_slot_size(&self, bytes: usize) -> Result<(), MemoryError> {
        let _publishing = self.shared.publishing();
        self.grow_slots(bytes as u64)
    }

    fn grow_slots(&self, bytes: u64) -> Result<(), MemoryError> {
        let (closed, have, needed) = {
            let channel = self.shared.channel();
            (channel.closed, channel.slot_size(), channel.slots_needed())
        };
        if closed || (bytes <= have && have > 0) {
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
    /// None: there is none at all, or the writer is closed; count the frame as dropped.
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
}

/// A slot to fill: all its bytes, page-aligned, exclusively, from any thread. Drop gives it back (published slots when the readers are
/// done, too).
pub struct SlotMut {
    /// None: published as a copy.
    lease: Option<Lease>,
    shared: Arc<Shared>,
}

impl SlotMut {
    /// It is being published as a copy.
    pub(super) fn take_lease(mut self) -> Lease {
        self.lease.take().expect("a slot has its lease until it is published")
    }

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
