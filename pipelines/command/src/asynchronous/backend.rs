//! The end that runs commands, as a task.

use std::{collections::VecDeque, io, sync::Arc};

use tokio::net::UnixStream;

use crate::{
    backend::{Closed, PendingCall, sort_calls},
    framing::Decoder,
    handlers::Handlers,
    inherited::{InheritedError, inherit},
    outbox::{Events, Outbox},
};

/// As [`crate::Backend`], for async programs. `ping` is answered whenever calls are awaited.
#[derive(Debug)]
pub struct Backend {
    stream: UnixStream,
    decoder: Decoder,
    calls: VecDeque<PendingCall>,
    outbox: Arc<Outbox>,
}

impl Backend {
    /// The backend of whoever has started this process, or `None` if it expects none. To be asked once, within a runtime.
    pub fn inherited() -> Result<Option<Self>, InheritedError> {
        let unusable = |source| InheritedError::Unusable { number: -1, source };
        inherit()?.map(|stream| Self::new(stream).map_err(unusable)).transpose()
    }

    /// A backend on this end of a socket pair.
    pub fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let outbox = Outbox::start(stream.try_clone()?)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { stream, decoder: Decoder::new(), calls: VecDeque::new(), outbox })
    }

    /// The way for events, for this and other tasks and threads.
    pub fn events(&self) -> Events {
        Events(self.outbox.clone())
    }

    /// The next call. May be cancelled: no call is lost.
    pub async fn receive(&mut self) -> Result<PendingCall, Closed> {
        let io = |error: io::Error| Closed::Io(error.to_string());
        loop {
            if let Some(call) = self.calls.pop_front() {
                return Ok(call);
            }
            self.stream.readable().await.map_err(io)?;
            let decoder = &mut self.decoder;
            match self.stream.try_io(tokio::io::Interest::READABLE, || decoder.read(&mut TryRead(&self.stream))) {
                Ok(0) => return Err(Closed::HungUp),
                Ok(_) => {
                    let calls = &mut self.calls;
                    sort_calls(&mut self.decoder, &self.outbox, |call| calls.push_back(call))
                        .map_err(Closed::Protocol)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(Closed::HungUp),
                Err(error) => return Err(io(error)),
            }
        }
    }

    /// Runs `handlers` until the frontend hangs up, which is a good end.
    pub async fn serve<S>(&mut self, handlers: &mut Handlers<S>, state: &mut S) -> Result<(), Closed> {
        loop {
            match self.receive().await {
                Ok(call) => handlers.run(state, call),
                Err(Closed::HungUp) => return Ok(()),
                Err(closed) => return Err(closed),
            }
        }
    }
}

/// Reads what is there, as [`Decoder::read`] wants it.
struct TryRead<'a>(&'a UnixStream);

impl io::Read for TryRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self.0, buffer, rustix::net::RecvFlags::DONTWAIT)?.0)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.calls.clear();
        self.outbox.close();
    }
}
