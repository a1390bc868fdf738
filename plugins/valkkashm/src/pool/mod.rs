//! The buffer pool that `valkkashmsink` proposes: its buffers are slots of the channel, so that upstream writes
//! straight into shared memory.
//!
//! ```text
//!  acquire ──► a free slot? ──yes──► buffer around the slot ──► rendered: published as it is
//!                  │                                                     │ last loan and last reference gone
//!                  no                                                    ▼
//!                  └──► buffer of system memory ──► rendered: one copy   slot is free again
//! ```
//!
//! The pool keeps nothing: a slot belongs to its GstMemory and goes back when that is freed, and system memory is freed
//! on release, so that zero copy returns as soon as slots do. Acquiring never waits and never fails for want of a slot;
//! an upstream queue of any length works. What it leaves to others: counting slots (frame-ring), publishing (the sink).

mod imp;

use frame_ring::Writer;
use gst::{glib, subclass::prelude::*};

glib::wrapper! {
    /// See the module.
    pub struct SlotPool(ObjectSubclass<imp::SlotPool>) @extends gst::BufferPool, gst::Object;
}

impl SlotPool {
    /// A pool over the slots of `writer`. It keeps working, with system memory, when the writer has been closed.
    pub fn new(writer: Writer) -> Self {
        let pool: Self = glib::Object::new();
        pool.imp().set_writer(writer);
        pool
    }
}
