//! From a buffer to a published frame: what it says of itself, and whether it has to be copied.

use std::sync::atomic::Ordering::Relaxed;

use frame_ring::{FrameId, FrameInfo, PublishError, SlotMut};
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_video::video_frame::VideoBufferExt;

use super::imp::{CAT, Started, ValkkaShmSink};
use crate::{
    errors,
    lock::lock,
    metas,
    time::{self, Origin},
};

/// Between a payload and the metas behind it, to align them.
const METAS_ALIGNMENT: usize = 64;

/// Bytes: where the planes are, and something beside.
const USUAL_METAS: usize = 256;

/// Why `render()` cannot simply return.
enum Failure {
    /// Unlocked while waiting for a reader to come: the frame is still to be published.
    CancelledBefore,
    /// Unlocked while waiting for a lossless reader to take the frame: everybody else has it.
    CancelledAfter,
    /// The sink is being stopped.
    Closed,
    /// Told to the application.
    Fatal(gst::ErrorMessage),
}

impl ValkkaShmSink {
    /// Publishes `buffer`; waits for a reader and for lossless ones if it has to, and not when unlocked.
    pub(super) fn publish(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let started = self.started().ok_or(gst::FlowError::Flushing)?;
        loop {
            match self.wait_for_reader(&started).and_then(|()| self.publish_once(&started, buffer)) {
                Ok(()) => return Ok(gst::FlowSuccess::Ok),
                // Paused: go on when playing again. Flushing: not at all.
                Err(Failure::CancelledBefore) => self.obj().wait_preroll().map(|_| ())?,
                Err(Failure::CancelledAfter) => return self.finish(&started),
                Err(Failure::Closed) => return Err(gst::FlowError::Flushing),
                Err(Failure::Fatal(message)) => {
                    self.failed.store(true, Relaxed);
                    self.post_error_message(message);
                    return Err(gst::FlowError::Error);
                }
            }
        }
    }

    /// Goes on waiting for lossless readers after each pause.
    #[cold]
    fn finish(&self, started: &Started) -> Result<gst::FlowSuccess, gst::FlowError> {
        loop {
            self.obj().wait_preroll()?;
            if started.writer.finish(&started.canceller).is_ok() {
                return Ok(gst::FlowSuccess::Ok);
            }
        }
    }

    fn wait_for_reader(&self, started: &Started) -> Result<(), Failure> {
        if !started.wait_for_reader || started.writer.readers() > 0 {
            return Ok(());
        }
        gst::info!(CAT, imp = self, "Waiting for a reader");
        started.writer.wait_for_reader(&started.canceller).map_err(|_| Failure::CancelledBefore)
    }

    fn publish_once(&self, started: &Started, buffer: &gst::Buffer) -> Result<(), Failure> {
        let mut metas = Vec::with_capacity(USUAL_METAS);
        let beside = metas::collect(buffer, &mut lock(&self.stream).layout, &mut metas);
        let info = self.describe(buffer, &mut metas);
        lock(&self.origins).announce(beside.origin);
        let published = match self.publish_own(started, buffer, &info, &metas)? {
            Some(id) => Some(id),
            None => self.publish_copy(started, buffer, &info, &metas)?,
        };
        lock(&self.origins).settle(published.map(|id| id.seq));
        self.unknown_metas.fetch_add(u64::from(beside.unknown), Relaxed);
        // What follows a frame that nobody gets is discontinuous.
        lock(&self.stream).discont = published.is_none();
        Ok(())
    }

    /// The frame, when `buffer` is a slot and was published as it is.
    fn publish_own(
        &self,
        started: &Started,
        buffer: &gst::Buffer,
        info: &FrameInfo,
        metas: &[u8],
    ) -> Result<Option<FrameId>, Failure> {
        // A part of a slot counts as foreign, too: frame-ring cannot see how much of it belongs to the frame.
        if buffer.n_memory() != 1 || buffer.peek_memory(0).parent().is_some() {
            return Ok(None);
        }
        let map = buffer.map_readable().map_err(|_| unreadable(buffer))?;
        if !started.writer.metas_fit(map.len(), metas.len()) {
            return Ok(None);
        }
        // The reference keeps everybody from making the buffer writable while readers look at it.
        let keep = Box::new(buffer.clone());
        match started.writer.publish_own(&map, keep, info, metas, &started.canceller) {
            Ok(id) => {
                gst::log!(CAT, imp = self, "Published {buffer:?} as {id} without a copy");
                Ok(Some(id))
            }
            Err(PublishError::NotOurs(_)) => Ok(None),
            Err(error) => Err(failure(error)),
        }
    }

