//! The writer's service thread: it answers those who knock, hears what readers say, and notices when they go.
//!
//! It waits on one epoll: the listener, a stop event, and every line. Nothing that it does holds up the thread that publishes; memory
//! for a new reader's budget is fetched here.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

use super::Shared;
use super::channel::Refusal;
use super::reader::{Aftermath, Grant, Notice};
use super::stats::DetachReason;
use crate::cancel::Canceller;
use crate::line::{Line, Peer, Received};
use crate::message::{Attach, ReaderMessage, WriterMessage};
use crate::socket::Listener;

/// Who knocks says what it wants within this time.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Who knocks while so many have not said yet what they want waits in the kernel's queue.
const MOST_HANDSHAKES: usize = 32;
/// Without descriptors or memory, those who knock are looked at again after this time.
const SHORTAGE: Duration = Duration::from_millis(100);
/// A reader that talks without end lets the others speak after so many messages.
const MESSAGES_IN_TURN: usize = 64;

const LISTENER: u64 = 0;
const STOP: u64 = 1;
const FIRST_LINE: u64 = 2;

enum Caller {
    /// Has knocked, and said nothing yet.
    Knocking {
        deadline: Instant,
        peer: Peer,
    },
    Attached {
        reader: u32,
    },
}

struct Service {
    shared: Arc<Shared>,
    listener: Listener,
    epoll: OwnedFd,
    callers: HashMap<u64, (Arc<Line>, Caller)>,
    next_token: u64,
    /// The listener is not watched: too many knock.
    crowded: bool,
    /// Nobody can be let in before, for lack of descriptors or memory.
    short_until: Option<Instant>,
}

/// What is to happen with a line.
enum Verdict {
    Keep,
    Close,
}

/// Runs until `stop` is cancelled. The listener's socket is removed at the end.
pub(super) fn run(shared: Arc<Shared>, listener: Listener, epoll: OwnedFd, stop: Canceller) {
    let mut service = Service {
        shared,
        listener,
        epoll,
        callers: HashMap::new(),
        next_token: FIRST_LINE,
        crowded: false,
        short_until: None,
    };
    let mut events = Vec::with_capacity(16);
    while !stop.is_cancelled() {
        events.clear();
        let timeout = service.time_to_next_deadline();
        match epoll::wait(&service.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => unreachable!("epoll_wait on an epoll of ours: {error}"),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => service.answer(),
                STOP => {}
                token => service.hear(token),
            }
        }
        service.forget_silent_callers();
    }
}

/// The epoll that [`run`] waits on.
pub(super) fn watch(listener: &Listener, stop: &Canceller) -> rustix::io::Result<OwnedFd> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    epoll::add(&epoll, stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
    Ok(epoll)
}

