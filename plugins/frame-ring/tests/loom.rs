//! The queue, its doorbell and the returned set under loom: every interleaving that the memory model allows.

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

#[path = "../src/queue.rs"]
#[allow(dead_code)]
mod queue;

use std::sync::atomic::AtomicU64 as PlainU64;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::Arc;
use loom::thread;
use queue::{Doorbell, Queue, Returned};
use sync::{AtomicU32, AtomicU64, Ordering};

/// What one reader's port holds, with loom's atomics.
struct Port {
    head: AtomicU64,
    tail: AtomicU64,
    entries: Vec<AtomicU64>,
    sleeping: AtomicU32,
    returned: Vec<AtomicU64>,
    /// Payload of each slot, written and read without synchronisation of its own: the queue must order it.
    slots: Vec<AtomicU64>,
}

impl Port {
    fn new(depth: usize, slots: usize) -> Arc<Self> {
        let words = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            entries: words(depth + 1),
            sleeping: AtomicU32::new(0),
            returned: words(1),
            slots: words(slots),
        })
    }

    fn queue(&self) -> Queue<'_> {
        Queue { head: &self.head, tail: &self.tail, entries: &self.entries }
    }
}

/// Evicts the oldest entry when `depth` wait, then pushes. Returns how many were evicted.
fn push_evicting(port: &Port, depth: u64, last_head: &mut u64, tail: &mut u64, word: u64) -> u64 {
    let mut evicted = 0;
    loop {
        *last_head = port.queue().observe_head(*last_head, *tail).expect("the reader of this test is honest");
        if *tail - *last_head < depth {
            break;
        }
        if port.queue().evict(*last_head, 1) {
            evicted += 1;
        }
    }
    port.queue().push(*tail, word);
    *tail += 1;
    evicted
}

#[test]
fn every_entry_is_taken_or_evicted_once_and_in_order() {
    // Three pushes, so that the ring wraps. Bugs show with two or three preemptions; all interleavings would take minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let port = Port::new(1, 0);
        let reader = {
            let port = port.clone();
            thread::spawn(move || {
                let mut taken = Vec::new();
                for _ in 0..2 {
                    if let Some(word) = port.queue().take().expect("the writer of this test is honest") {
                        taken.push(word);
                    }
                }
                taken
            })
        };
        let (mut head, mut tail, mut evicted) = (0, 0, 0);
        for word in 1..=3 {
            evicted += push_evicting(&port, 1, &mut head, &mut tail, word);
        }
        let taken = reader.join().unwrap();
        let waiting = tail - port.head.load(Ordering::Acquire);
        assert_eq!(tail, taken.len() as u64 + evicted + waiting, "published = taken + dropped + waiting");
        assert!(taken.is_sorted_by(|a, b| a < b), "entries came twice or out of order: {taken:?}");
    });
}

#[test]
fn what_is_taken_is_what_was_published() {
    loom::model(|| {
        let port = Port::new(1, 2);
        let reader = {
            let port = port.clone();
            thread::spawn(move || {
                if let Some(slot) = port.queue().take().expect("the writer of this test is honest") {
                    let seen = port.slots[slot as usize].load(Ordering::Relaxed);
                    assert_eq!(seen, slot + 10, "the payload is behind its number");
                    Returned(&port.returned).give(slot as u32);
                }
            })
        };
        let (mut head, mut tail) = (0, 0);
        for slot in 0..2 {
            port.slots[slot as usize].store(slot + 10, Ordering::Relaxed);
            push_evicting(&port, 1, &mut head, &mut tail, slot);
        }
        // A slot that was given back may be written again: the reader must be done with it.
        Returned(&port.returned).collect(|slot| port.slots[slot as usize].store(99, Ordering::Relaxed));
        reader.join().unwrap();
    });
}

#[test]
fn a_reader_that_sleeps_is_always_rung() {
    loom::model(|| {
        let port = Port::new(2, 0);
        let rung = std::sync::Arc::new(PlainU64::new(0));
        let writer = {
            let (port, rung) = (port.clone(), rung.clone());
            thread::spawn(move || {
                port.queue().push(0, 7);
                if Doorbell(&port.sleeping).must_ring() {
                    rung.fetch_add(1, SeqCst);
                }
            })
        };
        // The reader: nothing there, says that it sleeps, looks again, sleeps.
        let mut seen = port.queue().take().unwrap().is_some();
        if !seen {
            Doorbell(&port.sleeping).arm();
            seen = !port.queue().is_empty();
        }
        writer.join().unwrap();
        assert!(seen || rung.load(SeqCst) == 1, "a lost wake-up");
    });
}

#[test]
fn returned_slots_are_collected_once_each() {
    loom::model(|| {
        let port = Port::new(1, 0);
        let givers: Vec<_> = [3, 5]
            .into_iter()
            .map(|slot| {
                let port = port.clone();
                thread::spawn(move || Returned(&port.returned).give(slot))
            })
            .collect();
        let mut collected = Vec::new();
        Returned(&port.returned).collect(|slot| collected.push(slot));
        for giver in givers {
            giver.join().unwrap();
        }
        Returned(&port.returned).collect(|slot| collected.push(slot));
        collected.sort();
        assert_eq!(collected, [3, 5]);
    });
}