    /// None when no slot was free: the frame is dropped.
    #[inline(never)]
    fn publish_copy(
        &self,
        started: &Started,
        buffer: &gst::Buffer,
        info: &FrameInfo,
        metas: &[u8],
    ) -> Result<Option<FrameId>, Failure> {
        let len = buffer.size();
        loop {
            let Some(mut slot) = self.copy_slot(started, len, metas.len())? else {
                gst::debug!(CAT, imp = self, "No slot is free for {buffer:?}: dropped");
                self.no_slot.fetch_add(1, Relaxed);
                return Ok(None);
            };
            if buffer.copy_to_slice(0, &mut slot.as_mut()[..len]).is_err() {
                return Err(unreadable(buffer));
            }
            match started.writer.publish_copy(slot, len, info, metas, &started.canceller) {
                Ok(id) => {
                    gst::log!(CAT, imp = self, "Published a copy of {buffer:?} as {id}");
                    return Ok(Some(id));
                }
                // Upstream has activated a pool of larger frames meanwhile: once more, into the new memory.
                Err(PublishError::NotOurs(_)) => {}
                Err(error) => return Err(failure(error)),
            }
        }
    }

    fn copy_slot(&self, started: &Started, len: usize, metas: usize) -> Result<Option<SlotMut>, Failure> {
        let writer = &started.writer;
        let beside = metas == 0 || writer.metas_fit(len, metas);
        let bytes = if beside { len } else { len + METAS_ALIGNMENT + metas };
        // Raw pictures all have the same size: no guessing, as there is for encoded ones.
        if lock(&self.stream).video.is_some() && writer.slot_size() < bytes {
            writer.ensure_slot_size(bytes).map_err(|error| Failure::Fatal(errors::memory(&error)))?;
        }
        writer.copy_slot(bytes).map_err(|error| Failure::Fatal(errors::memory(&error)))
    }

    fn describe(&self, buffer: &gst::BufferRef, metas: &mut Vec<u8>) -> FrameInfo {
        let segment = self.obj().segment();
        let running = |time: Option<gst::ClockTime>| time.and_then(|time| time::running_time(&segment, time));
        let (pts, dts) = (running(buffer.pts()), running(buffer.dts()));
        let time = |running: i64| self.channel_time(running);
        if let (None, Some(dts)) = (pts, dts) {
            metas::add_decoding_time(time(dts), metas);
        }
        let mut flags = passing_flags(buffer);
        if lock(&self.stream).discont {
            flags |= gst::BufferFlags::DISCONT.bits();
        }
        FrameInfo {
            time: pts.map(time),
            dts_offset: pts.zip(dts).map(|(pts, dts)| pts.saturating_sub(dts)),
            duration: buffer.duration().map(gst::ClockTime::nseconds),
            delta: buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            flags,
        }
    }

    /// Channel time of a running time of this pipeline.
    pub(super) fn channel_time(&self, running_time: i64) -> i64 {
        let mut stream = lock(&self.stream);
        let origin = Origin::of(&*self.obj(), &mut stream.clock).unwrap_or_else(|| {
            // Without a clock there is no running time but the frames' own: it begins with the first one.
            *stream.origin.get_or_insert_with(|| Origin::anchored_now(running_time))
        });
        origin.channel_time(running_time)
    }
}

/// Flags that mean something in another process.
fn passing_flags(buffer: &gst::BufferRef) -> u32 {
    // Whether the memory was touched concerns this pipeline's pools only.
    let flags = buffer.flags() - gst::BufferFlags::TAG_MEMORY;
    flags.bits() | buffer.video_flags().bits()
}

fn failure(error: PublishError) -> Failure {
    match error {
        PublishError::Cancelled(_) => Failure::CancelledAfter,
        PublishError::Memory(error) => Failure::Fatal(errors::memory(&error)),
        _ => Failure::Closed,
    }
}

fn unreadable(buffer: &gst::BufferRef) -> Failure {
    Failure::Fatal(gst::error_msg!(
        gst::ResourceError::Read,
        (
            "A buffer of {} bytes cannot be read: put an element before the sink that brings frames into system memory \
          (gldownload, vapostproc, videoconvert ...)",
            buffer.size()
        )
    ))
}
