//! How a process is stopped: one step after the other, each with its time, until it has ended.
//!
//! | step | limit | for whom |
//! | --- | --- | --- |
//! | command `eos` | 6 s | pipelines: what is under way is finished, files are complete |
//! | SIGINT | 3 s | `gst-launch-1.0` ends cleanly on this only |
//! | SIGTERM | 1 s | everybody else |
//! | SIGKILL | 5 s | who heeds nothing |
//!
//! A process that publishes channels and has a successor gets no end of stream, and no SIGINT, which means the same to
//! it: those who read its channels are to wait for that, not to end.

use std::{future::pending, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::Child,
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, warn};
use valkka_command::asynchronous::Frontend;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    EndOfStream,
    Signal(Signal),
}

const LADDER: [(Step, Duration); 4] = [
    (Step::EndOfStream, Duration::from_secs(6)),
    (Step::Signal(Signal::SIGINT), Duration::from_secs(3)),
    (Step::Signal(Signal::SIGTERM), Duration::from_secs(1)),
    (Step::Signal(Signal::SIGKILL), Duration::from_secs(5)),
];

/// A process that is to end.
pub struct Stop<'a> {
    pub name: &'a str,
    pub child: &'a mut Child,
    pub group: Pid,
    /// Of pipelines, that understand `eos`.
    pub frontend: Option<&'a Frontend>,
    /// Whether the end of its stream is meant for those who read it.
    pub ends_stream: bool,
}

impl Stop<'_> {
    /// Climbs down. `hurry` turns true when the user is tired of waiting: then there is one step, SIGKILL.
    pub async fn climb_down(self, hurry: &mut watch::Receiver<bool>) {
        let Self { name, child, group, frontend, ends_stream } = self;
        for (step, limit) in LADDER {
            let last = step == Step::Signal(Signal::SIGKILL);
            if (*hurry.borrow() && !last) || !takes(step, frontend, ends_stream) {
                continue;
            }
            let hurried = async {
                if last || hurry.wait_for(|&hurry| hurry).await.is_err() {
                    pending::<()>().await;
                }
            };
            // An answer is not waited for when the process is gone already.
            let taken = async {
                take(step, limit, group, frontend).await;
                pending::<()>().await;
            };
            tokio::select! {
                _ = child.wait() => return,
                () = taken => {}
                () = sleep(limit) => debug!("{name}: does not heed {step:?}"),
                () = hurried => {}
            }
        }
        warn!("{name}: cannot be killed; it is probably waiting for a device");
    }
}

fn takes(step: Step, frontend: Option<&Frontend>, ends_stream: bool) -> bool {
    match step {
        Step::EndOfStream => ends_stream && frontend.is_some(),
        Step::Signal(Signal::SIGINT) => ends_stream || frontend.is_none(),
        Step::Signal(_) => true,
    }
}

async fn take(step: Step, limit: Duration, group: Pid, frontend: Option<&Frontend>) {
    match (step, frontend) {
        (Step::EndOfStream, Some(frontend)) => {
            let _ = timeout(limit, frontend.call("eos", &(), limit)).await;
        }
        (Step::EndOfStream, None) => {}
        // ESRCH: it has just ended by itself.
        (Step::Signal(signal), _) => drop(killpg(group, signal)),
    }
}
