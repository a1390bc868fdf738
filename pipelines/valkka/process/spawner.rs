//! Starts children, all from one thread that lives as long as the orchestrator.
//!
//! The signal that a child gets when its parent dies is sent when the parent *thread* ends. Threads of an async
//! runtime come and go, this one stays.

use std::{io, sync::mpsc, thread};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

type Request = (Command, oneshot::Sender<io::Result<Child>>);

/// A handle to the thread; it ends with the last clone, and takes the children with it.
#[derive(Clone, Debug)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

impl Spawner {
    /// Starts the thread. Its children's ends are waited for by `runtime`.
    pub fn new(runtime: Handle) -> io::Result<Self> {
        let (requests, received) = mpsc::channel::<Request>();
        thread::Builder::new().name("spawner".into()).spawn(move || {
            let _entered = runtime.enter();
            for (mut command, answer) in received {
                // Nobody waits any more: the child is killed by its `kill_on_drop`.
                let _ = answer.send(command.kill_on_drop(true).spawn());
            }
        })?;
        Ok(Self { requests })
    }

    /// Starts `command` as a child of the spawner's thread.
    pub async fn spawn(&self, command: Command) -> io::Result<Child> {
        let ended = |_| io::Error::other("the thread that starts processes has ended");
        let (answer, answered) = oneshot::channel();
        self.requests.send((command, answer)).map_err(|_| ended(()))?;
        answered.await.map_err(|_| ended(()))?
    }
}
