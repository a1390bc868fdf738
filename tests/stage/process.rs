//! A child process in a group of its own, that ends with the test, and whose words can be read while it runs.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::{SOON, eventually_or};

/// A running child. Dropped, its whole process group is killed.
pub struct Process {
    child: Child,
    name: String,
    output: PathBuf,
    errors: PathBuf,
}

impl Process {
    /// Starts `command` with nothing on its input; what it prints goes to files in `folder`.
    ///
    /// It dies with the thread that started it, should the test end without unwinding.
    pub fn start(command: &Command, folder: &Path) -> Process {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = Path::new(command.get_program()).file_name().expect("a program has a name").to_string_lossy();
        let name = format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let output = folder.join(format!("{name}.out"));
        let errors = folder.join(format!("{name}.err"));

        let mut mortal = Command::new("setpriv");
        mortal.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => mortal.env(key, value),
                None => mortal.env_remove(key),
            };
        }
        if let Some(cwd) = command.get_current_dir() {
            mortal.current_dir(cwd);
        }
        let child = mortal
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(File::create(&output).expect("the test's folder is writable"))
            .stderr(File::create(&errors).expect("the test's folder is writable"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Process { child, name, output, errors }
    }

    /// The process id, which is the process group's too.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a pid fits"))
    }

    /// What it has printed up to now.
    pub fn output(&self) -> String {
        read(&self.output)
    }

    /// What it has complained about up to now.
    pub fn errors(&self) -> String {
        read(&self.errors)
    }

    /// Sends a signal to the process alone.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        signal::kill(self.pid(), signal).unwrap_or_else(|error| panic!("{} cannot get {signal}: {error}", self.name));
    }

    /// Kills it as a crash would: at once, without a chance to tidy up.
    pub fn crash(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(SOON);
    }

    /// Whether it runs still.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let Process { child, name, output, errors } = self;
        let complaint = || format!("{name} ends\n{}", words(output, errors));
        eventually_or(within, || child.try_wait().expect("a child can be waited for"), complaint)
    }

    /// Waits until it ends by itself, and well.
    #[track_caller]
    pub fn finish(&mut self, within: Duration) -> String {
        let status = self.wait(within);
        assert!(status.success(), "{} ended with {status}\n{}\n{}", self.name, self.output(), self.errors());
        self.output()
    }

    /// Waits until it ends by itself, and badly; what it said about that.
    #[track_caller]
    pub fn fail(&mut self, within: Duration) -> String {
        let status = self.wait(within);
        assert!(status.code().is_some_and(|code| code != 0), "{} ended with {status}\n{}", self.name, self.output());
        format!("{}{}", self.output(), self.errors())
    }

    /// Waits for a line of its output that contains `part`.
    #[track_caller]
    pub fn line(&self, part: &str, within: Duration) -> String {
        let look = || self.output().lines().find(|line| line.contains(part)).map(str::to_owned);
        eventually_or(within, look, || self.complaint(&format!("prints a line with `{part}`")))
    }

    /// Waits until all its output is as `fact` wants it, and returns it. `what` it was to do then.
    #[track_caller]
    pub fn until(&self, what: &str, within: Duration, fact: impl Fn(&str) -> bool) -> String {
        eventually_or(within, || Some(self.output()).filter(|output| fact(output)), || self.complaint(what))
    }

    /// Waits until it has printed `more` lines on top of those that it has printed before the call.
    #[track_caller]
    pub fn lines_more(&self, more: usize, within: Duration) {
        let before = self.output().lines().count();
        let look = || (self.output().lines().count() >= before + more).then_some(());
        eventually_or(within, look, || self.complaint(&format!("prints {more} lines on top of {before}")));
    }

    fn complaint(&self, what: &str) -> String {
        format!("{} {what}\n{}", self.name, words(&self.output, &self.errors))
    }

    /// A number from its `/proc` folder: open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Waits until it watches some folder.
    #[track_caller]
    pub fn watches(&self, within: Duration) {
        let infos = || fs::read_dir(format!("/proc/{}/fdinfo", self.pid())).into_iter().flatten().flatten();
        let look = || infos().any(|info| read(&info.path()).contains("inotify wd:")).then_some(());
        eventually_or(within, look, || self.complaint("watches a folder"));
    }

    /// A number from its `/proc` folder: its share of the memory that it has mapped, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap_or_default();
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kb| kb * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The group may be gone already, which is fine.
        let _ = signal::killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// The last words of a process, to be shown when a test fails.
fn words(output: &Path, errors: &Path) -> String {
    let tail = |text: String| {
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    };
    format!("--- output\n{}\n--- errors\n{}", tail(read(output)), tail(read(errors)))
}
