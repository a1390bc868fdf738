//! Commands that are called when a process starts, and before it is stopped.
//!
//! Start hooks run in their order, one after the other, each after the answer to the one before, as soon as the process answers:
//! at every start, also after a crash, so that a backend always knows what it was told. One that fails is told, and the rest go on.
//! Stop hooks run in their order before the first step of the stop ladder, if the process answers in time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tracing::{debug, warn};
use valkka_command::{CallError, PING, asynchronous::Frontend};

/// A start may have to load a model.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// A command with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    pub command: String,
    pub params: Value,
}

/// The hooks of a process. Clones share them: what is changed counts from the next start on.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Arc<Mutex<Lists>>);

#[derive(Debug, Default)]
struct Lists {
    start: Vec<Hook>,
    stop: Vec<Hook>,
}

impl Hooks {
    /// What is called at the next start.
    pub fn set_start(&self, start: Vec<Hook>) {
        self.0.lock().expect("nothing panics under this lock").start = start;
    }

    /// What is called before the next stop.
    #[cfg(test)]
    fn set_stop(&self, stop: Vec<Hook>) {
        self.0.lock().expect("nothing panics under this lock").stop = stop;
    }

    /// Calls the start hooks. Waits for the process to answer first.
    pub async fn start(&self, process: &str, frontend: &Frontend) {
        let start = self.0.lock().expect("nothing panics under this lock").start.clone();
        if start.is_empty() {
            return;
        }
        // An error is an answer: it does what it is told.
        if let Err(CallError::Gone(_) | CallError::TimedOut { .. }) = frontend.call(PING, &(), START_LIMIT * 2).await {
            return;
        }
        for hook in start {
            match frontend.call(&hook.command, &hook.params, START_LIMIT).await {
                Ok(_) => debug!("{process}: {} at the start", hook.command),
                Err(CallError::Gone(_)) => return,
                Err(error) => warn!("{process}: {} at the start: {error}", hook.command),
            }
        }
    }

    /// Calls the stop hooks.
    pub async fn stop(&self, process: &str, frontend: &Frontend) {
        let stop = self.0.lock().expect("nothing panics under this lock").stop.clone();
        for hook in stop {
            if let Err(error) = frontend.call(&hook.command, &hook.params, STOP_LIMIT).await {
                debug!("{process}: {} before the stop: {error}", hook.command);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use serde_json::json;
    use valkka_command::{Handlers, asynchronous::Backend};

    use super::*;

    #[tokio::test]
    async fn hooks_run_in_their_order_and_one_that_fails_stops_no_other() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (frontend, _events) = Frontend::new(ours).unwrap();
        let mut backend = Backend::new(theirs).unwrap();
        let served = tokio::spawn(async move {
            let (mut handlers, mut heard) = (Handlers::new(), Vec::new());
            handlers.on("say", |heard: &mut Vec<String>, word: String| {
                heard.push(word.clone());
                if word == "no" { Err("I do not say that") } else { Ok(()) }
            });
            backend.serve(&mut handlers, &mut heard).await.unwrap();
            heard
        });
        let say = |word: &str| Hook { command: "say".to_owned(), params: json!(word) };
        let hooks = Hooks::default();
        hooks.set_start(vec![say("one"), say("no"), say("two")]);
        hooks.set_stop(vec![say("bye")]);
        hooks.start("worker", &frontend).await;
        hooks.stop("worker", &frontend).await;
        drop(frontend);
        assert_eq!(served.await.unwrap(), ["one", "no", "two", "bye"]);
    }
}
