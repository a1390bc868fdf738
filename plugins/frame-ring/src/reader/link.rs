//! A connection to one writer: its line, the messages that wait for their turn, the port.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::epoll;

use super::LostReason;
use super::port::{ReaderPort, Taken};
use crate::frame::{Policy, StateKind};
use crate::line::{Line, Received};
use crate::mapping::{MemoryError, Port, ReaderFrames};
use crate::message::{Attached, CloseReason, GENERATION_DESCRIPTORS, ReaderMessage, WriterMessage};

/// What the writer said, in its order.
pub(super) enum Said {
    Attached(Attached),
    Refused(String),
    Generation(Arc<ReaderPort>, OwnedFd),
    State { kind: StateKind, bytes: Vec<u8> },
    Event { kind: u16, bytes: Vec<u8> },
    Eos,
    Lost(LostReason),
}

/// What is next.
pub(super) enum Turn {
    Said(Said),
    Frame(Taken),
    /// Nothing; the doorbell is armed.
    Nothing,
}

pub(super) struct Link {
    pub line: Arc<Line>,
    policy: Policy,
    /// With the number of frames that were published before each.
    said: VecDeque<(u64, Said)>,
    /// The line said good-bye, or hung up: nothing more comes from it.
    over: bool,
    port: Option<Arc<ReaderPort>>,
    ready: Option<OwnedFd>,
    /// A frame that was taken, and waits for what was said before it.
    early: Option<Taken>,
    /// Serial of the newest message that has been read, or need not be looked for.
    serial: u32,
    pub max_held: u32,
    /// Slots held, in all generations.
    held: Arc<AtomicU32>,
    armed: bool,
}

impl Link {
    pub fn new(line: Arc<Line>, policy: Policy) -> Self {
        Self {
            line,
            policy,
            said: VecDeque::new(),
            over: false,
            port: None,
            ready: None,
            early: None,
            serial: 0,
            max_held: 1,
            held: Arc::default(),
            armed: false,
        }
    }

    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Relaxed)
    }

    /// Reads all that the line has.
    pub fn read_line(&mut self) -> Result<(), MemoryError> {
        while !self.over {
            let lost = match self.line.receive() {
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::Packet(packet)) => match WriterMessage::parse(&packet.bytes) {
                    Ok((message, after)) => {
                        self.note(message, after, packet.descriptors)?;
                        continue;
                    }
                    Err(error) => LostReason::Protocol(error.to_string()),
                },
                Ok(Received::HangUp) => LostReason::Died,
                Ok(Received::TooLarge) => LostReason::Protocol("a message that is too large".into()),
                Err(error) => LostReason::Protocol(error.to_string()),
            };
            self.end(lost);
        }
        Ok(())
    }

    fn end(&mut self, reason: LostReason) {
        self.over = true;
        self.said.push_back((u64::MAX, Said::Lost(reason)));
    }

    fn note(&mut self, message: WriterMessage, after: u64, descriptors: Vec<OwnedFd>) -> Result<(), MemoryError> {
        let said = match message {
            WriterMessage::Attached(attached) => Said::Attached(attached),
            WriterMessage::Refused(why) => Said::Refused(why),
            WriterMessage::Generation { frames, port } => {
                let Ok(descriptors) = <[OwnedFd; GENERATION_DESCRIPTORS]>::try_from(descriptors) else {
                    self.end(LostReason::Protocol("a generation without its four descriptors".into()));
                    return Ok(());
                };
                let [memory, port_memory, ready, attention] = descriptors;
                let opened = ReaderFrames::open(memory.as_fd(), frames)
                    .and_then(|memory| Ok((memory, Port::open(port_memory.as_fd(), port, frames.generation)?)));
                match opened {
                    Ok((frames, port)) => {
                        let port =
                            ReaderPort::new(frames, port, attention, self.held.clone(), self.policy, self.line.clone());
                        Said::Generation(port, ready)
                    }
                    Err(MemoryError::Untrusted(why)) => {
                        self.end(LostReason::Protocol(why.into()));
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            }
            WriterMessage::State { serial, kind, bytes } => {
                self.serial = self.serial.max(serial);
                Said::State { kind, bytes }
            }
            WriterMessage::Event { kind, bytes } => Said::Event { kind, bytes },
            WriterMessage::Eos => Said::Eos,
            WriterMessage::Closing { reason, text } => {
                self.end(match reason {
                    CloseReason::Restart => LostReason::Restart,
                    CloseReason::Error => LostReason::Error(text),
                    CloseReason::Detached => LostReason::Detached(text),
                });
                return Ok(());
            }
            WriterMessage::Unknown(_) => return Ok(()),
        };
        self.said.push_back((after, said));
        Ok(())
    }

    /// The next message or frame, in order: a message comes before the first frame that was published after it.
    pub fn next(&mut self) -> Result<Turn, Broken> {
        if std::mem::take(&mut self.armed)
            && let Some(port) = &self.port
        {
            port.port.ready().disarm();
        }
        loop {
            let taken = match (self.early.take(), &self.port) {
                (Some(taken), _) => Some(taken),
                (None, Some(port)) => port.take(self.max_held).map_err(|lie| Broken::Lie(lie.to_string()))?,
                (None, None) => None,
            };
            if let Some(taken) = taken {
                if taken.serial > self.serial {
                    self.serial = taken.serial;
                    self.read_line()?;
                }
                if self.said.front().is_some_and(|(after, _)| *after <= taken.frame.id().seq) {
                    self.early = Some(taken);
                } else {
                    return Ok(Turn::Frame(taken));
                }
            }
            if let Some((_, said)) = self.said.pop_front() {
                return Ok(Turn::Said(said));
            }
            let Some(port) = &self.port else { return Ok(Turn::Nothing) };
            port.port.ready().arm();
            if port.port.queue().is_empty() {
                self.armed = true;
                return Ok(Turn::Nothing);
            }
            port.port.ready().disarm();
        }
    }

    /// Goes over to a new generation: what waited in the old one has been taken.
    pub fn switch(
        &mut self,
        port: Arc<ReaderPort>,
        ready: OwnedFd,
        epoll: &OwnedFd,
        data: u64,
    ) -> rustix::io::Result<()> {
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        if let Some(before) = self.ready.take() {
            epoll::delete(epoll, &before)?;
        }
        epoll::add(epoll, &ready, epoll::EventData::new_u64(data), edge)?;
        self.port = Some(port);
        self.ready = Some(ready);
        Ok(())
    }

    /// Takes its descriptors out of the epoll, and tells the writer. Frames that are held stay as they are.
    pub fn leave(self, epoll: &OwnedFd) {
        self.line.send(&ReaderMessage::Leave.encode());
        // A descriptor that is not in it any more does no harm.
        let _ = epoll::delete(epoll, self.line.as_fd());
        if let Some(ready) = &self.ready {
            let _ = epoll::delete(epoll, ready);
        }
    }
}

/// Why a link cannot go on.
pub(super) enum Broken {
    Lie(String),
    Memory(MemoryError),
}

impl From<MemoryError> for Broken {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}
