//! One viewer as its stream sees it: a queue, and what became of it. Its connection is in [`crate::session`].

use crate::queue::{Item, Queue};
use crate::stream::lock;
use serde::Serialize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// Filled by the pipeline's thread, emptied by the server's.
pub struct Viewer {
    id: u64,
    ext: bool,
    since: Instant,
    queue: Mutex<Queue>,
    closed: AtomicBool,
    wake: Notify,
    sent_fragments: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Viewer {
    /// A viewer for whom this waits already.
    pub fn new(id: u64, ext: bool, queue: Queue) -> Self {
        Self {
            id,
            ext,
            since: Instant::now(),
            queue: Mutex::new(queue),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            sent_fragments: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }

    /// Unique in its stream.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Puts something into the queue.
    pub fn push(&self, push: impl FnOnce(&mut Queue)) {
        push(&mut lock(&self.queue));
        self.wake.notify_one();
    }

    /// Nothing more will be put into the queue.
    pub fn close(&self) {
        // Read with Acquire in `next`: who sees it sees all that was pushed before.
        self.closed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// What waits, without waiting for it.
    pub fn take(&self) -> Option<Item> {
        lock(&self.queue).pop()
    }

    /// The next item; `None` when the stream is closed and everything was taken.
    pub async fn next(&self) -> Option<Item> {
        loop {
            // Pairs with Release in `close`, and comes before looking into the queue.
            let closed = self.closed.load(Ordering::Acquire);
            let item = self.take();
            if item.is_some() || closed {
                return item;
            }
            self.wake.notified().await;
        }
    }

    /// A fragment of that many bytes went out.
    pub fn count_sent(&self, bytes: usize) {
        self.sent_fragments.fetch_add(1, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How it fares.
    pub fn report(&self) -> ViewerReport {
        let queue = lock(&self.queue);
        ViewerReport {
            id: self.id,
            ext: self.ext,
            seconds: self.since.elapsed().as_secs_f64(),
            sent_fragments: self.sent_fragments.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            queue_bytes: queue.bytes() as u64,
            dropped_frames: queue.skipped().frames,
            dropped_bytes: queue.skipped().bytes,
        }
    }
}

/// One viewer in a [`Report`](crate::stream::Report).
#[derive(Debug, Serialize)]
pub struct ViewerReport {
    /// Unique in its stream.
    pub id: u64,
    /// It asked for extensions.
    pub ext: bool,
    /// Since it came.
    pub seconds: f64,
    pub sent_fragments: u64,
    pub sent_bytes: u64,
    /// Bytes that wait for it.
    pub queue_bytes: u64,
    /// What it missed because it was too slow.
    pub dropped_frames: u64,
    pub dropped_bytes: u64,
}
