//! A guide in Markdown whose commands are run as a reader would who pastes them into two terminals.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::runtime::{CHECKOUT, PROGRAMS};
use super::{Process, Runtime};

/// The commands of a guide, in their order.
pub struct Guide {
    steps: Vec<String>,
    /// The port that its commands serve on: a free one in place of the guide's 8080.
    pub port: u16,
}

impl Guide {
    /// Takes the shell commands that follow a line with **Terminal N**, below `heading`.
    pub fn read(path: &Path, heading: &str) -> Guide {
        let text = fs::read_to_string(CHECKOUT.join(path)).expect("the guide is in the checkout");
        let below = text.split_once(heading).unwrap_or_else(|| panic!("no {heading} in {}", path.display())).1;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let commands = below.split("**Terminal ").skip(1).map(|step| {
            let block = step
                .split_once("```sh\n")
                .and_then(|(_, rest)| rest.split_once("```"))
                .expect("a terminal has commands")
                .0;
            // A machine that runs tests has no screen, and its port 8080 may be taken.
            block.replace("autovideosink", "fakesink").replace("8080", &port.to_string())
        });
        Guide { steps: commands.collect(), port }
    }

    /// How many times the reader is to paste.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Pastes step `index` into a terminal: a process that runs until it is dropped.
    pub fn paste(&self, runtime: &Runtime, index: usize) -> Process {
        let mut shell = runtime.command("bash");
        // The tests' build, in place of another one.
        let profile = PROGRAMS.file_name().expect("programs are in a folder of cargo's");
        shell.args(["-ec", &self.steps[index]]).current_dir(&*CHECKOUT).env("PROFILE", profile);
        // What cargo tells its tests is not for the cargo that they start.
        let told = std::env::vars_os().map(|(name, _)| name);
        for name in told.filter(|name| name.to_string_lossy().starts_with("CARGO_PKG_")) {
            shell.env_remove(name);
        }
        runtime.start(&shell)
    }
}
