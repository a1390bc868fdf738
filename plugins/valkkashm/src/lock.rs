//! Locking without poison: what these locks protect stays consistent when a thread panics (GStreamer turns a panic
//! into an element error and goes on), so that one failure must not become a second one in `stop()`.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after a panic of another thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
