//! `valkka exec`: what a child does between its birth and its own program.
//!
//! It asks for death when the orchestrator dies, however that happens, takes the limits upon itself that it was given,
//! and becomes the program. Doing it in a program of its own, not between fork and exec, takes no unsafe code.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Error, Result, bail};
use nix::{
    sys::{prctl, signal::Signal},
    unistd::{Pid, getppid},
};

use super::{limits, sandbox::Sandbox};

/// The argument that makes `valkka` behave as described here.
pub const SUBCOMMAND: &str = "exec";

/// This very binary, even if it has been replaced on disk since.
pub const OURSELVES: &str = "/proc/self/exe";

/// What a child is to do before it becomes its program.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Preparation {
    /// Die when this process does
    #[arg(long)]
    pub parent: i32,
    /// Be nicer by so much
    #[arg(long, allow_negative_numbers = true)]
    pub nice: Option<i32>,
    /// Run on these processors only
    #[arg(long, value_delimiter = ',')]
    pub cpus: Vec<u16>,
    /// Join this control group
    #[arg(long)]
    pub cgroup: Option<PathBuf>,
    /// Touch no files but those that pipelines need
    #[arg(long)]
    pub sandbox: bool,
    /// In the sandbox: read this as well
    #[arg(long)]
    pub may_read: Vec<PathBuf>,
    /// In the sandbox: write this as well
    #[arg(long)]
    pub may_write: Vec<PathBuf>,
}

/// Executes `program` in place of this process, as `preparation` says. Returns only if that fails.
pub fn exec(preparation: Preparation, program: &OsString, args: &[OsString]) -> Error {
    if let Err(error) = prepare(preparation) {
        return error;
    }
    let mut command = Command::new(program);
    if Path::new(program) == Path::new(OURSELVES) {
        command.arg0("valkka");
    }
    command.args(args).exec().into()
}

fn prepare(preparation: Preparation) -> Result<()> {
    // SIGKILL, because a process that is stopped or hangs must end as well.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // A parent that died before the request above sends nothing any more.
    if getppid() != Pid::from_raw(preparation.parent) {
        bail!("the orchestrator that started this process is gone");
    }
    let Preparation { nice, cpus, cgroup, sandbox, may_read, may_write, .. } = preparation;
    if let Some(cgroup) = cgroup {
        limits::join(&cgroup).with_context(|| format!("control group {}", cgroup.display()))?;
    }
    if let Some(nice) = nice {
        limits::nice(nice).with_context(|| format!("nice {nice}: less than 0 is for root"))?;
    }
    if !cpus.is_empty() {
        limits::processors(&cpus).with_context(|| format!("cpus {cpus:?}"))?;
    }
    limits::no_new_privileges()?;
    if sandbox && !(Sandbox { read: may_read, write: may_write }).enter().context("sandbox")? {
        eprintln!("WARNING: this kernel knows no landlock: the pipeline runs without a sandbox");
    }
    Ok(())
}
