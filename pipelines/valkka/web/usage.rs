//! What a process takes of the machine, as the kernel counts it.

use std::fs;

/// Time of the processor and memory of one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Seconds of processor time since it was started.
    pub cpu_seconds: f64,
    /// Memory in bytes; what it shares with others is counted to each of them in part (PSS), so that sums are right.
    pub pss_bytes: u64,
}

/// `None` if it has just ended, or is not ours to look at.
pub fn of(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(Usage { cpu_seconds: cpu_seconds(&stat)?, pss_bytes: pss_bytes(&rollup)? })
}

/// proc(5): fields 14 and 15 of `stat`, in clock ticks, of which Linux shows a hundred a second on every machine that
/// it shows anything to (`USER_HZ`). The second field is a name, which may hold blanks and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

fn pss_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_takes_something() {
        let usage = of(std::process::id()).expect("it runs");
        assert!(usage.pss_bytes > 100_000 && usage.cpu_seconds < 3600.0, "{usage:?}");
    }

    #[test]
    fn names_do_not_confuse() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 250 150 0 0 20 0 1 0 5 0 0";
        assert_eq!(cpu_seconds(stat), Some(4.0));
        assert_eq!(pss_bytes("Rss:    9 kB\nPss:      12 kB\nPss_Anon: 1 kB\n"), Some(12288));
    }
}
