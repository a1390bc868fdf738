//! Publishing: a filled slot becomes a frame, every reader is offered it, lossless ones are waited for.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::Writer;
use super::channel::Channel;
use super::generation::Generation;
use super::ledger::Keep;
use super::reader::{Aftermath, Offer, Published};
use super::slots::SlotMut;
use super::stats::DetachReason;
use crate::cancel::{Cancelled, Canceller};
use crate::frame::{FrameId, FrameInfo, monotonic_now, utc_offset_now};
use crate::layout::{INLINE_METAS, SlotHeader, present};
use crate::mapping::MemoryError;

/// A lossless reader whose line is full is looked at again after this time.
const LINE_PAUSE: Duration = Duration::from_millis(5);

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

impl Writer {
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
        if self.shared.options.checksum && !self.is_own(payload) {
            // Not worth the reading.
            return Err(PublishError::NotOurs(keep));
        }
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
        slot: SlotMut,
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
        let lease = slot.take_lease();
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

    /// Nobody waits any more until everybody has this frame. Readers that do not have it miss it, and it is counted.
    fn give_up(&self, left: Option<Unfinished>) {
        let Some(Unfinished { frame, generation, waits_for }) = left else { return };
        let mut aftermath = Aftermath::default();
        let mut channel = self.shared.channel();
        for id in waits_for {
            if let Some(reader) = channel.readers.get_mut(&id) {
                reader.miss();
            }
        }
        channel.end_publishing(&frame, generation, &mut aftermath);
        drop(channel);
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
            let until = {
                let mut channel = self.shared.channel();
                // Ask first, then look: a reader that takes a frame in between rings.
                if let Some(reader) = channel.readers.get(&id) {
                    reader.ask_for_attention();
                }
                let mut offer = channel.offer_again(id, frame, &mut aftermath);
                let waits = matches!(offer, Offer::Wait | Offer::WaitForLine);
                if waits && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    offer = Offer::Detach(DetachReason::TooSlow { timeout_ms: timeout.as_millis() as u64 });
                }
                let until = match offer {
                    Offer::Wait => Some(deadline),
                    Offer::WaitForLine => Some(deadline.into_iter().chain([Instant::now() + LINE_PAUSE]).min()),
                    Offer::Done => None,
                    Offer::Detach(reason) => {
                        channel.detach(id, reason, &mut aftermath);
                        None
                    }
                };
                if until.is_none()
                    && let Some(reader) = channel.readers.get(&id)
                {
                    reader.need_no_attention();
                }
                until
            };
            self.shared.conclude(aftermath);
            let Some(until) = until else { return Ok(()) };
            self.shared.wait_for_attention(cancel, until)?;
        }
    }
}

/// A frame that lossless readers do not have yet. It has a loan until they do.
pub(super) struct Unfinished {
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
