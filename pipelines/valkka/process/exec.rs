//! `valkka exec`: what a child does between its birth and its own program.
//!
//! It asks for death when the orchestrator dies, however that happens, and becomes the program. Doing it in a program
//! of its own, not between fork and exec, takes no unsafe code; limits and sandboxing belong here too.

use std::{ffi::OsString, io, os::unix::process::CommandExt, process::Command};

use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getppid},
};

/// The argument that makes `valkka` behave as described here.
pub const SUBCOMMAND: &str = "exec";

/// Executes `program` in place of this process, bound to the life of `parent`. Returns only if that fails.
pub fn exec(parent: i32, program: &OsString, args: &[OsString]) -> io::Error {
    // SIGKILL, because a process that is stopped or hangs must end as well.
    if let Err(errno) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return errno.into();
    }
    // A parent that died before the request above sends nothing any more.
    if getppid() != Pid::from_raw(parent) {
        return io::Error::other("the orchestrator that started this process is gone");
    }
    Command::new(program).args(args).exec()
}
