//! The end that runs commands.

use std::{
    collections::VecDeque,
    fmt, io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::Arc,
};

use rustix::event::PollFlags;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    PING,
    framing::{Decoder, ProtocolError},
    handlers::Handlers,
    inherited::{InheritedError, inherit},
    message::{Answer, Call, Message, null},
    outbox::{Events, Outbox, poll_once},
};

/// Receives calls, and tells events. `ping` is answered by itself whenever calls are received.
///
/// Its descriptor ([`AsFd`]) becomes readable when there is something to [`receive`](Backend::receive): it fits into
/// epoll, level- or edge-triggered, if it is asked until it says `None`.
#[derive(Debug)]
pub struct Backend {
    stream: UnixStream,
    decoder: Decoder,
    calls: VecDeque<PendingCall>,
    outbox: Arc<Outbox>,
    ended: bool,
}

/// No call will come any more. A backend ends then, unless it has work of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The frontend has ended, or does not want this backend any more.
    #[error("the frontend has hung up")]
    HungUp,
    /// The frontend says what cannot be understood.
    #[error("the frontend does not keep to the protocol: {0}")]
    Protocol(ProtocolError),
    /// The socket has failed.
    #[error("commands cannot be received: {0}")]
    Io(String),
}

impl Backend {
    /// The backend of whoever has started this process, or `None` if it expects none. To be asked once.
    pub fn inherited() -> Result<Option<Self>, InheritedError> {
        let unusable = |source| InheritedError::Unusable { number: -1, source };
        inherit()?.map(|stream| Self::new(stream).map_err(unusable)).transpose()
    }

    /// A backend on this end of a socket pair.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let outbox = Outbox::start(stream.try_clone()?)?;
        Ok(Self { stream, decoder: Decoder::new(), calls: VecDeque::new(), outbox, ended: false })
    }

    /// The way for events, for this and other threads.
    pub fn events(&self) -> Events {
        Events(self.outbox.clone())
    }

    /// The next call that is there. Does not wait. After an error no more will come.
    pub fn receive(&mut self) -> Result<Option<PendingCall>, Closed> {
        loop {
            if let Some(call) = self.calls.pop_front() {
                return Ok(Some(call));
            }
            if self.ended {
                return Err(Closed::HungUp);
            }
            match self.decoder.read(&mut &self.stream) {
                Ok(0) => self.ended = true,
                Ok(_) => self.sort()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It was killed with messages of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Err(Closed::Io(error.to_string()));
                }
            }
        }
    }

    /// The next call; waits for it.
    pub fn wait(&mut self) -> Result<PendingCall, Closed> {
        loop {
            if let Some(call) = self.receive()? {
                return Ok(call);
            }
            poll_once(&self.stream, PollFlags::IN).map_err(|error| Closed::Io(error.to_string()))?;
        }
    }

    /// Runs `handlers` until the frontend hangs up, which is a good end.
    pub fn serve<S>(&mut self, handlers: &mut Handlers<S>, state: &mut S) -> Result<(), Closed> {
        loop {
            match self.wait() {
                Ok(call) => handlers.run(state, call),
                Err(Closed::HungUp) => return Ok(()),
                Err(closed) => return Err(closed),
            }
        }
    }

    fn sort(&mut self) -> Result<(), Closed> {
        sort_calls(&mut self.decoder, &self.outbox, |call| self.calls.push_back(call)).map_err(|error| {
            self.ended = true;
            Closed::Protocol(error)
        })
    }
}

/// Gives every call that has been received to `take`, and answers what every backend answers.
pub(crate) fn sort_calls(
    decoder: &mut Decoder,
    outbox: &Arc<Outbox>,
    mut take: impl FnMut(PendingCall),
) -> Result<(), ProtocolError> {
    while let Some(message) = decoder.next()? {
        match message {
            Message::Call(call) if call.command == PING => {
                PendingCall::new(call, outbox).answer(Ok::<_, Refusal>("pong"));
            }
            Message::Call(call) => take(PendingCall::new(call, outbox)),
            // A backend calls nobody, so no answer is for it. Events to backends are for later versions.
            Message::Answer(_) | Message::Event(_) => {}
        }
    }
    Ok(())
}

/// What is waiting to be told goes out first, if the frontend reads it soon.
impl Drop for Backend {
    fn drop(&mut self) {
        // Their answers are the last words.
        self.calls.clear();
        self.outbox.close();
    }
}

impl AsFd for Backend {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Why a command was not done, in words for whoever called it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

/// A call that waits for its answer. It may be answered later, and from any thread; dropped, it answers that nothing was done.
#[derive(Debug)]
#[must_use = "a call that is dropped fails"]
pub struct PendingCall {
    id: u64,
    command: String,
    params: Box<RawValue>,
    /// Until it is answered.
    outbox: Option<Arc<Outbox>>,
}

impl PendingCall {
    fn new(call: Call, outbox: &Arc<Outbox>) -> Self {
        Self { id: call.id, command: call.command, params: call.params, outbox: Some(outbox.clone()) }
    }

    /// Name of the command.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Its parameters, as the command expects them. The error says what is wrong with them.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_str(self.params.get())
            .map_err(|error| Refusal(format!("{}: the parameters are not right: {error}", self.command)))
    }

    /// Its parameters as they came.
    pub fn raw_params(&self) -> &RawValue {
        &self.params
    }

    /// Answers it.
    pub fn answer(mut self, outcome: Result<impl Serialize, impl fmt::Display>) {
        let outcome = match outcome {
            Ok(result) => to_raw_value(&result).map_err(|error| format!("the result cannot be told: {error}")),
            Err(why) => Err(why.to_string()),
        };
        self.reply(outcome);
    }

    /// Answers it: done, and there is nothing to say.
    pub fn done(mut self) {
        self.reply(Ok(null()));
    }

    fn reply(&mut self, outcome: Result<Box<RawValue>, String>) {
        if let Some(outbox) = self.outbox.take() {
            outbox.answer(Answer { id: self.id, outcome });
        }
    }
}

impl Drop for PendingCall {
    fn drop(&mut self) {
        if self.outbox.is_some() {
            let why = format!("{}: the backend has let the call drop", self.command);
            self.reply(Err(why));
        }
    }
}
