//! One reader, as its writer keeps it: what it was granted, what it was told, what it is offered.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::generation::Generation;
use super::ledger::Keep;
use super::port::{Lie, WriterPort};
use super::stats::{DetachReason, Dropped, ReaderStats};
use crate::frame::{Policy, Reply, StateKind};
use crate::layout::PortGeometry;
use crate::line::{Line, Sent};
use crate::mapping::MemoryError;
use crate::message::WriterMessage;

/// A reader that asks for keyframes again and again is heard once in this time.
const KEY_UNIT_PAUSE: Duration = Duration::from_millis(500);
/// The application is told of a slow reader once in this time.
const SLOW_PAUSE: Duration = Duration::from_secs(1);
/// More replies in a second are dropped: the application's message queue has no bound of its own.
const REPLIES_PER_SECOND: u32 = 1000;

/// What is to be done when the lock is free again.
#[derive(Default)]
pub(super) struct Aftermath {
    pub rings: Vec<Arc<OwnedFd>>,
    pub keeps: Vec<Keep>,
    pub notices: Vec<Notice>,
    /// Whoever waits for readers is to look again.
    pub wake_waiting: bool,
}

/// What the application is told.
pub(super) enum Notice {
    Added(ReaderStats),
    Removed(u32, DetachReason),
    Slow(u32, u64),
    Reply(u32, Reply),
    ForceKeyUnit(u32),
}

/// A sticky state, as it is now.
pub(super) struct State {
    pub serial: u32,
    pub kind: StateKind,
    pub bytes: Vec<u8>,
}

/// A frame that is being published.
#[derive(Clone, Copy)]
pub(super) struct Published {
    pub slot: u32,
    pub seq: u64,
    pub delta: bool,
    /// Serial of the newest message that the frame comes after.
    pub serial: u32,
}

/// What became of an offer.
pub(super) enum Offer {
    /// Pushed, or dropped and counted.
    Done,
    /// A lossless reader has no room in its queue: it rings when it takes a frame.
    Wait,
    /// A lossless reader has no room in its line for what comes before the frame: it does not say when it has read.
    WaitForLine,
    /// The reader must go.
    Detach(DetachReason),
}

/// What the reader is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub policy: Policy,
    pub depth: u32,
    pub max_held: u32,
}

impl Grant {
    /// Slots reserved for it.
    pub fn budget(&self) -> u32 {
        self.depth + self.max_held + 1
    }
}

pub(super) struct ReaderRecord {
    pub id: u32,
    pub pid: i32,
    pub line: Arc<Line>,
    pub grant: Grant,
    pub paused: bool,
    port: Option<WriterPort>,
    /// Of older generations, as long as something in them waits or is held.
    old: Vec<WriterPort>,
    /// Serial of the newest state that was sent.
    state_sent: u32,
    /// Closed: it waits for a keyframe.
    gate_open: bool,
    published: u64,
    taken_before: u64,
    claims_before: (u64, u64, u64),
    dropped: Dropped,
    key_unit_at: Option<Instant>,
    slow_at: Option<Instant>,
    replies: (Option<Instant>, u32),
}

impl From<Lie> for Offer {
    fn from(lie: Lie) -> Self {
        Self::Detach(DetachReason::Protocol(lie.to_string()))
    }
}

impl ReaderRecord {
    pub fn new(id: u32, pid: i32, line: Arc<Line>, grant: Grant) -> Self {
        Self {
            id,
            pid,
            line,
            grant,
            paused: false,
            port: None,
            old: Vec::new(),
            state_sent: 0,
            gate_open: false,
            published: 0,
            taken_before: 0,
            claims_before: (0, 0, 0),
            dropped: Dropped::default(),
            key_unit_at: None,
            slow_at: None,
            replies: (None, 0),
        }
    }

    /// Offers a frame of the present generation. It is counted once it is pushed or dropped.
    pub fn offer(
        &mut self,
        frame: &Published,
        channel: &mut Generations<'_>,
        states: &[State],
        aftermath: &mut Aftermath,
    ) -> Offer {
        if self.paused {
            self.gate_open = false;
            return Offer::Done;
        }
        if let Err(lie) = self.collect(channel, &mut aftermath.keeps) {
            return lie.into();
        }
        match self.tell(frame.seq, channel, states) {
            Ok(Sent::Yes) => {}
            Ok(Sent::Full) if self.grant.policy == Policy::Lossless => return Offer::WaitForLine,
            Ok(Sent::Full | Sent::HungUp) => return self.drop_newest(|dropped| dropped.line += 1),
            Err(error) => return Offer::Detach(DetachReason::Memory(error.to_string())),
        }
        if self.is_behind_the_gate(frame) {
            // Before room is made for it, or waited for.
            self.ask_for_keyframe(aftermath);
            return self.drop_newest(|dropped| dropped.keyframe += 1);
        }
        if self.waiting() >= u64::from(self.grant.depth) {
            if self.grant.policy == Policy::Lossless {
                return Offer::Wait;
            }
            if let Err(lie) = self.evict(frame.delta, channel, aftermath) {
                return lie.into();
            }
        }
        if self.is_behind_the_gate(frame) {
            // Making room has taken what it depends on.
            self.ask_for_keyframe(aftermath);
            return self.drop_newest(|dropped| dropped.keyframe += 1);
        }
        if self.loans() >= self.grant.budget() {
            if self.grant.policy == Policy::Lossless {
                return Offer::Wait;
            }
            return self.drop_newest(|dropped| dropped.held += 1);
        }
        self.gate_open = true;
        self.published += 1;
        let port = self.port.as_mut().expect("tell() has given the reader its port");
        port.push(frame.slot, frame.seq, frame.delta, &mut channel.current.ledger);
        aftermath.rings.extend(port.doorbell());
        Offer::Done
    }

