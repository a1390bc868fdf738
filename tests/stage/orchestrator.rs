//! A running `valkka`, and what it tells the world.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::{Error, WebSocket, client, http::Uri};

use super::{Process, Runtime, SOON};

/// The orchestrator with all that it has started.
pub struct Orchestrator {
    /// Its process.
    pub process: Process,
    /// Its page.
    pub address: String,
    /// The folder of its channels.
    pub channels: PathBuf,
}

/// Starting asks GStreamer for its plug-ins, opens cameras, and may have to wait for a processor.
const START: Duration = Duration::from_secs(60);

impl Orchestrator {
    /// Starts `valkka ARGUMENTS` on a free port, and waits until its page can be opened.
    pub fn start(runtime: &Runtime, arguments: &[&str]) -> Orchestrator {
        let mut command = runtime.command("valkka");
        command.args(arguments).args(["--listen", "127.0.0.1:0"]);
        let process = runtime.start(&command);
        let word = |line: String| line.rsplit(' ').next().expect("a line has words").to_owned();
        let address = word(process.line("Valkka is at http", START));
        let channels = word(process.line("Channels are in ", SOON)).into();
        Orchestrator { process, address, channels }
    }

    /// Address and port of its page.
    pub fn host(&self) -> String {
        let (_, host) = self.address.split_once("://").expect("an address has a scheme");
        host.trim_end_matches('/').to_owned()
    }

    /// What it tells from now on: the first is a `status`.
    pub fn events(&self, only: &str) -> Events {
        let host = self.host();
        let stream = TcpStream::connect(&host).expect("the page's port is open");
        stream.set_read_timeout(Some(SOON)).expect("a socket has a time limit");
        let uri: Uri = format!("ws://{host}/api/events?only={only}").parse().expect("an address");
        let (socket, _) = client(uri, stream).expect("events are a WebSocket");
        Events { socket }
    }

    /// Its state now, as `/api/status` says.
    pub fn status(&self) -> Value {
        self.events("status").next("status")
    }

    /// The process of that name.
    #[track_caller]
    pub fn process(&self, name: &str) -> Value {
        let status = self.status();
        let found = status["processes"].as_array().and_then(|all| all.iter().find(|process| process["name"] == name));
        found.unwrap_or_else(|| panic!("no process {name} in {status}")).clone()
    }

    /// Waits until every camera is live.
    #[track_caller]
    pub fn live(&self, within: Duration) {
        let (mut events, deadline) = (self.events("status"), Instant::now() + within);
        loop {
            let status = events.next("status");
            let cameras = status["cameras"].as_array().expect("a status has cameras");
            if cameras.iter().all(|camera| camera["state"] == "live") {
                return;
            }
            assert!(Instant::now() < deadline, "not live: {status}\n{}", self.process.errors());
        }
    }
}

/// A subscription to `/api/events`.
pub struct Events {
    socket: WebSocket<TcpStream>,
}

impl Events {
    /// The next event of that type.
    #[track_caller]
    pub fn next(&mut self, kind: &str) -> Value {
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) => panic!("no {kind} within {SOON:?}: {error}"),
                Err(error) => panic!("events ended: {error}"),
            };
            let Ok(text) = message.to_text() else { continue };
            match serde_json::from_str::<Value>(text) {
                Ok(mut event) if event["type"] == kind => return event["value"].take(),
                _ => {}
            }
        }
    }
}
