//! Looks after a process from outside: whether it answers, and how much memory it has.

use std::{fs, future::pending, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::trace;
use valkka_command::{CallError, PING, asynchronous::Frontend};

const PERIOD: Duration = Duration::from_secs(3);
/// A process that begins may have to look through all plug-ins of the machine first.
const FIRST_ANSWER: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(10);

/// Returns when there is a reason to start the process again, with the reason.
///
/// `must_answer`: from the beginning. Others are held to it once they have answered: not every program speaks.
pub async fn watch(pid: u32, frontend: Option<Frontend>, must_answer: bool, memory_bytes: Option<u64>) -> String {
    tokio::select! {
        reason = ping(frontend, must_answer) => reason,
        reason = watch_memory(pid, memory_bytes) => reason,
    }
}

async fn ping(frontend: Option<Frontend>, must_answer: bool) -> String {
    let Some(frontend) = frontend else { return pending().await };
    let mut limit = FIRST_ANSWER;
    let mut held_to_it = must_answer;
    loop {
        match frontend.call(PING, &(), limit).await {
            // An error is an answer too.
            Ok(_) | Err(CallError::Refused(_)) => (held_to_it, limit) = (true, ANSWER),
            Err(CallError::TimedOut { .. }) if held_to_it => {
                return format!("it has not answered for {} seconds", limit.as_secs());
            }
            // Whoever hangs up ends by itself, or does not want to be asked.
            Err(CallError::Gone(problem)) => {
                trace!("no more pings: {problem:?}");
                return pending().await;
            }
            Err(_) => {}
        }
        sleep(PERIOD).await;
    }
}

async fn watch_memory(pid: u32, allowed: Option<u64>) -> String {
    let Some(allowed) = allowed else { return pending().await };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The kernel walks through all its pages for this: not on a thread that others wait for.
        let used = tokio::task::spawn_blocking(move || proportional_set_size(pid)).await.ok().flatten();
        if let Some(used) = used.filter(|used| *used > allowed) {
            let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
            return format!("it has {} MiB of memory, {} are allowed", megabytes(used), megabytes(allowed));
        }
    }
}

/// The memory that a process has for itself, and its share of what it has with others, in bytes. Address space does not count:
/// channels are sparse, and mapped by many.
pub fn proportional_set_size(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_much_memory_is_a_reason() {
        let own = std::process::id();
        assert!(proportional_set_size(own).is_some_and(|bytes| bytes > 100_000));
        let reason = watch(own, None, true, Some(100_000)).await;
        assert!(reason.contains("MiB"), "{reason}");
    }

    #[tokio::test]
    async fn who_hangs_up_is_left_alone_and_who_never_answered_too() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let (frontend, _events) = Frontend::new(ours).unwrap();
        drop(theirs);
        let watched = tokio::time::timeout(Duration::from_millis(200), watch(1, Some(frontend), false, None));
        assert!(watched.await.is_err());
    }
}
