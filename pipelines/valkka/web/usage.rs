//! What processes take of the machine, as the kernel counts it: written on the board from time to time.

use std::{
    collections::HashMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::events::ended;
use crate::status::Board;

/// For PSS the kernel walks through all pages of a process: a millisecond for each that runs a pipeline.
const PERIOD: Duration = Duration::from_secs(5);

/// What one process takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Of one processor, since the last look; unknown at the first.
    pub cpu_percent: Option<f64>,
    /// Memory; what it shares with others is counted to each of them in part (PSS), so that sums are right.
    pub pss_bytes: u64,
}

/// Measures all processes of the board until `ending`.
pub async fn measure(board: Arc<Board>, ending: watch::Receiver<bool>) {
    let mut periods = interval(PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: HashMap<u32, (Instant, f64)> = HashMap::new();
    loop {
        tokio::select! {
            _ = periods.tick() => {}
            () = ended(ending.clone()) => return,
        }
        let pids = board.pids();
        let look =
            move || pids.into_iter().filter_map(|pid| Some((pid, cpu_seconds(pid)?, pss_bytes(pid)?, Instant::now())));
        let Ok(seen) = spawn_blocking(move || look().collect::<Vec<_>>()).await else { return };
        let usage = |&(pid, cpu, pss_bytes, now): &(u32, f64, u64, Instant)| {
            let spent = before.get(&pid).map(|(then, was)| 100.0 * (cpu - was) / (now - *then).as_secs_f64());
            (pid, Usage { cpu_percent: spent.map(|percent| (percent.max(0.0) * 10.0).round() / 10.0), pss_bytes })
        };
        board.measured(&seen.iter().map(usage).collect());
        before = seen.into_iter().map(|(pid, cpu, _, now)| (pid, (now, cpu))).collect();
    }
}

/// Processor time since it was started; `None` if it has just ended.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    cpu_seconds_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn pss_bytes(pid: u32) -> Option<u64> {
    pss_bytes_in(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

/// proc(5): fields 14 and 15 of `stat`, in clock ticks, of which Linux shows a hundred a second on every machine that
/// it shows anything to (`USER_HZ`). The second field is a name, which may hold blanks and parentheses.
fn cpu_seconds_in(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

fn pss_bytes_in(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_takes_something() {
        let this = std::process::id();
        assert!(pss_bytes(this).is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_seconds(this).is_some_and(|seconds| seconds < 3600.0));
    }

    #[test]
    fn names_do_not_confuse() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 250 150 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_seconds_in(stat), Some(4.0));
        assert_eq!(pss_bytes_in("Rss:    9 kB\nPss:      12 kB\nPss_Anon: 1 kB\n"), Some(12288));
    }
}
