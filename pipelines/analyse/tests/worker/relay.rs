//! camera → client → master → client → camera, with several clients on one master. Cameras are writers of this process, clients
//! are relays of GStreamer, the master is the analyser; clients come, go and are killed.
//!
//! An answer that comes back names the camera's frame, and has its channel time, which relays keep. Each camera shows its square in
//! a row of its own: an answer to another camera's picture has its box in the wrong place.

use std::collections::HashMap;
use std::path::Path;
use std::process::Child;
use std::time::Instant;

use frame_ring::FrameId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::analyser::{Analyser, is_about_an_object};
use crate::camera::{Camera, HEIGHT, SQUARE, WIDTH, picture};
use crate::pipeline::launch;
use crate::{SOON, eventually, runtime_dir};

/// Answers that are counted in all.
const WANTED: usize = 1000;

/// Pixels between the rows of two cameras.
const ROW: usize = 60;

/// A relay as `pipelines/templates/relay.launch` has it. Killed at its drop, like a crash.
struct Client(Child);

impl Client {
    fn start(folder: &Path, camera: &str) -> Self {
        let source = format!("valkkashmsrc channel={camera}.rgb policy=latest forward-eos=false");
        let crop = "videocrop left=2 right=0";
        let sink = format!("valkkashmsink channel={camera}.relay sync=false async=false");
        Self(launch(folder, &format!("{source} ! {crop} ! {sink}"), &format!("{camera}.relay.err")))
    }

    /// Ends it as Ctrl-C does.
    fn end(mut self) {
        let pid = Pid::from_raw(self.0.id().try_into().expect("a process id fits"));
        kill(pid, Signal::SIGINT).expect("it was not waited for");
        eventually("the client ends", || self.0.try_wait().expect("a child can be waited for"));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A camera, the pictures that it has shown, and the answers that have come back.
struct Seen {
    camera: Camera,
    row: usize,
    /// The time of each frame.
    shown: HashMap<FrameId, i64>,
    answers: usize,
    boxes: usize,
    /// Answers to frames that were older than the client: such frames have the client's first moment for their time.
    older: usize,
}

impl Seen {
    fn new(folder: &Path, name: &str, row: usize) -> Self {
        let camera = Camera::open(folder, &format!("{name}.rgb"));
        Self { camera, row, shown: HashMap::new(), answers: 0, boxes: 0, older: 0 }
    }

    fn show(&mut self) {
        let (left, time) = (10 + self.shown.len() * 7 % (WIDTH - SQUARE - 20), frame_ring::monotonic_now());
        let id = self.camera.publish(&picture(Some((left, self.row * ROW))), &[], Some(time));
        self.shown.insert(id, time);
    }

    /// Checks every answer that is there.
    fn hear(&mut self, name: &str) {
        while let Some((frame, json)) = self.camera.reply_now() {
            let message: Value = serde_json::from_str(&json).expect("a reply is JSON, also behind a relay");
            if is_about_an_object(&json) {
                assert_eq!(message["after"]["camera"], name, "{message}");
                continue;
            }
            assert_eq!((&message["camera"], &message["width"]), (&name.into(), &(WIDTH - 2).into()), "{message}");
            let time = self.shown.get(&frame).unwrap_or_else(|| panic!("frame {frame} was never shown: {message}"));
            self.answers += 1;
            let pts = message["pts"].as_i64().expect("a number");
            assert!(pts >= *time, "the time of another frame than {time}: {message}");
            self.older += usize::from(pts > *time);
            for object in message["objects"].as_array().expect("a list") {
                self.boxes += 1;
                let top = object["box"][1].as_f64().expect("a number") * HEIGHT as f64;
                assert!((top - (self.row * ROW) as f64).abs() <= 4.0, "another camera's square in {message}");
            }
        }
    }
}

#[test]
fn answers_reach_their_own_client_while_clients_come_go_and_are_killed() {
    let folder = runtime_dir();
    let names = ["a", "b", "c"];
    let mut cameras: Vec<_> = (0..).zip(names).map(|(row, name)| Seen::new(folder.path(), name, row)).collect();
    let (_analyser, frontend) = Analyser::start_commanded(folder.path(), "--threads 2");
    let register = |name: &str| {
        let attach = json!({ "channel": format!("{name}.relay"), "detector": { "kind": "motion", "history": 50 } });
        frontend.call("attach", &attach, SOON).expect("a client can be registered");
    };
    let deregister = |name: &str| {
        frontend.call("detach", &json!({ "camera": name }), SOON).expect("a client can be deregistered");
    };
    // In any order: before the client is there, and after.
    register("a");
    let mut clients: Vec<_> = names.iter().map(|name| Some(Client::start(folder.path(), name))).collect();
    register("c");
    register("b");

    let (mut chance, mut deadline, mut before) = (fastrand::Rng::with_seed(5), Instant::now() + SOON, 0);
    let (mut next_change, mut starts) = (100, names.len());
    loop {
        for (camera, name) in cameras.iter_mut().zip(names) {
            camera.show();
            camera.hear(name);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        let answers: usize = cameras.iter().map(|camera| camera.answers).sum();
        if answers > before {
            (before, deadline) = (answers, Instant::now() + SOON);
        }
        assert!(Instant::now() < deadline, "no more answers come after {answers}");
        if answers >= WANTED && cameras.iter().all(|camera| camera.answers >= WANTED / 20) {
            break;
        }
        if answers >= next_change {
            next_change += 100;
            let at = chance.usize(..names.len());
            match (chance.u8(..4), clients[at].take()) {
                (0, Some(client)) => client.end(),
                (1, client) => {
                    deregister(names[at]);
                    register(names[at]);
                    clients[at] = client;
                }
                // Killed.
                (_, client) => drop(client),
            }
            if clients[at].is_none() {
                clients[at] = Some(Client::start(folder.path(), names[at]));
                starts += 1;
            }
        }
    }
    for (camera, name) in cameras.iter().zip(names) {
        assert!(camera.boxes > 0, "{name}: nothing was ever seen");
        assert!(camera.older <= starts, "{name}: {} answers have another frame's time", camera.older);
    }
}
