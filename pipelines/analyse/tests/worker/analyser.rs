//! The program in a process of its own, which ends with the test.

use std::io::{BufRead, BufReader, pipe};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use valkka_command::Frontend;

use crate::{SOON, eventually, eventually_or};

/// A running `valkka-analyse`.
pub struct Analyser {
    child: Child,
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
}

impl Analyser {
    /// Starts it with the channels of `runtime_dir`.
    pub fn start(runtime_dir: &Path, args: &str) -> Self {
        Self::listen(command(runtime_dir, args))
    }

    /// Starts it with cameras as `--attach` takes them.
    pub fn start_with(runtime_dir: &Path, args: &[&str], attach: &[&Value]) -> Self {
        let mut command = command(runtime_dir, &args.join(" "));
        for camera in attach {
            command.arg("--attach").arg(camera.to_string());
        }
        Self::listen(command)
    }

    fn listen(command: Command) -> Self {
        let (out, stdout) = pipe().expect("there are descriptors left");
        let mut analyser = Self::spawn(command, stdout);
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        analyser.lines = lines;
        analyser
    }

    /// Starts it as a frontend does: with a socket for commands, and events instead of lines.
    pub fn start_commanded(runtime_dir: &Path, args: &str) -> (Self, Frontend) {
        let (ours, childs) = valkka_command::pair().expect("there are descriptors left");
        let (_, stdout) = pipe().expect("there are descriptors left");
        let mut command = command(runtime_dir, args);
        valkka_command::pass(&mut command, childs);
        let mut analyser = Self::spawn(command, stdout);
        let (sender, lines) = channel();
        let on_event = move |event: valkka_command::Event| {
            if event.name != "failed" {
                // A test that is over does not listen any more.
                let _ = sender.send(event.value.get().to_owned());
            }
        };
        analyser.lines = lines;
        (analyser, Frontend::new(ours, on_event).expect("a thread can be started"))
    }

    /// Starts it with a standard output of the test's.
    pub fn start_onto(runtime_dir: &Path, args: &str, stdout: impl Into<Stdio>) -> Self {
        Self::spawn(command(runtime_dir, args), stdout)
    }

    fn spawn(mut command: Command, stdout: impl Into<Stdio>) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo has built the program");
        let stderr = child.stderr.take().expect("asked for");
        let errors = Arc::new(Mutex::new(String::new()));
        let collected = errors.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                collected.lock().expect("no test panics with it").push_str(&(line + "\n"));
            }
        });
        Self { child, lines: channel().1, errors }
    }

    /// The next line about a frame.
    #[track_caller]
    pub fn line(&self) -> String {
        loop {
            let line = self.any_line();
            if !is_about_an_object(&line) {
                return line;
            }
        }
    }

    /// The next line about an object, parsed.
    #[track_caller]
    pub fn event(&self) -> Value {
        loop {
            let line = self.any_line();
            if is_about_an_object(&line) {
                return parse(&line);
            }
        }
    }

    /// The next line, parsed, whatever it is about.
    #[track_caller]
    pub fn any_message(&self) -> Value {
        parse(&self.any_line())
    }

    #[track_caller]
    fn any_line(&self) -> String {
        self.lines.recv_timeout(SOON).unwrap_or_else(|_| panic!("no line comes; it says:\n{}", self.errors()))
    }

    /// The next line about a frame, parsed.
    #[track_caller]
    pub fn message(&self) -> Value {
        parse(&self.line())
    }

    /// All lines that are left once it has ended.
    pub fn rest(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    /// What it has said on standard error.
    pub fn errors(&self) -> String {
        self.errors.lock().expect("no test panics with it").clone()
    }

    /// Waits until it has said `part` on standard error.
    #[track_caller]
    pub fn says(&self, part: &str) {
        eventually_or(
            || self.errors().contains(part).then_some(()),
            || format!("it says {part:?}:\n{}", self.errors()),
        );
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it was not waited for yet");
    }

    /// Waits until it ends.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        eventually("the analyser ends", || self.child.try_wait().expect("a child can be waited for"))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a process id fits"))
    }
}

fn command(runtime_dir: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_valkka-analyse"));
    command.args(args.split_whitespace()).env("VALKKA_RUNTIME_DIR", runtime_dir);
    command.env_remove("VALKKA_CONTROL").env_remove(valkka_command::ENVIRONMENT);
    command
}

/// Life cycles are told between frames.
pub fn is_about_an_object(json: &str) -> bool {
    parse(json)["after"].is_object()
}

#[track_caller]
fn parse(json: &str) -> Value {
    let message = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    crate::schema::validate(&message);
    message
}

impl Drop for Analyser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
