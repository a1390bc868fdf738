//! The end that calls commands, for many backends at once.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rustix::net::{Shutdown, shutdown};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::{
    net::UnixStream,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    framing::{Decoder, ProtocolError},
    frontend::{CallError, Waiting, encode_call, parse},
    message::{Event, Message},
};

/// Calls that wait to be written; more have to wait themselves, within their time limit.
const CALLS_QUEUED: usize = 32;
/// Events that wait for whoever takes them; then the backend has to wait.
const EVENTS_QUEUED: usize = 256;

type Outcome = Result<Box<RawValue>, CallError>;
type Callers = Arc<Mutex<Waiting<oneshot::Sender<Outcome>>>>;

/// Calls commands of one backend. Clones share it; the last that is dropped hangs up, and the backend ends.
#[derive(Debug, Clone)]
pub struct Frontend(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    stream: Arc<UnixStream>,
    waiting: Callers,
    calls: mpsc::Sender<Vec<u8>>,
    gone: watch::Receiver<bool>,
    tasks: [JoinHandle<()>; 2],
}

impl Frontend {
    /// Talks to the backend at the other end of `stream`, by two tasks of this runtime. Events are to be taken from what is
    /// returned beside it, soon: answers come the same way. A receiver that is dropped wants none.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        stream.set_nonblocking(true)?;
        let stream = Arc::new(UnixStream::from_std(stream)?);
        let waiting = Callers::default();
        let (calls, queued) = mpsc::channel(CALLS_QUEUED);
        let (told, events) = mpsc::channel(EVENTS_QUEUED);
        let (ended, gone) = watch::channel(false);
        let reading = tokio::spawn(read(stream.clone(), waiting.clone(), told, ended));
        let writing = tokio::spawn(write(stream.clone(), queued));
        Ok((Self(Arc::new(Ends { stream, waiting, calls, gone, tasks: [reading, writing] })), events))
    }

    /// Calls a command and waits for the answer, no longer than `limit`.
    pub async fn call(&self, command: &str, params: &(impl Serialize + ?Sized), limit: Duration) -> Outcome {
        let (caller, answered) = oneshot::channel();
        let id = lock(&self.0.waiting).enter(caller)?;
        // Also when this future is dropped.
        let _left = Leave { waiting: &self.0.waiting, id };
        let bytes = encode_call(id, command, params)?;
        let gone = || CallError::Gone(None);
        let answer = async {
            self.0.calls.send(bytes).await.map_err(|_| gone())?;
            answered.await.unwrap_or_else(|_| Err(gone()))
        };
        let late = |_| CallError::TimedOut { command: command.to_owned(), limit };
        timeout(limit, answer).await.map_err(late)?
    }

    /// As [`Frontend::call`], with the answer as the type that is expected.
    pub async fn call_as<T: DeserializeOwned>(
        &self,
        command: &str,
        params: &(impl Serialize + ?Sized),
        limit: Duration,
    ) -> Result<T, CallError> {
        let answer = self.call(command, params, limit).await?;
        parse(command, &answer)
    }

    /// Returns when the backend has hung up.
    pub async fn closed(&self) {
        // An error: the task that would tell is gone, so it has.
        let _ = self.0.gone.clone().wait_for(|&gone| gone).await;
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        // At once: the tasks, which hold the socket, end when the runtime comes to it. An error: the backend was first.
        let _ = shutdown(&*self.stream, Shutdown::Both);
        for task in &self.tasks {
            task.abort();
        }
    }
}

struct Leave<'a> {
    waiting: &'a Callers,
    id: u64,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        lock(self.waiting).leave(self.id);
    }
}

async fn write(stream: Arc<UnixStream>, mut queued: mpsc::Receiver<Vec<u8>>) {
    while let Some(call) = queued.recv().await {
        let mut rest = &call[..];
        while !rest.is_empty() {
            if stream.writable().await.is_err() {
                return;
            }
            match stream.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Whoever reads notices the end, and tells it.
                Err(_) => return,
            }
        }
    }
}

async fn read(stream: Arc<UnixStream>, waiting: Callers, told: mpsc::Sender<Event>, ended: watch::Sender<bool>) {
    let gone = CallError::Gone(read_until_the_end(&stream, &waiting, &told).await);
    let _ = shutdown(&*stream, Shutdown::Both);
    let left = lock(&waiting).end(gone.clone());
    for caller in left {
        let _ = caller.send(Err(gone.clone()));
    }
    ended.send_replace(true);
}

async fn read_until_the_end(
    stream: &UnixStream,
    waiting: &Callers,
    told: &mpsc::Sender<Event>,
) -> Option<ProtocolError> {
    let (mut decoder, mut chunk) = (Decoder::new(), vec![0; 16 * 1024]);
    loop {
        match decoder.next() {
            Ok(Some(Message::Answer(answer))) => {
                let caller = lock(waiting).leave(answer.id);
                // Late answers and invented ones are for nobody.
                let _ = caller.map(|caller| caller.send(answer.outcome.map_err(CallError::Refused)));
            }
            // Nobody takes them: so be it.
            Ok(Some(Message::Event(event))) => drop(told.send(event).await),
            Ok(Some(Message::Call(_))) => {}
            Ok(None) => {
                if stream.readable().await.is_err() {
                    return None;
                }
                match stream.try_read(&mut chunk) {
                    Ok(len @ 1..) => decoder.push(&chunk[..len]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return None,
                }
            }
            Err(error) => return Some(error),
        }
    }
}

fn lock<S>(waiting: &Mutex<Waiting<S>>) -> MutexGuard<'_, Waiting<S>> {
    waiting.lock().expect("nothing panics under this lock")
}
