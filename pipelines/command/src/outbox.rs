//! What a backend has to say, on its way to the socket.
//!
//! A thread of its own writes, so that whoever has something to say never waits for the frontend to read. What waits is bounded:
//! past [`EVENT_BYTES`] events are dropped and counted, past [`ALL_BYTES`] the frontend has given up reading and the
//! conversation ends.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;

use crate::{
    framing::{ProtocolError, encode},
    message::{Answer, Event, Message},
};

/// Events wait as long as not more than this waits.
const EVENT_BYTES: usize = 4 << 20;
/// Answers wait as long as not more than this waits.
const ALL_BYTES: usize = 32 << 20;
/// What is still to be said when the backend ends gets this much time.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Tells events to the frontend, from any thread. Clones share one way out.
#[derive(Debug, Clone)]
pub struct Events(pub(crate) Arc<Outbox>);

/// Why an event was not told.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// The frontend is slow, or stands still. What has been dropped up to now is counted.
    #[error("the frontend does not keep up: {dropped} events dropped")]
    Dropped {
        /// Since the beginning.
        dropped: u64,
    },
    /// Nobody is there to be told.
    #[error("the frontend has ended")]
    Closed,
    /// A value that cannot be written as JSON, or a message that is too long.
    #[error("the event cannot be told: {0}")]
    Unfit(String),
}

impl Events {
    /// Tells an event. Never waits.
    pub fn send(&self, name: &str, value: &(impl Serialize + ?Sized)) -> Result<(), EventError> {
        let unfit = |error: &dyn std::fmt::Display| EventError::Unfit(error.to_string());
        let event = Event::new(name, value).map_err(|error| unfit(&error))?;
        let bytes = encode(&Message::Event(event)).map_err(|error| unfit(&error))?;
        self.0.push_event(bytes)
    }
}

#[derive(Debug)]
pub(crate) struct Outbox {
    stream: UnixStream,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Vec<u8>>,
    /// Of all messages, that in the writer's hands included.
    bytes: usize,
    dropped: u64,
    closed: bool,
}

impl Outbox {
    /// Starts the thread that writes to `stream`. It ends when the frontend hangs up, or by [`Outbox::close`].
    pub fn start(stream: UnixStream) -> io::Result<Arc<Self>> {
        let outbox = Arc::new(Self { stream, queue: Mutex::default(), changed: Condvar::new() });
        let writer = outbox.clone();
        thread::Builder::new().name("commands".into()).spawn(move || writer.write())?;
        Ok(outbox)
    }

    /// Sends an answer. One that is too long becomes an error that says so.
    pub fn answer(&self, answer: Answer) {
        let id = answer.id;
        let bytes = encode(&Message::Answer(answer)).or_else(|error: ProtocolError| {
            encode(&Message::Answer(Answer { id, outcome: Err(format!("the answer cannot be sent: {error}")) }))
        });
        let bytes = bytes.expect("a short message can be encoded");
        let mut queue = self.lock();
        if queue.bytes + bytes.len() > ALL_BYTES {
            drop(queue);
            self.hang_up();
            return;
        }
        queue.push(bytes);
        self.changed.notify_all();
    }

    pub fn push_event(&self, bytes: Vec<u8>) -> Result<(), EventError> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(EventError::Closed);
        }
        if queue.bytes + bytes.len() > EVENT_BYTES {
            queue.dropped += 1;
            return Err(EventError::Dropped { dropped: queue.dropped });
        }
        queue.push(bytes);
        self.changed.notify_all();
        Ok(())
    }

    /// Ends the conversation: what is waiting goes out first, if the frontend takes it in time.
    pub fn close(&self) {
        let queue = self.lock();
        let busy = |queue: &mut Queue| queue.bytes > 0 && !queue.closed;
        drop(self.changed.wait_timeout_while(queue, LAST_WORDS, busy));
        self.hang_up();
    }

    fn hang_up(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        // Wakes the writer, and whoever reads. An error: the other side was first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn write(&self) {
        loop {
            let queue = self.lock();
            let idle = |queue: &mut Queue| queue.messages.is_empty() && !queue.closed;
            let mut queue = self.changed.wait_while(queue, idle).expect("nothing panics under this lock");
            if queue.closed {
                return;
            }
            let message = queue.messages.pop_front().expect("the wait has ended because there is one");
            drop(queue);
            if self.write_all(&message).is_err() {
                self.hang_up();
                return;
            }
            self.lock().bytes -= message.len();
            self.changed.notify_all();
        }
    }

    /// The socket does not block, since its other users do not want to wait: then this thread waits until it takes more.
    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match (&self.stream).write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_once(&self.stream, PollFlags::OUT)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics under this lock")
    }
}

impl Queue {
    fn push(&mut self, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.messages.push_back(bytes);
    }
}

/// Waits, without a limit, until the socket is ready; a hang-up is readiness as well.
pub(crate) fn poll_once(stream: &UnixStream, flags: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(stream, flags)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
