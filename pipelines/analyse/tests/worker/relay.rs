//! camera → client → master → client → camera, with several clients on one master. Cameras are writers of this process, the master
//! is the analyser, clients are the template `relay` as `valkka template show` prints it: they crop, scale and slow down. They come, go
//! and are killed.
//!
//! An answer that comes back names the camera's frame, and has its channel time, which relays keep. Each camera shows its square in
//! a row of its own: an answer to another camera's picture has its box in the wrong place. Each client prints the answers that it
//! gets: none of them is another's.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use frame_ring::FrameId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::analyser::{Analyser, is_about_an_object};
use crate::camera::{Camera, HEIGHT, SQUARE, WIDTH, picture};
use crate::pipeline::with_elements;
use crate::{SOON, eventually, runtime_dir};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Answers that are counted in all.
const WANTED: usize = 1000;

/// Pixels between the rows of two cameras.
const ROW: usize = 60;

/// Width of what clients forward: half of what is left of a picture when two pixels are cut off.
const FORWARDED: usize = (WIDTH - 2) / 2;

/// The line that starts the client of a camera. It forwards to the channel `NAME-client.rgb`.
fn line(folder: &Path, camera: &str) -> String {
    let values = |name: &str| {
        let values = format!("name = \"{name}-client\", left = 2, width = {FORWARDED}, fps = 50, area = 0");
        format!("[cameras.{name}]\nuri = \"test:ball\"\nvalues = {{ {values} }}\n")
    };
    let config = folder.join("valkka.toml");
    fs::write(&config, NAMES.map(values).concat()).expect("the folder is the test's own");
    let programs = Path::new(env!("CARGO_BIN_EXE_valkka-analyse")).parent().expect("a program is in a folder");
    let mut show = Command::new(programs.join("valkka"));
    show.args(["template", "show", "relay", "--camera", camera, "--config"]).arg(&config);
    let shown = show.env("VALKKA_RUNTIME_DIR", folder).output();
    let shown = shown.expect("valkka is built: ./dev test, or cargo build --workspace --all-targets");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8(shown.stdout).expect("a line is text")
}

/// A client in a process of its own. Killed at its drop, like a crash.
struct Client {
    child: Child,
    name: &'static str,
    /// What it prints.
    said: PathBuf,
}

impl Client {
    fn start(folder: &Path, camera: &'static str, number: usize) -> Self {
        let said = folder.join(format!("{camera}-client.{number}"));
        // -m: it prints the messages on its bus.
        let line = line(folder, camera).replace("gst-launch-1.0", "exec gst-launch-1.0 -m");
        let mut shell = Command::new("sh");
        let shell = with_elements(shell.args(["-c", &line]), folder).stdin(Stdio::null());
        let output = fs::File::create(&said).expect("the folder is the test's own");
        let errors = fs::File::create(said.with_added_extension("err")).expect("the folder is the test's own");
        let child = shell.stdout(output).stderr(errors).spawn().expect("there is a shell");
        Self { child, name: camera, said }
    }

