//! Who watches a camera through the orchestrator, without a browser.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client, http::Uri, protocol::frame::coding::CloseCode};

use super::orchestrator::Orchestrator;

const LIVE: Duration = Duration::from_secs(60);

/// A page that plays: takes what it gets at once, as a browser does, and counts it.
pub struct Viewer {
    got: Receiver<Result<(), String>>,
    /// What the thread reads from; None when nobody watches any more.
    stream: Arc<Mutex<Option<TcpStream>>>,
}

impl Viewer {
    /// Begins to play; wakes what rests until somebody looks.
    #[track_caller]
    pub fn connect(valkka: &Orchestrator, camera: &str) -> Viewer {
        let host = valkka.address.trim_start_matches("http://").trim_end_matches('/');
        let (socket, stream) = open(host, camera);
        let stream = Arc::new(Mutex::new(Some(stream)));
        let (tell, got) = mpsc::channel();
        let (host, camera, shared) = (host.to_owned(), camera.to_owned(), stream.clone());
        thread::spawn(move || {
            let mut socket = socket;
            // Whoever is told to come again does, as the player.
            while watch(socket, &tell) {
                let (again, stream) = open(&host, &camera);
                match &mut *shared.lock().expect("nothing panics under this lock") {
                    Some(place) => *place = stream,
                    None => return,
                }
                socket = again;
            }
        });
        Viewer { got, stream }
    }

    /// Waits for so many fragments on top of those that have come.
    #[track_caller]
    pub fn fragments(&mut self, count: usize) {
        while let Ok(got) = self.got.try_recv() {
            got.unwrap_or_else(|why| panic!("the camera is not watched any more: {why}"));
        }
        let deadline = Instant::now() + LIVE;
        for number in 0..count {
            let got = self.got.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let got = got.unwrap_or_else(|_| Err(format!("no more within {LIVE:?}")));
            got.unwrap_or_else(|why| panic!("{number} of {count} fragments: {why}"));
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // Ends the thread, too. It may be gone already.
        let stream = self.stream.lock().expect("nothing panics under this lock").take();
        let _ = stream.map(|stream| stream.shutdown(Shutdown::Both));
    }
}

#[track_caller]
fn open(host: &str, camera: &str) -> (WebSocket<TcpStream>, TcpStream) {
    let stream = TcpStream::connect(host).expect("the page's port is open");
    let same = stream.try_clone().expect("there are descriptors");
    let uri: Uri = format!("ws://{host}/api/ws?src={camera}").parse().expect("an address");
    let (mut socket, _) = client(uri, stream).expect("the camera is served");
    let codecs = json!({ "type": "mse", "value": "avc1.640029,avc1.64002A,avc1.640033,hvc1.1.6.L153.B0,mp4a.40.2" });
    socket.send(Message::text(codecs.to_string())).expect("a request is short");
    (socket, same)
}

/// Until the connection ends. True: it is to come again, because its camera was not ready.
fn watch(mut socket: WebSocket<TcpStream>, tell: &Sender<Result<(), String>>) -> bool {
    let mut fragments = 0;
    loop {
        let got = match socket.read() {
            Ok(Message::Binary(_)) => Ok(()),
            Ok(Message::Close(Some(reason))) if reason.code == CloseCode::Again && fragments == 0 => return true,
            Ok(Message::Close(reason)) => Err(format!("closed: {reason:?}")),
            Ok(_) => continue,
            Err(error) => Err(error.to_string()),
        };
        fragments += 1;
        let over = got.is_err();
        if tell.send(got).is_err() || over {
            return false;
        }
    }
}
