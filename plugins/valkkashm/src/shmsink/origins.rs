//! Which frame of another channel each frame of this one shows.
//!
//! A relay reads one channel and writes another: `valkkashmsrc ! … ! valkkashmsink`. An answer to one of its frames names that frame;
//! for whoever is upstream of the relay it has to name the frame that came from there. The meta `valkka-frame` of a buffer says
//! which that was. Pure: no buffer, no pipeline.

use std::collections::VecDeque;

use frame_ring::FrameId;

/// Answers to older frames keep no name.
const REMEMBERED: usize = 256;

/// The frames of late, in their order.
#[derive(Default)]
pub struct Origins {
    /// Number of the next frame. Numbers of one writer only rise.
    next: u64,
    known: VecDeque<(u64, FrameId)>,
}

impl Origins {
    /// A frame is about to be published. It may be answered before it is known which number it got.
    pub fn announce(&mut self, origin: Option<FrameId>) {
        let Some(origin) = origin else { return };
        if self.known.len() == REMEMBERED {
            self.known.pop_front();
        }
        self.known.push_back((self.next, origin));
    }

    /// It was published, under this number; `None`: not at all.
    pub fn settle(&mut self, seq: Option<u64>) {
        let expected = self.next;
        if let Some(last) = self.known.back_mut().filter(|(number, _)| *number == expected) {
            match seq {
                Some(seq) => last.0 = seq,
                None => drop(self.known.pop_back()),
            }
        }
        if let Some(seq) = seq {
            self.next = seq + 1;
        }
    }

    /// The frame that frame `seq` shows. None: it is not known; without any origin at all this is no relay.
    pub fn of(&self, seq: u64) -> Option<FrameId> {
        self.known.iter().rev().find(|(number, _)| *number == seq).map(|(_, origin)| *origin)
    }

    /// Do frames come from another channel?
    pub fn is_relay(&self) -> bool {
        !self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(seq: u64) -> FrameId {
        FrameId { generation: 9, seq }
    }

    #[test]
    fn frames_are_known_from_before_they_are_published_until_they_are_old() {
        let mut origins = Origins::default();
        assert!(!origins.is_relay());
        for seq in 0..REMEMBERED as u64 + 10 {
            origins.announce(Some(id(seq + 100)));
            assert_eq!(origins.of(seq), Some(id(seq + 100)), "a reader may be faster than publishing");
            origins.settle(Some(seq));
            assert_eq!(origins.of(seq), Some(id(seq + 100)));
        }
        assert_eq!((origins.of(9), origins.of(10)), (None, Some(id(110))));
        assert!(origins.is_relay());
    }

    #[test]
    fn frames_that_are_dropped_or_from_here_have_no_origin() {
        let mut origins = Origins::default();
        origins.announce(Some(id(1)));
        origins.settle(None);
        assert_eq!(origins.of(0), None);
        origins.announce(None);
        origins.settle(Some(0));
        origins.announce(Some(id(2)));
        origins.settle(Some(1));
        assert_eq!((origins.of(0), origins.of(1)), (None, Some(id(2))));
    }

    #[test]
    fn numbers_may_skip() {
        let mut origins = Origins::default();
        origins.announce(Some(id(1)));
        origins.settle(Some(5));
        assert_eq!((origins.of(0), origins.of(5)), (None, Some(id(1))));
        origins.announce(Some(id(2)));
        assert_eq!(origins.of(6), Some(id(2)));
    }
}