    /// Ends it as Ctrl-C does.
    fn end(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id fits"));
        kill(pid, Signal::SIGINT).expect("it was not waited for");
        eventually("the client ends", || self.child.try_wait().expect("a child can be waited for"));
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How many answers it got. Fails if one of them was another's.
    fn answers(&self) -> usize {
        let said = fs::read(&self.said).expect("it was made at the start");
        let said = String::from_utf8_lossy(&said).replace('\\', "");
        let replies = said.lines().filter(|line| line.contains("valkka-reply"));
        let others = NAMES.into_iter().filter(|name| *name != self.name).map(|name| format!("\"{name}-client\""));
        let others: Vec<_> = others.collect();
        let own = format!("\"camera\":\"{}-client\"", self.name);
        replies
            .inspect(|reply| assert!(!others.iter().any(|other| reply.contains(other)), "{} got {reply}", self.name))
            .filter(|reply| reply.contains(&own))
            .count()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
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
        let caps = format!(
            "video/x-raw, format=(string)RGB, width=(int){WIDTH}, height=(int){HEIGHT}, framerate=(fraction)50/1"
        );
        let camera = Camera::open_with(folder, &format!("{name}.rgb"), &caps);
        Self { camera, row, shown: HashMap::new(), answers: 0, boxes: 0, older: 0 }
    }

    fn show(&mut self) {
        let (left, time) = (10 + self.shown.len() * 7 % (WIDTH - SQUARE - 20), frame_ring::monotonic_now());
        let id = self.camera.publish(&picture(Some((left, self.row * ROW))), &[], Some(time));
        self.shown.insert(id, time);
    }

    /// Checks every answer that is there.
    fn hear(&mut self, name: &str) {
        let client = format!("{name}-client");
        while let Some((frame, json)) = self.camera.reply_now() {
            let message: Value = serde_json::from_str(&json).expect("a reply is JSON, also behind a relay");
            if is_about_an_object(&json) {
                assert_eq!(message["after"]["camera"], client, "{message}");
                continue;
            }
            let whose = (&message["camera"], &message["width"]);
            assert_eq!(whose, (&client.as_str().into(), &FORWARDED.into()), "{message}");
            let time = self.shown.get(&frame).unwrap_or_else(|| panic!("frame {frame} was never shown: {message}"));
            self.answers += 1;
            let pts = message["pts"].as_i64().expect("a number");
            assert!(pts >= *time, "the time of another frame than {time}: {message}");
            self.older += usize::from(pts > *time);
            for object in message["objects"].as_array().expect("a list") {
                self.boxes += 1;
                let top = object["box"][1].as_f64().expect("a number") * HEIGHT as f64;
                assert!((top - (self.row * ROW) as f64).abs() <= 8.0, "another camera's square in {message}");
            }
        }
    }
}

#[test]
fn answers_reach_their_own_client_while_clients_come_go_and_are_killed() {
    let folder = runtime_dir();
    let mut cameras: Vec<_> = (0..).zip(NAMES).map(|(row, name)| Seen::new(folder.path(), name, row)).collect();
    let (_analyser, frontend) = Analyser::start_commanded(folder.path(), "--threads 2");
    let register = |name: &str| {
        let attach =
            json!({ "channel": format!("{name}-client.rgb"), "detector": { "kind": "motion", "history": 50 } });
        frontend.call("attach", &attach, SOON).expect("a client can be registered");
    };
    let deregister = |name: &str| {
        let camera = json!({ "camera": format!("{name}-client") });
        frontend.call("detach", &camera, SOON).expect("a client can be deregistered");
    };
    let mut starts = 0;
    let mut start = |name| {
        starts += 1;
        Client::start(folder.path(), name, starts)
    };
    // In any order: before the client is there, and after.
    register("a");
    let mut clients: Vec<_> = NAMES.into_iter().map(&mut start).collect();
    register("c");
    register("b");

    let (mut chance, mut deadline, mut before) = (fastrand::Rng::with_seed(5), Instant::now() + SOON, 0);
    let (mut next_change, mut heard_by_former) = (100, 0);
    loop {
        for (camera, name) in cameras.iter_mut().zip(NAMES) {
            camera.show();
            camera.hear(name);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
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
            let at = chance.usize(..clients.len());
            if chance.u8(..4) == 0 {
                deregister(clients[at].name);
                register(clients[at].name);
                continue;
            }
            let mut former = clients.swap_remove(at);
            if chance.bool() {
                former.end()
            } else {
                former.kill()
            }
            heard_by_former += former.answers();
            clients.push(start(former.name));
        }
    }
    let heard = heard_by_former + clients.iter().map(Client::answers).sum::<usize>();
    // Who is killed may not have printed all that it heard.
    assert!(heard >= WANTED / 2, "the clients heard of {heard} answers only");
    for (camera, name) in cameras.iter().zip(NAMES) {
        assert!(camera.boxes > 0, "{name}: nothing was ever seen");
        assert!(camera.older <= starts, "{name}: {} answers have another frame's time", camera.older);
    }
}