    fn is_behind_the_gate(&self, frame: &Published) -> bool {
        frame.delta && !self.gate_open
    }

    /// A frame that it was promised cannot be waited for any more.
    pub fn miss(&mut self) {
        if !self.paused {
            self.drop_newest(|dropped| dropped.slow += 1);
        }
    }

    fn drop_newest(&mut self, count: impl FnOnce(&mut Dropped)) -> Offer {
        self.published += 1;
        self.gate_open = false;
        count(&mut self.dropped);
        Offer::Done
    }

    /// Makes room by taking back the oldest frame and its dependants.
    fn evict(
        &mut self,
        newest_is_delta: bool,
        channel: &mut Generations<'_>,
        aftermath: &mut Aftermath,
    ) -> Result<(), Lie> {
        let mut evicted = 0;
        for port in self.old.iter_mut().chain(&mut self.port) {
            let ledger = &mut channel.of(port.generation).ledger;
            evicted = port.evict(ledger, &mut aftermath.keeps)?;
            if evicted > 0 {
                break;
            }
        }
        if evicted == 0 {
            return Ok(());
        }
        self.dropped.slow += 1;
        self.dropped.keyframe += evicted - 1;
        if newest_is_delta && self.waiting() == 0 {
            self.gate_open = false;
        }
        if elapsed(&mut self.slow_at, SLOW_PAUSE) {
            aftermath.notices.push(Notice::Slow(self.id, self.dropped.total()));
        }
        Ok(())
    }

    /// A keyframe is needed: asks for one, not too often.
    pub fn ask_for_keyframe(&mut self, aftermath: &mut Aftermath) {
        if elapsed(&mut self.key_unit_at, KEY_UNIT_PAUSE) {
            aftermath.notices.push(Notice::ForceKeyUnit(self.id));
        }
    }

    /// May this reply pass, so that a flood does not fill the application's message queue?
    pub fn may_reply(&mut self) -> bool {
        if elapsed(&mut self.replies.0, Duration::from_secs(1)) {
            self.replies.1 = 0;
        }
        self.replies.1 += 1;
        self.replies.1 <= REPLIES_PER_SECOND
    }

    /// Sees to it that the reader has the present generation and all states. `after`: what it is told holds before that frame.
    pub fn tell(&mut self, after: u64, channel: &mut Generations<'_>, states: &[State]) -> Result<Sent, MemoryError> {
        let generation = channel.current.number();
        if self.port.as_ref().is_none_or(|port| port.generation != generation) {
            match self.send_generation(after, channel)? {
                Sent::Yes => {}
                not_now => return Ok(not_now),
            }
        }
        Ok(self.send_states(after, states))
    }

    fn send_generation(&mut self, after: u64, channel: &mut Generations<'_>) -> Result<Sent, MemoryError> {
        let frames = channel.current.frames.geometry();
        let geometry = PortGeometry::new(self.grant.depth, frames.slot_count).expect("the grant is within the limits");
        let (port, descriptors) = WriterPort::create(geometry, self.id, frames.generation)?;
        let message = WriterMessage::Generation { frames, port: geometry }.encode(after);
        let with = [
            channel.current.frames.memory(),
            descriptors.memory.as_fd(),
            descriptors.ready.as_fd(),
            descriptors.attention.as_fd(),
        ];
        let sent = self.line.send_with(&message, &with);
        if sent == Sent::Yes {
            let event = epoll::EventData::new_u64(0);
            epoll::add(channel.attention, port.attention(), event, epoll::EventFlags::IN | epoll::EventFlags::ET)
                .map_err(|e| MemoryError::Unavailable { bytes: 0, doing: "epoll", source: e.into() })?;
            self.old.extend(self.port.replace(port));
        }
        Ok(sent)
    }

