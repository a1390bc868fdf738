//! The buffers around frames, used again.
//!
//! What a buffer carries beside its memory (the structure of `valkka-frame`, the video meta) takes longer to make than all else that is
//! done for a frame. So a buffer gives its memory back with its last reference, which gives the slot back, and then waits here for
//! another frame. Between two frames it is prepared: when the next one comes, nothing is left but to write its numbers into it.
//!
//! Who uses it: `wrap.rs`. It knows nothing of frames and layouts; what it keeps on a buffer is checked there, because downstream
//! may have changed it.

use std::sync::Mutex;

use gst::{buffer::BufferMetaForeachAction as Action, glib, prelude::*, subclass::prelude::*};
use gst_video::VideoMeta;

use crate::{frame_meta, lock::lock};

/// More are freed: downstream seldom has more than that at a time.
const KEPT: usize = 8;

glib::wrapper! {
    /// See the module. It need not be activated, and has neither caps nor a size.
    pub struct WrapperPool(ObjectSubclass<imp::WrapperPool>) @extends gst::BufferPool, gst::Object;
}

impl Default for WrapperPool {
    fn default() -> Self {
        glib::Object::new()
    }
}

impl WrapperPool {
    /// A buffer without memory; its metas are those of another frame.
    pub fn wrapper(&self) -> gst::Buffer {
        self.acquire_buffer(None).unwrap_or_else(|_| gst::Buffer::new())
    }
}

mod imp {
    use std::ops::ControlFlow::Continue;

    use super::*;

    #[derive(Default)]
    pub struct WrapperPool {
        pub(super) spare: Mutex<Vec<gst::Buffer>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for WrapperPool {
        const NAME: &'static str = "GstValkkaShmWrapperPool";
        type Type = super::WrapperPool;
        type ParentType = gst::BufferPool;
    }

    impl ObjectImpl for WrapperPool {}
    impl GstObjectImpl for WrapperPool {}

    impl BufferPoolImpl for WrapperPool {
        fn acquire_buffer(&self, _: Option<&gst::BufferPoolAcquireParams>) -> Result<gst::Buffer, gst::FlowError> {
            Ok(lock(&self.spare).pop().unwrap_or_default())
        }

        fn reset_buffer(&self, buffer: &mut gst::BufferRef) {
            buffer.remove_all_memory();
            buffer.unset_flags(gst::BufferFlags::from_bits_retain(u32::MAX));
            buffer.set_pts(gst::ClockTime::NONE);
            buffer.set_dts(gst::ClockTime::NONE);
            buffer.set_duration(gst::ClockTime::NONE);
            let mut marks = 0;
            buffer.foreach_meta_mut(|mut meta| {
                let mark = frame_meta::is(&meta);
                marks += usize::from(mark);
                let kept = (mark && marks == 1) || meta.downcast_ref::<VideoMeta>().is_some();
                Continue(if kept { Action::Keep } else { Action::Remove })
            });
        }

        fn release_buffer(&self, buffer: gst::Buffer) {
            let mut spare = lock(&self.spare);
            if spare.len() < KEPT {
                spare.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_again_without_memory_times_flags_and_the_metas_of_others() {
        gst::init().expect("GStreamer starts");
        let pool = WrapperPool::default();
        let mut buffer = pool.wrapper();
        let first = buffer.as_ptr();
        {
            let buffer = buffer.get_mut().expect("nobody else has it");
            buffer.append_memory(gst::Memory::from_slice([0; 12]));
            buffer.set_pts(gst::ClockTime::SECOND);
            buffer.set_flags(gst::BufferFlags::DISCONT | gst::BufferFlags::CORRUPTED);
            frame_meta::FrameMark::prepare(buffer);
            VideoMeta::add(buffer, gst_video::VideoFrameFlags::empty(), gst_video::VideoFormat::Gray8, 1, 3)
                .expect("fits");
            gst_video::VideoRegionOfInterestMeta::add(buffer, "person", (0, 0, 1, 1));
        }
        drop(buffer);
        let again = pool.wrapper();
        assert_eq!(again.as_ptr(), first);
        assert_eq!((again.n_memory(), again.size(), again.pts()), (0, 0, None));
        assert_eq!(again.flags(), gst::BufferFlags::empty());
        let mark = gst::meta::CustomMeta::from_buffer(&again, frame_meta::NAME);
        assert!(again.meta::<VideoMeta>().is_some() && mark.is_ok());
        assert!(again.meta::<gst_video::VideoRegionOfInterestMeta>().is_none());
    }

    #[test]
    fn memory_that_a_buffer_had_goes_back_with_its_last_reference() {
        struct Frame {
            bytes: [u8; 5],
            _alive: std::sync::Arc<()>,
        }
        impl AsRef<[u8]> for Frame {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        gst::init().expect("GStreamer starts");
        let pool = WrapperPool::default();
        let alive = std::sync::Arc::new(());
        let mut buffer = pool.wrapper();
        buffer
            .get_mut()
            .expect("nobody else has it")
            .append_memory(gst::Memory::from_slice(Frame { bytes: *b"frame", _alive: alive.clone() }));
        let second = buffer.clone();
        drop(buffer);
        assert_eq!(std::sync::Arc::strong_count(&alive), 2);
        drop(second);
        assert_eq!(std::sync::Arc::strong_count(&alive), 1);
    }

    #[test]
    fn more_buffers_than_are_kept_are_freed_and_those_outside_survive_the_pool() {
        gst::init().expect("GStreamer starts");
        let pool = WrapperPool::default();
        let buffers: Vec<_> = (0..2 * KEPT).map(|_| pool.wrapper()).collect();
        let late = pool.wrapper();
        drop(buffers);
        assert_eq!(lock(&pool.imp().spare).len(), KEPT);
        drop(pool);
        assert_eq!(late.size(), 0);
    }
}
