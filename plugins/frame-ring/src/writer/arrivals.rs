//! In which order the application hears of readers that come and go, though two threads tell it.
//!
//! The service thread attaches a reader, and tells it once the lock is free; the thread that publishes may find out meanwhile that the
//! reader must go again.

use std::collections::BTreeMap;

use super::stats::DetachReason;

/// Readers whose coming is being told.
#[derive(Default)]
pub(super) struct Arrivals(BTreeMap<u32, Option<DetachReason>>);

impl Arrivals {
    /// Its coming will be told. Under the channel's lock: nobody knows it before.
    pub fn announce(&mut self, reader: u32) {
        self.0.insert(reader, None);
    }

    /// Its coming has been told. Some: it has gone meanwhile, and that is to be told now.
    pub fn announced(&mut self, reader: u32) -> Option<DetachReason> {
        self.0.remove(&reader).flatten()
    }

    /// It has gone. None: whoever tells its coming tells that, too.
    pub fn leave(&mut self, reader: u32, reason: DetachReason) -> Option<DetachReason> {
        match self.0.get_mut(&reader) {
            Some(place) => {
                *place = Some(reason);
                None
            }
            None => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_while_its_coming_is_told_goes_afterwards() {
        let mut arrivals = Arrivals::default();
        arrivals.announce(1);
        arrivals.announce(2);
        assert_eq!(arrivals.leave(1, DetachReason::Gone), None);
        assert_eq!(arrivals.announced(1), Some(DetachReason::Gone));
        assert_eq!(arrivals.announced(2), None);
        assert_eq!(arrivals.leave(2, DetachReason::Gone), Some(DetachReason::Gone));
    }
}
