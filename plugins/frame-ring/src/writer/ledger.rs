//! Who has which slot: the writer's private truth. No shared memory, no system calls.
//!
//! ```text
//!           take                    publish                    last loan ends,
//!   free ─────────► leased ───────────────────► lent ────────── lease is over ──► free
//!     ▲               │ lease ends unpublished    │ last loan ends, lease lives on
//!     └───────────────┘                           ▼
//!                                            with upstream (published: comes again only as a copy) ──► free
//! ```
//!
//! A slot is free when nobody holds a lease (upstream's memory) and nobody a loan (readers, the newest frame, the publishing itself).

/// What a slot's publisher wants kept as long as there are loans: the GstBuffer.
pub(crate) type Keep = Box<dyn Send>;

#[derive(Default)]
struct Slot {
    leased: bool,
    published: bool,
    loans: u32,
    keep: Option<Keep>,
}

/// The slots of one generation.
pub(crate) struct Ledger {
    slots: Vec<Slot>,
    /// A stack: the slot that was used last is in the caches.
    free: Vec<u32>,
}

impl Ledger {
    /// No slot is in use before [`grow`](Self::grow).
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// How many slots are in use.
    pub fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Brings slots up to `count` into use. Their memory must be there.
    pub fn grow(&mut self, count: u32) {
        for slot in self.len()..count {
            self.slots.push(Slot::default());
            self.free.push(slot);
        }
    }

    pub fn free(&self) -> u32 {
        self.free.len() as u32
    }

    /// Takes a free slot: the caller makes its lease.
    pub fn take(&mut self) -> Option<u32> {
        let number = self.free.pop()?;
        let slot = &mut self.slots[number as usize];
        slot.leased = true;
        slot.published = false;
        Some(number)
    }

    /// Is it in upstream's hands, and not published yet?
    pub fn may_publish(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|slot| slot.leased && !slot.published && slot.loans == 0)
    }

    /// The frame is complete. The caller gets the first loan.
    pub fn publish(&mut self, slot: u32, keep: Option<Keep>) {
        let slot = &mut self.slots[slot as usize];
        slot.published = true;
        slot.loans = 1;
        slot.keep = keep;
    }

    /// One loan more. The caller has one.
    pub fn lend(&mut self, slot: u32) {
        self.slots[slot as usize].loans += 1;
    }

    /// One loan less. What comes back is to be dropped, outside of any lock: it may end a lease.
    #[must_use = "what was kept is dropped outside of the lock"]
    pub fn end_loan(&mut self, number: u32) -> Option<Keep> {
        let slot = &mut self.slots[number as usize];
        slot.loans -= 1;
        if slot.loans > 0 {
            return None;
        }
        if !slot.leased {
            self.free.push(number);
        }
        slot.keep.take()
    }

    /// Nothing is kept any more, also where loans go on.
    pub fn drop_keeps(&mut self, keeps: &mut Vec<Keep>) {
        keeps.extend(self.slots.iter_mut().filter_map(|slot| slot.keep.take()));
    }

    /// Would the slot be free with one loan less?
    pub fn is_last_loan(&self, number: u32) -> bool {
        let slot = &self.slots[number as usize];
        slot.loans == 1 && !slot.leased
    }

    /// Upstream has dropped its memory.
    pub fn end_lease(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        slot.leased = false;
        if slot.loans == 0 {
            self.free.push(number);
        }
    }

    /// Are there loans at all?
    pub fn has_loans(&self) -> bool {
        self.slots.iter().any(|slot| slot.loans > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_slot_is_free_when_lease_and_loans_are_over() {
        let mut ledger = Ledger::new();
        ledger.grow(1);
        let kept = Arc::new(());
        let slot = ledger.take().unwrap();
        assert!(ledger.may_publish(slot));
        ledger.publish(slot, Some(Box::new(kept.clone())));
        assert!(!ledger.may_publish(slot), "published once");
        ledger.lend(slot);
        assert!(ledger.end_loan(slot).is_none());
        assert_eq!(ledger.free(), 0);
        drop(ledger.end_loan(slot).expect("the last loan gives back what was kept"));
        assert_eq!(Arc::strong_count(&kept), 1);
        assert_eq!(ledger.free(), 0, "upstream still has it");
        ledger.end_lease(slot);
        assert_eq!(ledger.free(), 1);
    }

    #[test]
    fn a_lease_that_ends_while_readers_look_frees_the_slot_later() {
        let mut ledger = Ledger::new();
        ledger.grow(1);
        let slot = ledger.take().unwrap();
        ledger.publish(slot, None);
        ledger.end_lease(slot);
        assert_eq!(ledger.free(), 0);
        assert!(ledger.end_loan(slot).is_none());
        assert_eq!(ledger.take(), Some(slot));
    }

    #[test]
    fn a_slot_that_was_not_published_is_free_at_once() {
        let mut ledger = Ledger::new();
        ledger.grow(2);
        let slot = ledger.take().unwrap();
        ledger.end_lease(slot);
        assert_eq!(ledger.free(), 2);
    }
}
