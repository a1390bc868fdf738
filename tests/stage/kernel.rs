//! What the kernel knows about shared memory: what has a name, and so may outlive its processes, and what has none.

use std::collections::BTreeSet;
use std::fs;

use nix::unistd::Pid;

/// The names in /dev/shm now.
pub fn named_memory() -> BTreeSet<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// How many pieces of anonymous shared memory (memfd) a process has open or mapped.
pub fn anonymous_memory(pid: Pid) -> usize {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    let open = targets.filter(|target| target.to_string_lossy().starts_with("/memfd:")).count();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    open + maps.lines().filter(|line| line.contains("/memfd:")).count()
}

/// What a process has written for itself, in bytes. Not its share of what it has with others: that grows when others end.
pub fn private_memory(pid: Pid) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib * 1024)
}
