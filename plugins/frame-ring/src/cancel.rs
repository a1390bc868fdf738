//! A way to wake whoever waits, from any thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Wakes calls that wait, and keeps them from waiting again until it is reset. Clones share it.
#[derive(Debug, Clone)]
pub struct Canceller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    cancelled: AtomicBool,
}

/// A wait ended because it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Canceller {
    /// A new one, not cancelled.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { event, cancelled: AtomicBool::new(false) })))
    }

    /// Wakes every waiting call, and lets none wait until [`reset`](Self::reset).
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        // Fails only when the counter is full: then it is readable already.
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
    }

    /// Lets calls wait again.
    pub fn reset(&self) {
        self.0.cancelled.store(false, Ordering::SeqCst);
        // Fails only when nobody has cancelled: then there is nothing to take away.
        let _ = rustix::io::read(&self.0.event, &mut [0; 8]);
    }

    /// Has it been cancelled, and not reset since?
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}

/// Readable while cancelled.
impl AsFd for Canceller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
