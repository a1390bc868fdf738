//! The writer's end of one port: what it has put into the queue, what the reader has taken, what it has given back.
//!
//! Everything read from the port is a claim. It is checked against the entries and loans noted here, in private memory; a claim that
//! cannot be true is a [`Lie`], and the reader is detached.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::ledger::{Keep, Ledger};
use crate::layout::{PortGeometry, entry_word};
use crate::mapping::{MemoryError, Port};

/// The reader's side of the port says what cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lie {
    #[error("the queue's head is where it cannot be")]
    Head,
    #[error("slot {0} was given back, but not held")]
    Returned(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lent {
    No,
    /// In the queue.
    Waiting,
    /// The reader has taken it.
    Held,
}

struct Entry {
    slot: u32,
    delta: bool,
}

/// A port that a reader has been given.
pub(crate) struct WriterPort {
    port: Port,
    pub generation: u64,
    ready: Arc<OwnedFd>,
    attention: OwnedFd,
    /// Head as seen last; entries `head..tail` are `entries`.
    head: u64,
    tail: u64,
    entries: VecDeque<Entry>,
    /// By slot.
    lent: Vec<Lent>,
    held: u32,
    /// Entries that the reader has taken.
    taken: u64,
}

/// What goes to the reader with a new port, in this order: port, ready, attention.
pub(crate) struct PortDescriptors {
    pub memory: OwnedFd,
    /// An epoll that watches the eventfd edge-triggered: its holder can neither drain the doorbell nor fill it.
    pub ready: OwnedFd,
    pub attention: OwnedFd,
}

impl WriterPort {
    pub fn create(
        geometry: PortGeometry,
        reader: u32,
        generation: u64,
    ) -> Result<(Self, PortDescriptors), MemoryError> {
        let event =
            || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| doorbell_error("eventfd", e));
        let (port, memory) = Port::create(geometry, reader, generation)?;
        let (ready, attention) = (event()?, event()?);
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| doorbell_error("epoll", e))?;
        epoll::add(&watch, &ready, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)
            .map_err(|e| doorbell_error("epoll", e))?;
        let for_reader = attention.try_clone().map_err(|source| MemoryError::Unavailable {
            bytes: geometry.length(),
            doing: "descriptors",
            source,
        })?;
        let port = Self {
            port,
            generation,
            ready: Arc::new(ready),
            attention,
            head: 0,
            tail: 0,
            entries: VecDeque::with_capacity(geometry.depth as usize),
            lent: vec![Lent::No; geometry.slot_count as usize],
            held: 0,
            taken: 0,
        };
        Ok((port, PortDescriptors { memory, ready: watch, attention: for_reader }))
    }

    /// For the epoll of a writer that waits.
    pub fn attention(&self) -> &OwnedFd {
        &self.attention
    }

    pub fn waiting(&self) -> u64 {
        self.tail - self.head
    }

    pub fn held(&self) -> u32 {
        self.held
    }

    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Slots that this reader has or may take.
    pub fn loans(&self) -> u32 {
        self.held + self.entries.len() as u32
    }

    /// Says that the writer waits for this reader; look again before waiting.
    pub fn ask_for_attention(&self) {
        self.port.attention().arm();
    }

    pub fn need_no_attention(&self) {
        self.port.attention().disarm();
    }

    /// Reads how far the reader is.
    pub fn observe(&mut self) -> Result<(), Lie> {
        let head = self.port.queue().observe_head(self.head, self.tail).map_err(|_| Lie::Head)?;
        while self.head < head {
            let entry = self.entries.pop_front().expect("entries head..tail are noted");
            self.lent[entry.slot as usize] = Lent::Held;
            self.held += 1;
            self.taken += 1;
            self.head += 1;
        }
        Ok(())
    }

    /// Takes back what the reader has given back.
    pub fn collect(&mut self, ledger: &mut Ledger, keeps: &mut Vec<Keep>) -> Result<(), Lie> {
        self.observe()?;
        let mut returned = Vec::new();
        self.port.returned().collect(|slot| returned.push(slot));
        for slot in returned {
            if self.lent.get(slot as usize) == Some(&Lent::Waiting) {
                // Taken and given back since we looked at head.
                self.observe()?;
            }
            if self.lent.get(slot as usize) != Some(&Lent::Held) {
                return Err(Lie::Returned(slot));
            }
            self.lent[slot as usize] = Lent::No;
            self.held -= 1;
            keeps.extend(ledger.end_loan(slot));
        }
        Ok(())
    }

    /// Appends a frame. There must be room, and the ledger's loan is noted.
    pub fn push(&mut self, slot: u32, seq: u64, delta: bool, ledger: &mut Ledger) {
        ledger.lend(slot);
        self.lent[slot as usize] = Lent::Waiting;
        self.entries.push_back(Entry { slot, delta });
        self.port.queue().push(self.tail, entry_word(slot, seq));
        self.tail += 1;
    }

    /// Takes the oldest frame back, with those behind it that cannot be decoded without it. Returns how many those are (0: the reader
    /// has taken everything meanwhile).
    pub fn evict(&mut self, ledger: &mut Ledger, keeps: &mut Vec<Keep>) -> Result<u64, Lie> {
        loop {
            self.observe()?;
            if self.entries.is_empty() {
                return Ok(0);
            }
            let dependent = self.entries.iter().skip(1).take_while(|entry| entry.delta).count();
            let count = 1 + dependent as u64;
            if !self.port.queue().evict(self.head, count) {
                continue;
            }
            for entry in self.entries.drain(..count as usize) {
                self.lent[entry.slot as usize] = Lent::No;
                keeps.extend(ledger.end_loan(entry.slot));
            }
            self.head += count;
            return Ok(count);
        }
    }

    /// The reader is gone: everything that it had comes back.
    pub fn take_everything_back(&mut self, ledger: &mut Ledger, keeps: &mut Vec<Keep>) {
        for (slot, lent) in self.lent.iter_mut().enumerate() {
            if std::mem::replace(lent, Lent::No) != Lent::No {
                keeps.extend(ledger.end_loan(slot as u32));
            }
        }
        self.entries.clear();
        self.held = 0;
    }

    /// After a push: the doorbell to ring, if the reader sleeps.
    pub fn doorbell(&self) -> Option<Arc<OwnedFd>> {
        self.port.ready().must_ring().then(|| self.ready.clone())
    }

    /// What the reader says of itself: frames copied on hold, last and largest latency in ns. For display.
    pub fn claims(&self) -> (u64, u64, u64) {
        let load = |counter: &crate::sync::AtomicU64| counter.load(crate::sync::Ordering::Relaxed);
        (load(self.port.copied_on_hold()), load(self.port.latency_last()), load(self.port.latency_max()))
    }
}

fn doorbell_error(doing: &'static str, error: rustix::io::Errno) -> MemoryError {
    MemoryError::Unavailable { bytes: 0, doing, source: error.into() }
}
