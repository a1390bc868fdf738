//! Commands that are called when a process starts, and before it is stopped.
//!
//! Start hooks run in their order, one after the other, each after the answer to the one before, as soon as the process answers:
//! at every start, also after a crash, so that a backend always knows what it was told. One that fails is told, and the rest go on.
//! Stop hooks run in their order before the first step of the stop ladder, as long as the process answers in time.

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    pub command: String,
    pub params: Value,
}

/// What is called when, each list in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookLists {
    pub start: Vec<Hook>,
    pub stop: Vec<Hook>,
}

/// The hooks of a process. Clones share them: what is changed counts from the next start on.
#[derive(Clone, Debug, Default)]
pub struct Hooks(Arc<Mutex<HookLists>>);

impl Hooks {
    pub fn new(lists: HookLists) -> Self {
        Self(Arc::new(Mutex::new(lists)))
    }

    /// What is called at the next start.
    pub fn set_start(&self, start: Vec<Hook>) {
        self.0.lock().expect("nothing panics under this lock").start = start;
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
            match frontend.call(&hook.command, &hook.params, STOP_LIMIT).await {
                Ok(_) => debug!("{process}: {} before the stop", hook.command),
                Err(CallError::Gone(_)) => return,
                Err(error @ CallError::TimedOut { .. }) => {
                    warn!("{process}: {} before the stop: {error}", hook.command);
                    return;
                }
                Err(error) => warn!("{process}: {} before the stop: {error}", hook.command),
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
        let hooks = Hooks::new(HookLists { start: Vec::new(), stop: vec![say("no"), say("bye")] });
        hooks.set_start(vec![say("one"), say("no"), say("two")]);
        hooks.start("worker", &frontend).await;
        hooks.stop("worker", &frontend).await;
        drop(frontend);
        assert_eq!(served.await.unwrap(), ["one", "no", "two", "no", "bye"]);
    }
}
