//! The command that starts a process, and the socket between it and the orchestrator.

use std::{
    env,
    fs::File,
    io::{self, Seek, Write},
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::memfd::{MFdFlags, memfd_create};
use tokio::{process::Command, sync::mpsc};
use valkka_command::{Event, asynchronous::Frontend};

use super::{
    Spec,
    exec::{self, OURSELVES},
};
use crate::{mask::mask, pipeline, plan::STARTED};

/// The orchestrator's end.
pub struct Link {
    pub frontend: Frontend,
    pub events: mpsc::Receiver<Event>,
}

/// The numbers under which a child finds what it inherits.
const COMMANDS: i32 = 3;
const DESCRIPTION: i32 = 4;

/// A process by way of `valkka exec`, in a group of its own: Ctrl-C at the terminal reaches the orchestrator only.
/// It joins `cgroup`, if there is one.
pub fn command(spec: &Spec, cgroup: Option<&Path>) -> io::Result<(Command, Option<Link>)> {
    let mut command = Command::new(OURSELVES);
    command.arg0("valkka").arg(exec::SUBCOMMAND);
    command.arg("--parent").arg(std::process::id().to_string());
    prepare(&mut command, spec, cgroup);
    // A secret that came to us by the environment is nobody else's business.
    for (name, value) in env::vars_os() {
        let text = value.to_string_lossy();
        if mask(&text) != text {
            command.env_remove(name);
        }
    }
    if spec.setup.sandbox.is_some() {
        // GLib looks for proxy settings where the sandbox lets nobody write, and complains at each connection.
        command.env("GSETTINGS_BACKEND", "memory");
    }
    command.envs(spec.env.iter().map(|(key, value)| (key, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Here rather than in `exec`, so that the group exists before anybody can send a signal to it.
    command.process_group(0);
    command.arg("--");
    let mut inherited = Vec::new();
    match &spec.setup.description {
        None => {
            command.arg(&spec.program).args(dated(&spec.args));
        }
        Some(description) => {
            let place = DESCRIPTION.to_string();
            command.args([OURSELVES, "pipeline", "--descriptor", &place]);
            inherited.push(FdMapping { parent_fd: in_memory(&dated(description))?, child_fd: DESCRIPTION });
        }
    }
    let link = if spec.takes_commands() {
        let (ours, childs) = valkka_command::pair()?;
        inherited.push(FdMapping { parent_fd: childs, child_fd: COMMANDS });
        command.env(valkka_command::ENVIRONMENT, COMMANDS.to_string());
        let (frontend, events) = Frontend::new(ours)?;
        Some(Link { frontend, events })
    } else {
        command.env_remove(valkka_command::ENVIRONMENT);
        None
    };
    command.fd_mappings(inherited).expect("the numbers differ");
    Ok((command, link))
}

fn prepare(command: &mut Command, spec: &Spec, cgroup: Option<&Path>) {
    let limit = &spec.setup.limit;
    if let Some(nice) = limit.nice {
        command.arg(format!("--nice={nice}"));
    }
    if let Some(cpus) = &limit.cpus {
        let cpus: Vec<_> = cpus.iter().map(u16::to_string).collect();
        command.arg(format!("--cpus={}", cpus.join(",")));
    }
    if let Some(group) = cgroup {
        command.arg("--cgroup").arg(group);
    }
    if let Some(sandbox) = &spec.setup.sandbox {
        command.arg("--sandbox").args(sandbox.to_args());
    }
}

/// The words with the time of this very start where it belongs.
fn dated(words: &[String]) -> Vec<String> {
    let now = gst::glib::DateTime::now_local().and_then(|now| now.format("%Y%m%dT%H%M%S"));
    let now = now.map(|now| now.to_string()).unwrap_or_default();
    words.iter().map(|word| word.replace(STARTED, &now)).collect()
}

/// A description where only the child sees it.
fn in_memory(description: &[String]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("description", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&pipeline::description::to_bytes(description))?;
    file.rewind()?;
    Ok(file.into())
}
