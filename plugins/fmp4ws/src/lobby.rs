//! Connections that have not said yet what they want, or are done with it.
//!
//! They are bounded in number, so that a flood of them takes neither the process's descriptors nor its memory. When there are too
//! many, the oldest goes: a browser needs its place for milliseconds, and who only wants to occupy places occupies their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

use crate::stream::lock;

/// Connections without a seat in a stream, for each listener.
pub const PLACES: usize = 128;

/// The connections of one listener that have no seat.
#[derive(Default)]
pub struct Lobby(Mutex<Guests>);

#[derive(Default)]
struct Guests {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// A connection's place; dropping it leaves.
pub struct Guest {
    lobby: Arc<Lobby>,
    id: u64,
    leave: Arc<Notify>,
    peer: String,
}

impl Lobby {
    /// A connection comes from `peer`. It always gets a place; the oldest guest's, when there is no other.
    pub fn enter(self: &Arc<Self>, peer: String) -> Arc<Guest> {
        let mut guests = lock(&self.0);
        if guests.waiting.len() >= PLACES
            && let Some((_, oldest)) = guests.waiting.pop_first()
        {
            oldest.notify_one();
        }
        let (id, leave) = (guests.next, Arc::new(Notify::new()));
        guests.next += 1;
        guests.waiting.insert(id, leave.clone());
        Arc::new(Guest { lobby: self.clone(), id, leave, peer })
    }
}

impl Guest {
    /// It has got a seat, whose number is limited elsewhere.
    pub fn seated(&self) {
        lock(&self.lobby.0).waiting.remove(&self.id);
    }

    /// Waits until its place is needed.
    pub async fn dismissed(&self) {
        self.leave.notified().await;
        // There may be several who wait for this.
        self.leave.notify_one();
    }

    /// Where it comes from, for people.
    pub fn peer(&self) -> &str {
        &self.peer
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.seated();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn dismissed(guest: &Guest) -> bool {
        guest.dismissed().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let lobby = Arc::new(Lobby::default());
        let guests: Vec<_> = (0..PLACES).map(|_| lobby.enter(String::new())).collect();
        guests[0].seated();
        let _takes_the_free_place = lobby.enter(String::new());
        assert!(!guests.iter().any(|guest| dismissed(guest)));
        let late = lobby.enter(String::new());
        assert!(dismissed(&guests[1]) && dismissed(&guests[1]));
        assert!(!dismissed(&guests[0]) && !dismissed(&guests[2]) && !dismissed(&late));
        drop((guests, late));
        assert_eq!(lock(&lobby.0).waiting.len(), 1);
    }
}
