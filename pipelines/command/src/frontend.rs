//! The end that calls commands.

use std::{
    collections::HashMap,
    io::{self, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    framing::{Decoder, ProtocolError, encode},
    message::{Call, Event, Message},
};

/// Why a call has failed. Whatever the reason: it was answered, or never will be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The backend says why it did not do it.
    #[error("{0}")]
    Refused(String),
    /// No answer in time. The backend may still do it.
    #[error("{command}: no answer within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// What was called.
        command: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The backend has ended, or has broken the protocol, before it answered.
    #[error("the backend has ended{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Gone(Option<ProtocolError>),
    /// The parameters cannot be sent.
    #[error("the call cannot be sent: {0}")]
    Unfit(String),
    /// The answer is not of the type that was expected.
    #[error("{command}: the answer is not as expected: {problem}")]
    Unexpected {
        /// What was called.
        command: String,
        /// What is wrong with the answer.
        problem: String,
    },
}

/// Calls commands of one backend, from any number of threads. Dropped, it hangs up: the backend ends.
#[derive(Debug)]
pub struct Frontend {
    stream: UnixStream,
    writing: Mutex<()>,
    waiting: Arc<Mutex<Waiting>>,
}

type Outcome = Result<Box<RawValue>, CallError>;

/// Who waits for which answer; shared with the thread that reads.
#[derive(Debug)]
pub(crate) struct Waiting<S = mpsc::Sender<Outcome>> {
    next_id: u64,
    callers: HashMap<u64, S>,
    /// Why no answers come any more.
    gone: Option<CallError>,
}

impl<S> Default for Waiting<S> {
    fn default() -> Self {
        Self { next_id: 1, callers: HashMap::new(), gone: None }
    }
}

impl<S> Waiting<S> {
    /// Notes a caller, and gives its call an id.
    pub fn enter(&mut self, caller: S) -> Result<u64, CallError> {
        if let Some(gone) = &self.gone {
            return Err(gone.clone());
        }
        let id = self.next_id;
        self.next_id += 1;
        self.callers.insert(id, caller);
        Ok(id)
    }

    /// The caller does not wait any more, or gets its answer now.
    pub fn leave(&mut self, id: u64) -> Option<S> {
        self.callers.remove(&id)
    }

    /// No answers come any more; who is told?
    pub fn end(&mut self, why: CallError) -> Vec<S> {
        self.gone.get_or_insert(why);
        self.callers.drain().map(|(_, caller)| caller).collect()
    }
}

/// A call as bytes.
pub(crate) fn encode_call(id: u64, command: &str, params: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, CallError> {
    let params = to_raw_value(params).map_err(|error| CallError::Unfit(error.to_string()))?;
    encode(&Message::Call(Call { id, command: command.to_owned(), params }))
        .map_err(|error| CallError::Unfit(error.to_string()))
}

/// The answer as the type that is expected.
pub(crate) fn parse<T: DeserializeOwned>(command: &str, answer: &RawValue) -> Result<T, CallError> {
    serde_json::from_str(answer.get())
        .map_err(|error| CallError::Unexpected { command: command.to_owned(), problem: error.to_string() })
}

impl Frontend {
    /// Talks to the backend at the other end of `stream`. A thread reads; it calls `on_event` for each event, which is
    /// to return soon: answers come the same way.
    pub fn new(stream: UnixStream, on_event: impl FnMut(Event) + Send + 'static) -> io::Result<Self> {
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (reading, theirs) = (stream.try_clone()?, waiting.clone());
        thread::Builder::new().name("answers".into()).spawn(move || read(reading, &theirs, on_event))?;
        Ok(Self { stream, writing: Mutex::new(()), waiting })
    }

    /// Calls a command and waits for the answer, no longer than `limit`.
    pub fn call(&self, command: &str, params: &(impl Serialize + ?Sized), limit: Duration) -> Outcome {
        let (caller, answered) = mpsc::channel();
        let id = lock(&self.waiting).enter(caller)?;
        let sent = encode_call(id, command, params).and_then(|bytes| self.send(&bytes, command, limit));
        let outcome = sent.and_then(|()| match answered.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::TimedOut { command: command.to_owned(), limit }),
        });
        lock(&self.waiting).leave(id);
        outcome
    }

    /// As [`Frontend::call`], with the answer as the type that is expected.
    pub fn call_as<T: DeserializeOwned>(
        &self,
        command: &str,
        params: &(impl Serialize + ?Sized),
        limit: Duration,
    ) -> Result<T, CallError> {
        self.call(command, params, limit).and_then(|answer| parse(command, &answer))
    }

    /// Writes a call. A backend that takes nothing within the limit has been cut off in the middle of a message: it is lost.
    fn send(&self, bytes: &[u8], command: &str, limit: Duration) -> Result<(), CallError> {
        let _one_at_a_time = self.writing.lock().expect("nothing panics under this lock");
        let limited = self.stream.set_write_timeout(Some(limit.max(Duration::from_millis(1))));
        limited.and_then(|()| (&self.stream).write_all(bytes)).map_err(|error| {
            let _ = self.stream.shutdown(Shutdown::Both);
            match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    CallError::TimedOut { command: command.to_owned(), limit }
                }
                _ => CallError::Gone(None),
            }
        })
    }
}

impl Drop for Frontend {
    fn drop(&mut self) {
        // Ends the thread as well.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn read(mut stream: UnixStream, waiting: &Mutex<Waiting>, mut on_event: impl FnMut(Event)) {
    let mut decoder = Decoder::new();
    let why = loop {
        match decoder.next() {
            Ok(Some(Message::Answer(answer))) => {
                let caller = lock(waiting).leave(answer.id);
                // Late answers and invented ones are for nobody.
                let _ = caller.map(|caller| caller.send(answer.outcome.map_err(CallError::Refused)));
            }
            Ok(Some(Message::Event(event))) => on_event(event),
            Ok(Some(Message::Call(_))) => {}
            Ok(None) => match decoder.read(&mut stream) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break None,
            },
            Err(error) => break Some(error),
        }
    };
    let _ = stream.shutdown(Shutdown::Both);
    let gone = CallError::Gone(why);
    let left = lock(waiting).end(gone.clone());
    for caller in left {
        let _ = caller.send(Err(gone.clone()));
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().expect("nothing panics under this lock")
}