    /// Sends the states that the reader does not have yet, oldest first.
    pub fn send_states(&mut self, after: u64, states: &[State]) -> Sent {
        let sent_before = self.state_sent;
        for state in states.iter().filter(|state| state.serial > sent_before) {
            let message = WriterMessage::State { serial: state.serial, kind: state.kind, bytes: state.bytes.clone() };
            match self.line.send(&message.encode(after)) {
                Sent::Yes => self.state_sent = state.serial,
                not_now => return not_now,
            }
        }
        Sent::Yes
    }

    /// Sends the end of the stream.
    pub fn send_eos(&self, after: u64) {
        self.line.send_last(&WriterMessage::Eos.encode(after));
    }

    /// Takes back what the reader has given back, in all generations; forgets ports that are done with.
    pub fn collect(&mut self, channel: &mut Generations<'_>, keeps: &mut Vec<Keep>) -> Result<(), Lie> {
        for port in self.old.iter_mut().chain(&mut self.port) {
            port.collect(&mut channel.of(port.generation).ledger, keeps)?;
        }
        let (taken_before, claims_before) = (&mut self.taken_before, &mut self.claims_before);
        self.old.retain(|port| {
            let done = port.loans() == 0;
            if done {
                *taken_before += port.taken();
                *claims_before = merge(*claims_before, port.claims());
            }
            !done
        });
        Ok(())
    }

    /// It is offered nothing any more: what it has not taken comes back.
    pub fn take_back_waiting(&mut self, channel: &mut Generations<'_>, keeps: &mut Vec<Keep>) -> Result<(), Lie> {
        self.collect(channel, keeps)?;
        for port in self.old.iter_mut().chain(&mut self.port) {
            let ledger = &mut channel.of(port.generation).ledger;
            loop {
                match port.evict(ledger, keeps)? {
                    0 => break,
                    evicted => self.dropped.slow += evicted,
                }
            }
        }
        Ok(())
    }

    /// Everything that it had comes back: it is gone.
    pub fn take_everything_back(&mut self, channel: &mut Generations<'_>, keeps: &mut Vec<Keep>) {
        for port in self.old.iter_mut().chain(&mut self.port) {
            port.take_everything_back(&mut channel.of(port.generation).ledger, keeps);
        }
    }

    /// The writer is about to wait for this reader.
    pub fn ask_for_attention(&self) {
        self.old.iter().chain(&self.port).for_each(WriterPort::ask_for_attention);
    }

    pub fn need_no_attention(&self) {
        self.old.iter().chain(&self.port).for_each(WriterPort::need_no_attention);
    }

    pub fn uses(&self, generation: u64) -> bool {
        self.old.iter().chain(&self.port).any(|port| port.generation == generation)
    }

    /// Slots of all generations that it has or may take.
    pub fn loans(&self) -> u32 {
        self.old.iter().chain(&self.port).map(WriterPort::loans).sum()
    }

    fn waiting(&self) -> u64 {
        self.old.iter().chain(&self.port).map(WriterPort::waiting).sum()
    }

    pub fn stats(&self) -> ReaderStats {
        let ports = || self.old.iter().chain(&self.port);
        let claims = ports().map(WriterPort::claims).fold(self.claims_before, merge);
        ReaderStats {
            id: self.id,
            pid: self.pid,
            policy: self.grant.policy,
            queue_size: self.grant.depth,
            max_held: self.grant.max_held,
            published: self.published,
            taken: self.taken_before + ports().map(WriterPort::taken).sum::<u64>(),
            waiting: self.waiting(),
            dropped: self.dropped,
            held: ports().map(|port| u64::from(port.held())).sum(),
            copied_on_hold: claims.0,
            latency_last: claims.1,
            latency_max: claims.2,
            paused: self.paused,
        }
    }
}

/// Claims of an older and a newer port.
fn merge(old: (u64, u64, u64), new: (u64, u64, u64)) -> (u64, u64, u64) {
    (old.0.saturating_add(new.0), if new.1 > 0 { new.1 } else { old.1 }, old.2.max(new.2))
}

/// Is it `pause` since the last time? Then this is the last time.
fn elapsed(last: &mut Option<Instant>, pause: Duration) -> bool {
    let now = Instant::now();
    let over = last.is_none_or(|last| now.duration_since(last) >= pause);
    if over {
        *last = Some(now);
    }
    over
}

/// The memories that a reader's ports may be of.
pub(super) struct Generations<'a> {
    pub current: &'a mut Generation,
    pub old: &'a mut Vec<Generation>,
    /// The epoll of a writer that waits for readers.
    pub attention: &'a OwnedFd,
}

impl Generations<'_> {
    fn of(&mut self, number: u64) -> &mut Generation {
        if self.current.number() == number {
            return self.current;
        }
        self.old.iter_mut().find(|generation| generation.number() == number).expect("a generation in use is kept")
    }
}
