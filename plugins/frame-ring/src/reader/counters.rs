//! What a reader counts, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one reader, over all writers that it has had.
#[derive(Debug, Default)]
pub struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    kept_back: AtomicU64,
    copied_on_hold: AtomicU64,
    torn: AtomicU64,
    writers: AtomicU64,
    held: AtomicU64,
    latency_last: AtomicU64,
    latency_max: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ReaderCounters {
    /// Frames delivered.
    pub frames: u64,
    /// Their payload.
    pub bytes: u64,
    /// Frames that are missing between those delivered.
    pub lost: u64,
    /// Frames taken, and not delivered because they could not be decoded.
    pub kept_back: u64,
    /// Frames copied because too many slots were held.
    pub copied_on_hold: u64,
    /// Frames whose checksum did not agree.
    pub torn: u64,
    /// Writers that have attached it.
    pub writers: u64,
    /// Slots held when the last frame was taken.
    pub held: u64,
    /// From publishing to taking, of the last frame, in ns.
    pub latency_last: u64,
    /// The largest of these, in ns.
    pub latency_max: u64,
}

impl Counters {
    /// All of them.
    pub fn now(&self) -> ReaderCounters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReaderCounters {
            frames: load(&self.frames),
            bytes: load(&self.bytes),
            lost: load(&self.lost),
            kept_back: load(&self.kept_back),
            copied_on_hold: load(&self.copied_on_hold),
            torn: load(&self.torn),
            writers: load(&self.writers),
            held: load(&self.held),
            latency_last: load(&self.latency_last),
            latency_max: load(&self.latency_max),
        }
    }

    pub(super) fn frame(&self, bytes: u64, lost: u64, copied: bool, torn: bool, latency: u64) {
        let add = |counter: &AtomicU64, value: u64| counter.fetch_add(value, Ordering::Relaxed);
        add(&self.frames, 1);
        add(&self.bytes, bytes);
        add(&self.lost, lost);
        add(&self.copied_on_hold, u64::from(copied));
        add(&self.torn, u64::from(torn));
        self.latency_last.store(latency, Ordering::Relaxed);
        self.latency_max.fetch_max(latency, Ordering::Relaxed);
    }

    pub(super) fn kept_back(&self) {
        self.kept_back.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attached(&self) {
        self.writers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_held(&self, held: u64) {
        self.held.store(held, Ordering::Relaxed);
    }
}
