//! The queue of one reader, its doorbell and its set of returned slots: the algorithms, without the memory they live in.
//!
//! The atomics are parameters, so that the same lines run in shared memory and under loom (`tests/loom.rs` includes this file with
//! loom's atomics in place of `crate::sync`). Nothing here trusts the other side for memory safety: positions are checked by the
//! caller against what it knows, and words that were read are only claims until then.

use super::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// A ring of `depth + 1` words between one writer and one reader.
///
/// ```text
///            head (reader takes, writer evicts: whoever advances it owns the entries)
///             v
///   ... [ ] [a] [b] [c] [ ] ...        waiting = tail - head <= depth
///                        ^
///                       tail (writer only)
/// ```
///
/// Positions are 64-bit and only grow; the entry of a position is at `position % (depth + 1)`. With one word more than the depth, the
/// entry at `head` is never overwritten before head has moved on, so a reader whose exchange succeeds has read a word that was whole.
pub(crate) struct Queue<'a> {
    pub head: &'a AtomicU64,
    pub tail: &'a AtomicU64,
    pub entries: &'a [AtomicU64],
}

/// The other side wrote a position that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfRange {
    pub head: u64,
    pub tail: u64,
}

impl Queue<'_> {
    fn depth(&self) -> u64 {
        self.entries.len() as u64 - 1
    }

    fn entry(&self, position: u64) -> &AtomicU64 {
        &self.entries[(position % self.entries.len() as u64) as usize]
    }

    /// Writer: appends `word` at `tail`, the writer's own count. There must be room: `tail - head < depth`.
    ///
    /// The Release store of tail publishes the word and the slot that it names; it pairs with the Acquire load of tail in [`take`].
    ///
    /// [`take`]: Self::take
    pub fn push(&self, tail: u64, word: u64) {
        self.entry(tail).store(word, Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
    }

    /// Writer: where head is now, checked against what the writer knows: the head it saw last and its own tail.
    ///
    /// The Acquire load pairs with the Release exchange of head in [`take`]: what the reader did before it is done.
    ///
    /// [`take`]: Self::take
    pub fn observe_head(&self, last_seen: u64, tail: u64) -> Result<u64, OutOfRange> {
        let head = self.head.load(Ordering::Acquire);
        if (last_seen..=tail).contains(&head) { Ok(head) } else { Err(OutOfRange { head, tail }) }
    }

    /// Writer: takes `count` entries back, from `head` on. False: the reader was faster, look again.
    pub fn evict(&self, head: u64, count: u64) -> bool {
        self.head.compare_exchange(head, head + count, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Reader: takes the oldest entry.
    ///
    /// The Acquire load of tail pairs with the Release store in [`push`]; the Release half of the exchange pairs with the Acquire load
    /// in [`observe_head`].
    ///
    /// [`push`]: Self::push
    /// [`observe_head`]: Self::observe_head
    pub fn take(&self) -> Result<Option<u64>, OutOfRange> {
        loop {
            let head = self.head.load(Ordering::Acquire);
            let tail = self.tail.load(Ordering::Acquire);
            if head == tail {
                return Ok(None);
            }
            // Head may have been advanced by the writer between the two loads; tail can then be more than depth ahead of our stale head.
            let fresh = self.head.load(Ordering::Acquire);
            if fresh != head {
                continue;
            }
            if tail.wrapping_sub(head) > self.depth() {
                return Err(OutOfRange { head, tail });
            }
            let word = self.entry(head).load(Ordering::Relaxed);
            if self.head.compare_exchange(head, head.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(Some(word));
            }
        }
    }

    /// Reader: is there nothing to take?
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Acquire) == self.tail.load(Ordering::Acquire)
    }
}

/// A flag that says "I sleep: ring me", and the fences that make it reliable.
///
/// ```text
/// sleeper                          ringer
/// arm():  flag = 1                 make the work visible
///         fence(SeqCst)            must_ring(): fence(SeqCst)
/// look for work again                           flag == 1 ? -> flag = 0, ring
/// sleep until rung
/// ```
///
/// Of the two fences one comes first: either the sleeper sees the work, or the ringer sees the flag. Loads and stores alone, sequentially
/// consistent or not, lose wake-ups in loom's eyes. The flag lives in memory that the sleeper can write: a wrong value costs the ringer
/// one system call, or the sleeper its own wake-up.
pub(crate) struct Doorbell<'a>(pub &'a AtomicU32);

impl Doorbell<'_> {
    /// Sleeper: says that it is about to sleep. It must look for work once more before it does.
    pub fn arm(&self) {
        self.0.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Sleeper: is awake again.
    pub fn disarm(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Ringer: after its work is visible, must it ring? At most once for every [`arm`](Self::arm).
    pub fn must_ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::Relaxed) != 0 && self.0.swap(0, Ordering::Relaxed) != 0
    }
}

/// The slots that a reader has given back: one bit per slot.
pub(crate) struct Returned<'a>(pub &'a [AtomicU64]);

impl Returned<'_> {
    /// How many words hold `slots` bits.
    pub const fn words(slots: u32) -> usize {
        slots.div_ceil(64) as usize
    }

    /// Reader: is done with `slot`. The Release pairs with the Acquire in [`collect`](Self::collect): all reads of the slot are over.
    pub fn give(&self, slot: u32) {
        self.0[slot as usize / 64].fetch_or(1 << (slot % 64), Ordering::Release);
    }

    /// Writer: calls `each` with every slot given back since the last call. The numbers are claims, to be checked against the loans.
    pub fn collect(&self, mut each: impl FnMut(u32)) {
        for (index, word) in self.0.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::Acquire);
            while bits != 0 {
                each(index as u32 * 64 + bits.trailing_zeros());
                bits &= bits - 1;
            }
        }
    }
}
