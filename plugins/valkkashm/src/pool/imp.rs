use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use frame_ring::Writer;
use gst::{glib, prelude::*, subclass::prelude::*};
use gst_video::{VideoAlignment, VideoBufferPoolConfig, VideoInfo, VideoMeta};

use crate::{lock::lock, metas::layout};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new("valkkashmpool", gst::DebugColorFlags::empty(), Some("Buffers in slots of a channel"))
});

#[derive(Default)]
pub struct SlotPool {
    writer: OnceLock<Writer>,
    shape: Mutex<Option<Arc<Shape>>>,
}

/// What every buffer of this pool looks like.
struct Shape {
    size: usize,
    video: VideoInfo,
    /// Some when upstream asked for video meta.
    meta: Option<VideoAlignment>,
    /// For system memory.
    params: gst::AllocationParams,
}

impl SlotPool {
    pub(super) fn set_writer(&self, writer: Writer) {
        assert!(self.writer.set(writer).is_ok(), "a pool gets its writer once, when it is made");
    }

    fn writer(&self) -> &Writer {
        self.writer.get().expect("a pool is made with its writer")
    }

    fn shape(&self) -> Option<Arc<Shape>> {
        lock(&self.shape).clone()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for SlotPool {
    const NAME: &'static str = "GstValkkaShmPool";
    type Type = super::SlotPool;
    type ParentType = gst::BufferPool;
}

impl ObjectImpl for SlotPool {}
impl GstObjectImpl for SlotPool {}

impl BufferPoolImpl for SlotPool {
    fn options() -> &'static [&'static str] {
        static OPTIONS: LazyLock<[&'static str; 2]> = LazyLock::new(|| {
            [gst_video::BUFFER_POOL_OPTION_VIDEO_META.as_str(), gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT.as_str()]
        });
        &*OPTIONS
    }

    fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
        let Some((Some(caps), size, min, max)) = config.params() else {
            gst::warning!(CAT, imp = self, "A pool cannot be configured without caps");
            return false;
        };
        let Some(mut video) = layout::raw_video(&caps) else {
            gst::warning!(CAT, imp = self, "A pool cannot be configured with {caps}: not raw video");
            return false;
        };
        let mut meta = config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META).then(VideoAlignment::default);
        if let Some(alignment) = &mut meta
            && config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT)
        {
            *alignment = config.video_alignment().unwrap_or_default();
            if video.align(alignment).is_err() {
                gst::warning!(CAT, imp = self, "Impossible alignment {alignment:?} for {caps}");
                return false;
            }
            config.set_video_alignment(alignment);
        }
        let Ok(frame) = u32::try_from(video.size()) else { return false };
        let size = size.max(frame);
        config.set_params(Some(&caps), size, min, max);
        let params = config.allocator().map(|(_, params)| params).unwrap_or_default();
        *lock(&self.shape) = Some(Arc::new(Shape { size: size as usize, video, meta, params }));
        self.parent_set_config(config)
    }

    /// Makes the slots, before the first buffer: populating memory takes milliseconds.
    fn start(&self) -> bool {
        let Some(shape) = self.shape() else { return false };
        // Some libraries read or write a few bytes behind the picture and say so.
        let bytes = shape.size + shape.params.prefix() + shape.params.padding();
        if let Err(error) = self.writer().ensure_slot_size(bytes) {
            // Not the end: upstream gets system memory. If publishing fails as well, the sink says so as an error.
            gst::warning!(CAT, imp = self, "No slots of {bytes} bytes: {error}");
        }
        true
    }

    fn stop(&self) -> bool {
        // Nothing is kept that could be freed.
        true
    }

    fn acquire_buffer(&self, _: Option<&gst::BufferPoolAcquireParams>) -> Result<gst::Buffer, gst::FlowError> {
        // An inactive pool counts as flushing, too.
        if self.obj().is_flushing() {
            return Err(gst::FlowError::Flushing);
        }
        let shape = self.shape().ok_or(gst::FlowError::NotNegotiated)?;
        let mut buffer = gst::Buffer::new();
        {
            let buffer = buffer.get_mut().expect("nobody else has it yet");
            buffer.append_memory(self.memory(&shape));
            if let Some(alignment) = &shape.meta {
                let flags = gst_video::VideoFrameFlags::empty();
                let mut meta = VideoMeta::add_from_info(buffer, flags, &shape.video)
                    .expect("the memory has at least the size of the picture");
                meta.set_alignment(alignment).expect("strides follow from this alignment");
            }
        }
        Ok(buffer)
    }

    fn reset_buffer(&self, _: &mut gst::BufferRef) {
        // Each buffer is new.
    }

    fn release_buffer(&self, buffer: gst::Buffer) {
        drop(buffer);
    }
}

impl SlotPool {
    fn memory(&self, shape: &Shape) -> gst::Memory {
        let slot = self.writer().take_slot().filter(|slot| slot.as_ref().len() >= shape.size);
        let Some(slot) = slot else {
            gst::log!(CAT, imp = self, "No slot is free: system memory");
            return gst::Memory::with_size_and_params(shape.size, &shape.params);
        };
        let mut memory = gst::Memory::from_mut_slice(slot);
        memory.get_mut().expect("nobody else has it yet").resize(..shape.size);
        memory
    }
}