impl Service {
    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.callers.values().filter_map(|(_, caller)| match caller {
            Caller::Knocking { deadline, .. } => Some(*deadline),
            Caller::Attached { .. } => None,
        })
    }

    fn time_to_next_deadline(&self) -> Option<Timespec> {
        let left = self.deadlines().chain(self.short_until).min()?.saturating_duration_since(Instant::now());
        Some(Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) })
    }

    /// Lets those in who knock.
    fn answer(&mut self) {
        while self.deadlines().count() < MOST_HANDSHAKES {
            let socket = match self.listener.accept() {
                Ok(Some(socket)) => socket,
                Ok(None) => return,
                Err(_) => {
                    // The listener stays readable: looking at once would be a loop.
                    self.short_until = Some(Instant::now() + SHORTAGE);
                    break;
                }
            };
            let line = Arc::new(Line::new(socket));
            let why = match line.peer() {
                Ok(peer) if peer.is_admitted() => {
                    self.let_in(line, peer);
                    continue;
                }
                Ok(peer) => format!("the channel belongs to another user, and you are user {}", peer.user),
                Err(error) => format!("the kernel does not tell who you are: {error}"),
            };
            refuse(&line, why);
        }
        self.listen(false);
    }

    fn let_in(&mut self, line: Arc<Line>, peer: Peer) {
        let token = self.next_token;
        let events = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        if epoll::add(&self.epoll, line.as_fd(), epoll::EventData::new_u64(token), events).is_err() {
            return refuse(&line, "the writer is out of memory or descriptors".into());
        }
        self.next_token += 1;
        let deadline = Instant::now() + HANDSHAKE;
        self.callers.insert(token, (line, Caller::Knocking { deadline, peer }));
    }

    /// Watches the listener, or does not while too many knock.
    fn listen(&mut self, on: bool) {
        let events = if on { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        // Fails only for lack of memory: the next knock is heard with the next event then.
        let _ = epoll::modify(&self.epoll, &self.listener, epoll::EventData::new_u64(LISTENER), events);
        self.crowded = !on;
    }

    fn forget_silent_callers(&mut self) {
        let now = Instant::now();
        let overdue = |caller: &Caller| matches!(caller, Caller::Knocking { deadline, .. } if *deadline <= now);
        let late: Vec<_> =
            self.callers.iter().filter(|(_, (_, caller))| overdue(caller)).map(|(token, _)| *token).collect();
        for token in late {
            // It may have been this thread that had no time.
            self.hear(token);
            if self.callers.get(&token).is_some_and(|(_, caller)| overdue(caller))
                && let Some((line, _)) = self.callers.remove(&token)
            {
                refuse(&line, "the reader did not say what it wants".into());
            }
        }
        self.short_until = self.short_until.filter(|until| *until > now);
        if self.crowded && self.short_until.is_none() && self.deadlines().count() < MOST_HANDSHAKES {
            self.listen(true);
            self.answer();
        }
    }

    /// Reads what a line says.
    fn hear(&mut self, token: u64) {
        for _ in 0..MESSAGES_IN_TURN {
            let Some((line, _)) = self.callers.get(&token) else { return };
            let verdict = match line.receive() {
                Ok(Received::Nothing) => return,
                // No message of a reader has descriptors: those that came are closed here.
                Ok(Received::Packet(packet)) => match ReaderMessage::parse(&packet.bytes) {
                    Ok(message) => self.act(token, message),
                    Err(error) => self.end(token, DetachReason::Protocol(error.to_string())),
                },
                Ok(Received::HangUp) => self.end(token, DetachReason::Gone),
                Ok(Received::TooLarge) => self.end(token, DetachReason::Protocol("a message that is too large".into())),
                Err(error) => self.end(token, DetachReason::Protocol(error.to_string())),
            };
            if let Verdict::Close = verdict {
                // The epoll forgets a descriptor when it is closed; the channel may hold the line a little longer.
                if let Some((line, _)) = self.callers.remove(&token) {
                    let _ = epoll::delete(&self.epoll, line.as_fd());
                }
                return;
            }
        }
    }

    fn end(&mut self, token: u64, reason: DetachReason) -> Verdict {
        match self.callers.get(&token) {
            Some((_, Caller::Attached { reader })) => {
                let mut aftermath = Aftermath::default();
                let gone = reason == DetachReason::Gone;
                if gone {
                    self.shared.channel().hung_up(*reader, &mut aftermath);
                } else {
                    self.shared.channel().detach(*reader, reason, &mut aftermath);
                }
                self.shared.conclude(aftermath);
                // One that must go still has its slots: the line stays until it hangs up.
                return if gone { Verdict::Close } else { Verdict::Keep };
            }
            Some((line, Caller::Knocking { .. })) if reason != DetachReason::Gone => refuse(line, reason.to_string()),
            _ => {}
        }
        Verdict::Close
    }

    fn act(&mut self, token: u64, message: ReaderMessage) -> Verdict {
        let Some((line, caller)) = self.callers.get(&token) else { return Verdict::Close };
        match (caller, message) {
            (Caller::Knocking { peer, .. }, ReaderMessage::Attach(attach)) => {
                let (line, pid) = (line.clone(), peer.pid);
                match self.attach(&line, pid, &attach) {
                    Ok(reader) => {
                        if let Some((_, caller)) = self.callers.get_mut(&token) {
                            *caller = Caller::Attached { reader };
                        }
                        Verdict::Keep
                    }
                    Err(Refusal::No(why)) => {
                        refuse(&line, why);
                        Verdict::Close
                    }
                    Err(Refusal::Closing) => Verdict::Close,
                }
            }
            (Caller::Attached { reader }, message) => {
                let reader = *reader;
                self.said(reader, message)
            }
            (Caller::Knocking { .. }, _) => {
                self.end(token, DetachReason::Protocol("something else came before the attach".into()))
            }
        }
    }

    /// What an attached reader says.
    fn said(&self, reader: u32, message: ReaderMessage) -> Verdict {
        let mut aftermath = Aftermath::default();
        let mut channel = self.shared.channel();
        let first_generation = channel.first_generation;
        // One that is leaving has nothing more to say.
        let Some(record) = channel.readers.get_mut(&reader) else { return Verdict::Keep };
        match message {
            ReaderMessage::Reply(reply) => {
                // Whoever looks at a frame for long may answer after its writer has gone: the next one would take it for a frame of its own.
                let is_ours = reply.frame.is_none_or(|frame| frame.generation >= first_generation);
                if is_ours && record.may_reply() {
                    aftermath.notices.push(Notice::Reply(reader, reply));
                } else {
                    channel.totals.replies_dropped += 1;
                }
            }
            ReaderMessage::ForceKeyUnit => record.ask_for_keyframe(&mut aftermath),
            ReaderMessage::Pause(paused) => {
                record.paused = paused;
                // A publisher that waits for it need not any more.
                aftermath.wake_waiting = true;
            }
            ReaderMessage::Leave => channel.detach(reader, DetachReason::Gone, &mut aftermath),
            // A second attach changes nothing; a message that we do not know is of a newer version.
            ReaderMessage::Attach(_) | ReaderMessage::Unknown(_) => {}
        }
        drop(channel);
        self.shared.conclude(aftermath);
        Verdict::Keep
    }

    /// Reserves and fetches what the reader needs, then attaches it.
    fn attach(&self, line: &Arc<Line>, pid: i32, attach: &Attach) -> Result<u32, Refusal> {
        let grant = self.shared.channel().grant(attach)?;
        if let Err(why) = self.fetch_memory() {
            self.shared.channel().withdraw(grant);
            return Err(why.into());
        }
        self.commit(line, pid, grant, attach)
    }

    /// Memory for all that is reserved. Not under the lock: it takes milliseconds for each large slot.
    fn fetch_memory(&self) -> Result<(), String> {
        loop {
            let (frames, have, need) = {
                let channel = self.shared.channel();
                let Some(generation) = &channel.current else { return Ok(()) };
                (generation.frames.clone(), generation.ledger.len(), channel.slots_needed())
            };
            frames.populate(have, need).map_err(|error| error.to_string())?;
            let mut channel = self.shared.channel();
            match &mut channel.current {
                Some(generation) if generation.frames.geometry() == frames.geometry() => {
                    generation.ledger.grow(need);
                    return Ok(());
                }
                // A new generation has begun meanwhile. It has what was reserved when it began.
                _ => continue,
            }
        }
    }

    fn commit(&self, line: &Arc<Line>, pid: i32, grant: Grant, attach: &Attach) -> Result<u32, Refusal> {
        let mut aftermath = Aftermath::default();
        let reader = {
            let mut channel = self.shared.channel();
            if channel.closed {
                // While its memory was being fetched.
                channel.withdraw(grant);
                return Err(Refusal::Closing);
            }
            let reader = channel.attach(line.clone(), pid, grant, attach.initial, &mut aftermath);
            self.shared.arrivals().announce(reader);
            reader
        };
        self.shared.conclude(aftermath);
        Ok(reader)
    }
}

fn refuse(line: &Line, why: String) {
    line.send(&WriterMessage::Refused(why).encode(0));
    line.end();
}
