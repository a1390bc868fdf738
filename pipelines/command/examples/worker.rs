//! A worker: it counts, tells each change as an event, and can be asked to fail, to be slow and to die.
//!
//! ```text
//! cargo run -p valkka-command --example worker      without a frontend it says so, and ends
//! ```
//!
//! Under the orchestrator: a `[[workers]]` entry names the program, `valkka call NAME add '{"number":5}'` calls it.

use std::{process::ExitCode, thread, time::Duration};

use serde::Deserialize;
use valkka_command::{Backend, Events, Handlers};

#[derive(Deserialize)]
struct Add {
    number: i64,
}

#[derive(Deserialize)]
struct Sleep {
    ms: u64,
}

struct Counter {
    sum: i64,
    events: Events,
}

fn main() -> ExitCode {
    let mut backend = match Backend::inherited() {
        Ok(Some(backend)) => backend,
        Ok(None) => {
            eprintln!("nobody gives commands: {} is not set", valkka_command::ENVIRONMENT);
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut counter = Counter { sum: 0, events: backend.events() };
    match backend.serve(&mut handlers(), &mut counter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(closed) => {
            eprintln!("{closed}");
            ExitCode::FAILURE
        }
    }
}

fn handlers() -> Handlers<Counter> {
    let mut handlers = Handlers::new();
    handlers.on("add", |counter: &mut Counter, add: Add| {
        counter.sum = counter.sum.checked_add(add.number).ok_or("the sum is too large")?;
        counter.events.send("sum", &counter.sum).map_err(|_| "nobody hears the sum")?;
        Ok::<_, &str>(counter.sum)
    });
    handlers.on("sleep", |_: &mut Counter, sleep: Sleep| {
        thread::sleep(Duration::from_millis(sleep.ms));
        Ok::<_, &str>(())
    });
    handlers.on("die", |_: &mut Counter, (): ()| -> Result<(), &str> { std::process::abort() });
    handlers
}
