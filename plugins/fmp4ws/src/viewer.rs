//! One viewer as its stream sees it: a queue, and what became of it. Its connection is in [`crate::session`].

use crate::protocol::Feedback;
use crate::queue::{Item, Queue, Skipped};
use crate::stream::{Visitor, Way, lock};
use serde::Serialize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// Filled by the pipeline's thread, emptied by the server's.
pub struct Viewer {
    id: u64,
    visitor: Visitor,
    since: Instant,
    queue: Mutex<Queue>,
    feedback: Mutex<Option<(Feedback, Instant)>>,
    closed: AtomicBool,
    wake: Notify,
    sent_fragments: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Viewer {
    /// A viewer for whom this waits already.
    pub fn new(id: u64, visitor: Visitor, queue: Queue) -> Self {
        Self {
            id,
            visitor,
            since: Instant::now(),
            queue: Mutex::new(queue),
            feedback: Mutex::new(None),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
            sent_fragments: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }

    /// Unique in this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Puts something into the queue.
    pub fn push<R>(&self, push: impl FnOnce(&mut Queue) -> R) -> R {
        let result = push(&mut lock(&self.queue));
        self.wake.notify_one();
        result
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

    /// It has told how it fares.
    pub fn tell(&self, feedback: Feedback) {
        *lock(&self.feedback) = Some((feedback, Instant::now()));
    }

    /// What it missed so far.
    pub fn skipped(&self) -> Skipped {
        lock(&self.queue).skipped()
    }

    /// How it fares.
    pub fn report(&self) -> ViewerReport {
        let now = Instant::now();
        let reported = lock(&self.feedback).map(|(feedback, at)| Reported {
            latency: feedback.latency,
            buffered: feedback.buffered,
            dropped: feedback.dropped,
            seconds_ago: (now - at).as_secs_f64(),
        });
        let queue = lock(&self.queue);
        ViewerReport {
            id: self.id,
            way: self.visitor.way,
            ext: self.visitor.ext,
            peer: self.visitor.peer.clone(),
            seconds: (now - self.since).as_secs_f64(),
            paused: queue.paused(),
            sent_fragments: self.sent_fragments.load(Ordering::Relaxed),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            queue_bytes: queue.bytes() as u64,
            queue_seconds: queue.age(now).as_secs_f64(),
            dropped_frames: queue.skipped().frames,
            dropped_bytes: queue.skipped().bytes,
            reported,
        }
    }
}

/// One viewer in a [`Report`](crate::stream::Report).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewerReport {
    /// Unique in this process.
    pub id: u64,
    /// How it gets the stream.
    #[serde(rename = "kind")]
    pub way: Way,
    /// It asked for extensions.
    pub ext: bool,
    /// Where it comes from.
    pub peer: String,
    /// Since it came.
    pub seconds: f64,
    /// It wants no media for now.
    pub paused: bool,
    pub sent_fragments: u64,
    pub sent_bytes: u64,
    /// Bytes that wait for it.
    pub queue_bytes: u64,
    /// How long the oldest of it has waited.
    pub queue_seconds: f64,
    /// What it missed because it was too slow.
    pub dropped_frames: u64,
    pub dropped_bytes: u64,
    /// What it says itself, if it does.
    pub reported: Option<Reported>,
}

/// The last `report` of a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reported {
    /// Seconds from taking a picture to showing it.
    pub latency: Option<f64>,
    /// Seconds of media that wait to be shown.
    pub buffered: Option<f64>,
    /// Frames that it did not show, since it came.
    pub dropped: Option<u64>,
    /// When it said so.
    pub seconds_ago: f64,
}
