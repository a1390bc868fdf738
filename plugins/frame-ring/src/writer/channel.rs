//! The channel's state behind the writer's lock: generations, readers, states, counts. Nothing here waits; what may wake or call somebody
//! is noted in the [`Aftermath`], for when the lock is free again.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::generation::{Generation, Plan};
use super::ledger::Keep;
use super::reader::{Aftermath, Generations, Grant, Notice, Offer, Published, ReaderRecord, State};
use super::stats::{DetachReason, ReaderStats, WriterStats};
use crate::frame::{InitialFrame, Policy, StateKind};
use crate::layout::MAX_DEPTH;
use crate::line::{Line, Sent};
use crate::mapping::MemoryError;
use crate::message::{Attach, Attached, CloseReason, VERSIONS, WriterMessage};

pub(super) struct Channel {
    plan: Plan,
    max_readers: u32,
    lossless_allowed: bool,
    pub current: Option<Generation>,
    /// Number of the first that this writer made; older ones are of writers before it.
    pub first_generation: u64,
    /// As long as a reader or upstream has something of them.
    old: Vec<Generation>,
    pub readers: BTreeMap<u32, ReaderRecord>,
    /// Readers that are offered nothing any more, but may still look at what they hold: until their line hangs up.
    leaving: Vec<Leaving>,
    next_reader: u32,
    /// Slots reserved for readers, attached or about to be.
    reserved: u32,
    /// Frames published: the next frame's number.
    pub seq: u64,
    states: Vec<State>,
    /// Counts states, events and ends.
    serial: u32,
    /// Serial of the last change of caps: a frame from before it needs caps that are gone.
    caps_serial: u32,
    eos: bool,
    /// A frame came that needs others to be decoded.
    delta_coded: bool,
    pub closed: bool,
    attention: OwnedFd,
    pub totals: Totals,
}

struct Leaving {
    reader: ReaderRecord,
    /// What it gives back is believed. A reader that lied keeps its slots until it is gone.
    trusted: bool,
}

/// Counts over the writer's life.
#[derive(Default)]
pub(super) struct Totals {
    pub zero_copy: u64,
    pub copied: u64,
    pub bytes: u64,
    pub dropped_by_former_readers: u64,
    pub events_dropped: u64,
    pub metas_dropped: u64,
    pub replies_dropped: u64,
}

/// Why a reader is not attached.
pub(super) enum Refusal {
    /// There is nobody to attach it any more. It is told nothing: the next writer may be there in a moment.
    Closing,
    /// What is to be changed.
    No(String),
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::No(why)
    }
}

type Parts<'a> = (Generations<'a>, &'a mut BTreeMap<u32, ReaderRecord>, &'a mut Vec<Leaving>, &'a [State]);

impl Channel {
    pub fn new(plan: Plan, max_readers: u32, lossless_allowed: bool, attention: OwnedFd) -> Self {
        Self {
            plan,
            max_readers,
            lossless_allowed,
            current: None,
            first_generation: 0,
            old: Vec::new(),
            readers: BTreeMap::new(),
            leaving: Vec::new(),
            next_reader: 1,
            reserved: 0,
            seq: 0,
            states: Vec::new(),
            serial: 0,
            caps_serial: 0,
            eos: false,
            delta_coded: false,
            closed: false,
            attention,
            totals: Totals::default(),
        }
    }

    pub fn slot_size(&self) -> u64 {
        self.current.as_ref().map_or(0, Generation::slot_size)
    }

    /// Slots that need memory now.
    pub fn slots_needed(&self) -> u32 {
        self.plan.needed(self.reserved)
    }

