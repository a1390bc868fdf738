//! What a process may use, set by itself before it becomes its program ([`super::exec`]).

use std::{fs, io, path::Path};

use nix::sys::prctl;
use rustix::{
    process::{getpriority_process, setpriority_process},
    thread::{CpuSet, sched_setaffinity},
};

/// Makes this process nicer by `more`, as nice(1) does; less nice, where the system allows it.
pub fn nice(more: i32) -> io::Result<()> {
    let now = getpriority_process(None)?;
    Ok(setpriority_process(None, now.saturating_add(more).clamp(-20, 19))?)
}

/// From now on this process runs on these processors only.
pub fn processors(numbers: &[u16]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &number in numbers {
        if usize::from(number) >= CpuSet::MAX_CPU {
            return Err(io::Error::other(format!("there is no processor {number}")));
        }
        set.set(number.into());
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Puts this process into a control group.
pub fn join(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

/// From now on nothing that is executed gives more rights than this process has: no setuid, no file capabilities.
pub fn no_new_privileges() -> io::Result<()> {
    Ok(prctl::set_no_new_privs()?)
}
