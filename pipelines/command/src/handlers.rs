//! Which function runs which command.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::backend::{PendingCall, Refusal};

type Run<S> = Box<dyn FnMut(&mut S, &PendingCall) -> Result<Box<RawValue>, Refusal> + Send>;

/// Functions by the names of their commands, on a state `S` that they share.
///
/// `commands` is one of them: it answers the names of all.
pub struct Handlers<S>(BTreeMap<&'static str, Run<S>>);

/// The command that tells which there are.
const COMMANDS: &str = "commands";

impl<S> Handlers<S> {
    /// None yet.
    pub fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Has `run` run the command of that name. Its parameters are checked by their type; its error is text for the caller.
    pub fn on<P, R, E>(
        &mut self,
        command: &'static str,
        mut run: impl FnMut(&mut S, P) -> Result<R, E> + Send + 'static,
    ) where
        P: DeserializeOwned,
        R: Serialize,
        E: fmt::Display,
    {
        let run = move |state: &mut S, call: &PendingCall| {
            let result = run(state, call.params()?).map_err(|error| Refusal(error.to_string()))?;
            to_raw_value(&result).map_err(|error| Refusal(format!("the result cannot be told: {error}")))
        };
        self.0.insert(command, Box::new(run));
    }

    /// Runs a call and answers it.
    pub fn run(&mut self, state: &mut S, call: PendingCall) {
        let outcome = match self.0.get_mut(call.command()) {
            Some(run) => run(state, &call),
            None if call.command() == COMMANDS => {
                to_raw_value(&self.names()).map_err(|error| Refusal(error.to_string()))
            }
            None => {
                Err(Refusal(format!("there is no command {:?}; there are {}", call.command(), self.names().join(", "))))
            }
        };
        call.answer(outcome);
    }

    /// Names of all commands, those that every backend has included.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.keys().copied().chain([COMMANDS, crate::PING]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl<S> Default for Handlers<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Handlers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handlers").field(&self.names()).finish()
    }
}