    /// The present generation with all that its readers need, the readers, those that leave, and the states.
    fn parts(&mut self) -> Option<Parts<'_>> {
        let generations =
            Generations { current: self.current.as_mut()?, old: &mut self.old, attention: &self.attention };
        Some((generations, &mut self.readers, &mut self.leaving, &self.states))
    }

    /// Puts `generation` in the place of the present one, and tells the readers.
    pub fn start(&mut self, mut generation: Generation, aftermath: &mut Aftermath) {
        // Readers may have been granted slots since the memory was made. What cannot be had is missing only while they use it all.
        let (have, need) = (generation.ledger.len(), self.slots_needed());
        if generation.frames.populate(have, need).is_ok() {
            generation.ledger.grow(need);
        }
        if self.current.is_none() {
            self.first_generation = generation.number();
        }
        if let Some(mut before) = self.current.replace(generation) {
            before.set_newest(None, &mut aftermath.keeps);
            self.old.push(before);
        }
        let after = self.seq;
        let mut lost = Vec::new();
        if let Some((mut generations, readers, _, states)) = self.parts() {
            for reader in readers.values_mut() {
                // A line that is full now is tried again with the next frame.
                if let Err(error) = reader.tell(after, &mut generations, states) {
                    lost.push((reader.id, DetachReason::Memory(error.to_string())));
                }
            }
        }
        self.detach_all(lost, aftermath);
        self.collect(aftermath);
    }

    /// Takes back what readers have given back; lets go of what nobody uses.
    pub fn collect(&mut self, aftermath: &mut Aftermath) {
        let mut lost = Vec::new();
        let mut released = 0;
        if let Some((mut generations, readers, leaving, _)) = self.parts() {
            for reader in readers.values_mut() {
                if let Err(lie) = reader.collect(&mut generations, &mut aftermath.keeps) {
                    lost.push((reader.id, DetachReason::Protocol(lie.to_string())));
                }
            }
            leaving.retain_mut(|Leaving { reader, trusted }| {
                *trusted = *trusted && reader.collect(&mut generations, &mut aftermath.keeps).is_ok();
                let done = *trusted && reader.loans() == 0;
                released += if done { reader.grant.budget() } else { 0 };
                !done
            });
        }
        self.reserved -= released;
        self.detach_all(lost, aftermath);
        let readers = || self.readers.values().chain(self.leaving.iter().map(|leaving| &leaving.reader));
        self.old.retain(|generation| {
            generation.ledger.has_loans() || readers().any(|reader| reader.uses(generation.number()))
        });
    }

    /// A slot for upstream, if enough are left for copies and for what readers are promised.
    pub fn slot_for_upstream(&mut self, aftermath: &mut Aftermath) -> Option<u32> {
        self.collect(aftermath);
        let promised: u32 =
            self.readers.values().map(|reader| reader.grant.budget().saturating_sub(reader.loans())).sum();
        let generation = self.current.as_mut()?;
        let newest = u32::from(generation.newest().is_none());
        let spare = super::generation::COPY_SLOTS + newest + promised;
        if generation.ledger.free() > spare { generation.ledger.take() } else { None }
    }

    /// A slot for a copy. One is free by the plan; only where upstream keeps published buffers can it need one more.
    pub fn slot_for_copy(&mut self, aftermath: &mut Aftermath) -> Result<Option<u32>, MemoryError> {
        if self.closed {
            // Readers look at what they held when it was closed, and give nothing back any more.
            return Ok(None);
        }
        self.collect(aftermath);
        let capacity = self.plan.capacity();
        let Some(generation) = self.current.as_mut() else { return Ok(None) };
        generation.reuse_newest(&mut aftermath.keeps);
        if generation.ledger.free() == 0 && generation.ledger.len() < capacity {
            let more = generation.ledger.len() + 1;
            generation.frames.populate(more - 1, more)?;
            generation.ledger.grow(more);
        }
        Ok(generation.ledger.take())
    }

    /// Publishes a slot to every reader that has room. Returns the lossless ones that have none.
    pub fn publish(&mut self, frame: Published, keep: Option<Keep>, now: i64, aftermath: &mut Aftermath) -> Vec<u32> {
        self.seq = frame.seq + 1;
        self.delta_coded |= frame.delta;
        let published = self.seq;
        let mut full = Vec::new();
        let mut lost = Vec::new();
        if let Some((mut generations, readers, _, states)) = self.parts() {
            let current = &mut *generations.current;
            current.ledger.publish(frame.slot, keep);
            current.set_newest(Some(frame), &mut aftermath.keeps);
            current.frames.count(published, now);
            for reader in readers.values_mut() {
                match reader.offer(&frame, &mut generations, states, aftermath) {
                    Offer::Done => {}
                    Offer::Wait | Offer::WaitForLine => full.push(reader.id),
                    Offer::Detach(reason) => lost.push((reader.id, reason)),
                }
            }
        }
        self.detach_all(lost, aftermath);
        full
    }

    /// Offers a frame to one reader again.
    pub fn offer_again(&mut self, id: u32, frame: &Published, aftermath: &mut Aftermath) -> Offer {
        let Some((mut generations, readers, _, states)) = self.parts() else { return Offer::Done };
        let Some(reader) = readers.get_mut(&id) else { return Offer::Done };
        reader.offer(frame, &mut generations, states, aftermath)
    }

    /// The publisher's own loan ends.
    pub fn end_publishing(&mut self, frame: &Published, generation: u64, aftermath: &mut Aftermath) {
        let all = self.current.iter_mut().chain(&mut self.old);
        if let Some(generation) = all.into_iter().find(|g| g.number() == generation) {
            aftermath.keeps.extend(generation.ledger.end_loan(frame.slot));
        }
    }

    /// Upstream has dropped the memory of a slot.
    pub fn end_lease(&mut self, generation: u64, slot: u32) {
        let all = self.current.iter_mut().chain(&mut self.old);
        if let Some(generation) = all.into_iter().find(|g| g.number() == generation) {
            generation.ledger.end_lease(slot);
        }
    }

    /// What the reader gets of what it asks for, with its slots reserved. Err: why it gets nothing.
    pub fn grant(&mut self, attach: &Attach) -> Result<Grant, Refusal> {
        if self.closed {
            return Err(Refusal::Closing);
        }
        Ok(self.grant_if_open(attach)?)
    }

    fn grant_if_open(&mut self, attach: &Attach) -> Result<Grant, String> {
        if attach.version_min > *VERSIONS.end() || attach.version_max < *VERSIONS.start() {
            return Err(format!(
                "this writer speaks versions {} to {} of the protocol, the reader {} to {}; update the older one",
                VERSIONS.start(),
                VERSIONS.end(),
                attach.version_min,
                attach.version_max
            ));
        }
        if self.readers.len() as u32 >= self.max_readers {
            return Err(format!(
                "the channel has {} readers and allows no more; raise the sink's max-readers",
                self.max_readers
            ));
        }
        if attach.policy == Policy::Lossless && !self.lossless_allowed {
            return Err("this writer waits for nobody; set lossless-timeout of the sink, or use another policy".into());
        }
        let left = self.plan.for_readers().saturating_sub(self.reserved);
        let depth = if attach.policy == Policy::Latest { 1 } else { attach.queue_size.clamp(1, MAX_DEPTH) };
        let max_held = attach.max_held.clamp(1, MAX_DEPTH);
        if left < 3 {
            return Err("other readers have reserved all slots; lower their queue-size or max-held".into());
        }
        let depth = depth.min(left - 2);
        let max_held = max_held.min(left - 1 - depth);
        let grant = Grant { policy: attach.policy, depth, max_held };
        self.reserved += grant.budget();
        Ok(grant)
    }

    /// A reservation that came to nothing.
    pub fn withdraw(&mut self, grant: Grant) {
        self.reserved -= grant.budget();
    }

    /// Attaches a reader: it is told everything, and perhaps gets its first frame.
    pub fn attach(
        &mut self,
        line: Arc<Line>,
        pid: i32,
        grant: Grant,
        initial: InitialFrame,
        aftermath: &mut Aftermath,
    ) -> u32 {
        let id = self.next_reader;
        self.next_reader += 1;
        let attached = Attached {
            version: *VERSIONS.end(),
            reader: id,
            queue_size: grant.depth,
            max_held: grant.max_held,
            writer_pid: std::process::id(),
        };
        // A reader that is told nothing now hangs up, or is told with the next frame.
        line.send(&WriterMessage::Attached(attached).encode(0));
        let mut reader = ReaderRecord::new(id, pid, line, grant);
        let (caps_serial, eos, seq, delta_coded) = (self.caps_serial, self.eos, self.seq, self.delta_coded);
        let mut fate = Offer::Done;
        match self.parts() {
            Some((mut generations, _, _, states)) => {
                if let Err(error) = reader.tell(0, &mut generations, states) {
                    fate = Offer::Detach(DetachReason::Memory(error.to_string()));
                } else if let Some(newest) = generations.current.newest() {
                    let decodable = !newest.delta && newest.serial >= caps_serial;
                    if initial == InitialFrame::Newest && decodable {
                        fate = reader.offer(&newest, &mut generations, states, aftermath);
                    }
                }
            }
            None => {
                reader.send_states(0, &self.states);
            }
        }
        if delta_coded {
            reader.ask_for_keyframe(aftermath);
        }
        if eos {
            reader.send_eos(seq);
        }
        aftermath.notices.push(Notice::Added(reader.stats()));
        self.readers.insert(id, reader);
        if let Offer::Detach(reason) = fate {
            self.detach(id, reason, aftermath);
        }
        id
    }

    fn detach_all(&mut self, lost: Vec<(u32, DetachReason)>, aftermath: &mut Aftermath) {
        for (id, reason) in lost {
            self.detach(id, reason, aftermath);
        }
    }

    /// The reader goes, or must go: it is offered nothing any more. What it holds stays as it is until its line hangs up.
    pub fn detach(&mut self, id: u32, reason: DetachReason, aftermath: &mut Aftermath) {
        let Some(mut reader) = self.readers.remove(&id) else { return };
        let mut trusted = !matches!(reason, DetachReason::Protocol(_));
        if let Some((mut generations, ..)) = self.parts() {
            trusted &= reader.take_back_waiting(&mut generations, &mut aftermath.keeps).is_ok();
        }
        self.totals.dropped_by_former_readers += reader.stats().dropped.total();
        if reason != DetachReason::Gone {
            let closing = WriterMessage::Closing { reason: CloseReason::Detached, text: reason.to_string() };
            reader.line.send_last(&closing.encode(self.seq));
            reader.line.end();
        }
        self.leaving.push(Leaving { reader, trusted });
        aftermath.notices.push(Notice::Removed(id, reason));
    }

    /// The reader's line has hung up: nobody looks at its slots any more.
    pub fn hung_up(&mut self, id: u32, aftermath: &mut Aftermath) {
        self.detach(id, DetachReason::Gone, aftermath);
        let Some(index) = self.leaving.iter().position(|leaving| leaving.reader.id == id) else { return };
        let Leaving { mut reader, .. } = self.leaving.swap_remove(index);
        self.reserved -= reader.grant.budget();
        if let Some((mut generations, ..)) = self.parts() {
            reader.take_everything_back(&mut generations, &mut aftermath.keeps);
        }
    }

    /// A sticky state has changed.
    pub fn set_state(&mut self, kind: StateKind, bytes: Vec<u8>) {
        self.serial += 1;
        if kind == StateKind::CAPS {
            self.caps_serial = self.serial;
            self.delta_coded = false;
        }
        self.states.retain(|state| state.kind != kind);
        self.states.push(State { serial: self.serial, kind, bytes });
        for reader in self.readers.values_mut() {
            // A line that is full is tried again with the next frame.
            reader.send_states(self.seq, &self.states);
        }
    }

    /// Serial of the newest state or event: a reader that has not seen it reads its line before it looks at a frame.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// An event for every reader that is there and can take it.
    pub fn send_event(&mut self, kind: u16, bytes: &[u8]) {
        self.serial += 1;
        let message = WriterMessage::Event { kind, bytes: bytes.to_vec() }.encode(self.seq);
        for reader in self.readers.values().filter(|reader| !reader.paused) {
            if reader.line.send(&message) == Sent::Full {
                self.totals.events_dropped += 1;
            }
        }
    }

    /// The end of the stream.
    pub fn send_eos(&mut self) {
        if std::mem::replace(&mut self.eos, true) {
            return;
        }
        self.serial += 1;
        let seq = self.seq;
        self.readers.values().for_each(|reader| reader.send_eos(seq));
    }

    pub fn reset_eos(&mut self) {
        self.eos = false;
    }

    /// Says good-bye to everybody. No slot is written again: readers keep what they hold, and take what waits for them.
    pub fn close(&mut self, reason: CloseReason, text: &str, aftermath: &mut Aftermath) {
        self.closed = true;
        let closing = WriterMessage::Closing { reason, text: text.into() }.encode(self.seq);
        let mut gone: Vec<ReaderRecord> = std::mem::take(&mut self.readers).into_values().collect();
        for reader in &gone {
            reader.line.send_last(&closing);
            self.totals.dropped_by_former_readers += reader.stats().dropped.total();
            aftermath.notices.push(Notice::Removed(reader.id, DetachReason::Closing));
        }
        gone.extend(self.leaving.drain(..).map(|leaving| leaving.reader));
        if let Some((mut generations, ..)) = self.parts() {
            for mut reader in gone {
                // What is kept belongs to upstream's memory, and that to this channel: nothing may be kept beyond its end.
                reader.take_everything_back(&mut generations, &mut aftermath.keeps);
            }
        }
        if let Some(generation) = &mut self.current {
            generation.set_newest(None, &mut aftermath.keeps);
        }
        // A publisher whose wait was cancelled has a loan as well.
        for generation in self.current.iter_mut().chain(&mut self.old) {
            generation.ledger.drop_keeps(&mut aftermath.keeps);
        }
    }

    pub fn reader_stats(&self, id: u32) -> Option<ReaderStats> {
        self.readers.get(&id).map(ReaderRecord::stats)
    }

    pub fn stats(&mut self, aftermath: &mut Aftermath) -> WriterStats {
        self.collect(aftermath);
        let readers: Vec<ReaderStats> = self.readers.values().map(ReaderRecord::stats).collect();
        let dropped: u64 = readers.iter().map(|reader| reader.dropped.total()).sum();
        WriterStats {
            generation: self.current.as_ref().map_or(0, Generation::number),
            slot_size: self.slot_size(),
            slots: self.current.as_ref().map_or(0, |generation| generation.ledger.len()),
            frames: self.seq,
            zero_copy: self.totals.zero_copy,
            copied: self.totals.copied,
            dropped: dropped + self.totals.dropped_by_former_readers,
            bytes: self.totals.bytes,
            events_dropped: self.totals.events_dropped,
            metas_dropped: self.totals.metas_dropped,
            replies_dropped: self.totals.replies_dropped,
            readers,
        }
    }
}
