//! Viewers that have come and gone, on their way to the application.
//!
//! The server's thread must not wait for what an application does when it is told, and the application must be told in order:
//! one thread of GStreamer's at a time takes what is here.

use crate::stream::lock;
use crate::viewer::ViewerReport;
use std::collections::VecDeque;
use std::sync::Mutex;

/// One viewer's coming or going.
pub enum Arrival {
    Added(ViewerReport),
    Removed(ViewerReport),
}

/// What was not told yet.
#[derive(Default)]
pub struct Arrivals(Mutex<Untold>);

#[derive(Default)]
struct Untold {
    waiting: VecDeque<Arrival>,
    /// Somebody is telling.
    busy: bool,
}

impl Arrivals {
    /// Whether the caller must see to it that it is told, by taking until nothing is left.
    pub fn push(&self, arrival: Arrival) -> bool {
        let mut untold = lock(&self.0);
        untold.waiting.push_back(arrival);
        !std::mem::replace(&mut untold.busy, true)
    }

    /// The next one. With `None`, the caller's task ends.
    pub fn take(&self) -> Option<Arrival> {
        let mut untold = lock(&self.0);
        let next = untold.waiting.pop_front();
        untold.busy = next.is_some();
        next
    }
}
