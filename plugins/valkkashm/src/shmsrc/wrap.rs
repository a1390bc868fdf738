//! From a frame to a buffer: memory, time stamps, flags, metas.

use std::sync::atomic::Ordering::Relaxed;

use frame_ring::{Frame, FrameInfo, Integrity};
use gst::subclass::prelude::*;
use gst_video::VideoMeta;

use super::{
    imp::{CAT, Stream, ValkkaShmSrc},
    wrapper::WrapperPool,
};
use crate::{
    frame_meta::FrameMark,
    lock::lock,
    metas::{
        self, Size,
        known::Known,
        layout::{self, Checked},
    },
    time::Origin,
};

/// A buffer without its frame.
pub(super) struct Blank {
    buffer: gst::Buffer,
    /// It has a video meta: the one of the last frame's metas.
    laid_out: bool,
}

impl ValkkaShmSrc {
    /// Makes the buffer of the next frame as far as that is known, in time in which nobody waits for it.
    pub(super) fn prepare(&self, stream: &mut Stream) {
        if stream.blank.is_none() {
            stream.blank = Some(self.blank(&stream.wrappers, &stream.metas));
        }
    }

    /// A buffer that lacks nothing but its frame, if that is like the last one.
    fn blank(&self, wrappers: &WrapperPool, metas: &Known) -> Blank {
        let mut buffer = wrappers.wrapper();
        let new = buffer.get_mut().expect("nobody else has it yet");
        let layout = metas.layout().and_then(|(_, checked)| checked);
        let laid_out = layout.is_some_and(|checked| checked.restore(new));
        if !laid_out {
            layout::remove(new);
        }
        FrameMark::prepare(new);
        Blank { buffer, laid_out }
    }

    /// The buffer around `frame`. The frame's slot goes back when the last reference to its memory is gone.
    pub(super) fn wrap(&self, stream: &mut Stream, frame: Frame) -> gst::Buffer {
        let info = *frame.info();
        let (mark, id) = (FrameMark::of(&frame), frame.id());
        if !stream.metas.are(frame.metas(), frame.as_ref().len()) {
            self.read_metas(stream, &frame);
        }
        let mut flags = passing_flags(&info);
        if std::mem::take(&mut stream.discont) || frame.lost_before() > 0 || frame.first_of_writer() {
            flags |= gst::BufferFlags::DISCONT;
        }
        if frame.integrity() == Integrity::Torn {
            flags |= gst::BufferFlags::CORRUPTED;
        }
        let mut blank = match stream.blank.take() {
            Some(blank) => blank,
            None => self.blank(&stream.wrappers, &stream.metas),
        };
        // Frames may be empty; a memory of no bytes is none.
        if !frame.as_ref().is_empty() {
            blank.buffer.get_mut().expect("new").append_memory(gst::Memory::from_slice(frame));
        }
        let (mut buffer, right) = self.lay_out(blank, &stream.metas);
        if !right {
            flags |= gst::BufferFlags::CORRUPTED;
        }
        {
            let buffer = buffer.get_mut().expect("nobody else has it yet");
            self.stamp(stream, buffer, &info);
            buffer.set_flags(flags);
            buffer.set_offset(id.seq);
            buffer.set_offset_end(id.seq.saturating_add(1));
            if !stream.metas.are_layout_only() {
                self.restore_metas(&stream.metas, buffer);
            }
            mark.attach(buffer);
        }
        gst::log!(CAT, imp = self, "Frame {id} is {buffer:?}");
        buffer
    }

    /// They are others than those of the last frame.
    #[cold]
    fn read_metas(&self, stream: &mut Stream, frame: &Frame) {
        stream.blank = None;
        let video = lock(&self.negotiation).video.clone();
        if let Err(error) = stream.metas.read(frame.metas(), frame.as_ref().len(), video.as_ref()) {
            gst::warning!(CAT, imp = self, "Metas of frame {} are lost: {error}", frame.id());
            self.metas_dropped.fetch_add(1, Relaxed);
        }
    }

    #[inline(never)]
    fn restore_metas(&self, metas: &Known, buffer: &mut gst::BufferRef) {
        let laid_out = buffer.meta::<VideoMeta>().map(|meta| Size { width: meta.width(), height: meta.height() });
        let picture = laid_out.or_else(|| {
            let negotiation = lock(&self.negotiation);
            negotiation.video.as_ref().map(|video| Size { width: video.width(), height: video.height() })
        });
        let dropped = metas::restore(metas.records(), buffer, picture);
        self.metas_dropped.fetch_add(u64::from(dropped), Relaxed);
    }

    /// Gives the picture the default layout when downstream does not look at metas. False when the layout that the
    /// writer told is none.
    fn lay_out(&self, Blank { buffer, laid_out }: Blank, metas: &Known) -> (gst::Buffer, bool) {
        let Some((layout, checked)) = metas.layout() else { return (buffer, true) };
        let video = {
            let negotiation = lock(&self.negotiation);
            let Some(video) = &negotiation.video else { return (buffer, true) };
            if laid_out && (negotiation.video_meta || checked.is_some_and(Checked::is_default)) {
                return (buffer, true);
            }
            video.clone()
        };
        if laid_out {
            return self.to_default(buffer, &video);
        }
        gst::warning!(CAT, imp = self, "The writer's layout does not fit its frame and caps: {layout:?}");
        self.metas_dropped.fetch_add(1, Relaxed);
        (buffer, false)
    }

    #[inline(never)]
    fn to_default(&self, buffer: gst::Buffer, video: &gst_video::VideoInfo) -> (gst::Buffer, bool) {
        match layout::to_default(&buffer, video) {
            Ok(copy) => {
                self.copied.fetch_add(1, Relaxed);
                (copy, true)
            }
            Err(error) => {
                gst::warning!(CAT, imp = self, "Picture cannot be brought into the default layout: {error}");
                (buffer, false)
            }
        }
    }

    fn stamp(&self, stream: &mut Stream, buffer: &mut gst::BufferRef, info: &FrameInfo) {
        buffer.set_duration(info.duration.and_then(duration));
        let decoding = match (info.time, info.dts_offset) {
            (Some(time), Some(offset)) => Some(time.saturating_sub(offset)),
            _ => metas::decoding_time(stream.metas.records()),
        };
        let Some(first) = decoding.or(info.time) else { return };
        let origin = self.origin(stream, first);
        buffer.set_pts(info.time.map(|time| stream.early.next(origin.running_time(time))));
        buffer.set_dts(decoding.map(|time| stream.dts.next(origin.running_time(time))));
    }

    /// Where this pipeline's running time 0 is; without a clock, where its first frame is.
    pub(super) fn origin(&self, stream: &mut Stream, channel_time: i64) -> Origin {
        Origin::of(&*self.obj(), &mut stream.clock)
            .unwrap_or_else(|| *stream.origin.get_or_insert(Origin::at(channel_time)))
    }
}

/// A duration of all ones is none, in GStreamer as in the ring.
pub(super) fn duration(ns: u64) -> Option<gst::ClockTime> {
    (ns != u64::MAX).then(|| gst::ClockTime::from_nseconds(ns))
}

/// Flags that are GStreamer's; other bits of that word mean something else there.
fn passing_flags(info: &FrameInfo) -> gst::BufferFlags {
    let known =
        (gst::BufferFlags::all() - gst::BufferFlags::TAG_MEMORY).bits() | gst_video::VideoBufferFlags::all().bits();
    gst::BufferFlags::from_bits_retain(info.flags & known)
}
