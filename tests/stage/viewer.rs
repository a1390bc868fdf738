//! Who watches a camera through the orchestrator, without a browser.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client, http::Uri};

use super::orchestrator::Orchestrator;

const LIVE: Duration = Duration::from_secs(60);

/// A page that plays: counts what it gets on one connection.
pub struct Viewer(WebSocket<TcpStream>);

impl Viewer {
    /// Begins to play; wakes what rests until somebody looks.
    #[track_caller]
    pub fn connect(valkka: &Orchestrator, camera: &str) -> Viewer {
        let host = valkka.address.trim_start_matches("http://").trim_end_matches('/');
        let stream = TcpStream::connect(host).expect("the page's port is open");
        stream.set_read_timeout(Some(LIVE)).expect("a socket has a time limit");
        let uri: Uri = format!("ws://{host}/api/ws?src={camera}").parse().expect("an address");
        let (mut socket, _) = client(uri, stream).expect("the camera is served");
        let codecs =
            json!({ "type": "mse", "value": "avc1.640029,avc1.64002A,avc1.640033,hvc1.1.6.L153.B0,mp4a.40.2" });
        socket.send(Message::text(codecs.to_string())).expect("a request is short");
        Viewer(socket)
    }

    /// Waits for so many fragments.
    #[track_caller]
    pub fn fragments(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            match self.0.read() {
                Ok(Message::Binary(_)) => left -= 1,
                Ok(Message::Close(reason)) => panic!("closed: {reason:?}"),
                Ok(_) => {}
                Err(error) => panic!("{left} of {count} fragments missing: {error}"),
            }
        }
    }
}
