//! A viewer, written from the protocol's description and with another WebSocket library than the sink's.

use crate::pipeline::{DEADLINE, Decoded, decode};
use futures_util::{SinkExt, StreamExt};
use mp4_atom::{Atom, Decode, DecodeMaybe, Moof};
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, UnixStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// What comes from the sink.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    Json(Value),
    Media(Vec<u8>),
    Closed,
}

pub struct Viewer(WebSocketStream<Box<dyn Wire>>);

impl Viewer {
    /// Connects and says nothing.
    pub async fn connect(port: u16, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // What a viewer does not read must not disappear in the kernel's memory.
        socket.set_recv_buffer_size(64 << 10).expect("a size");
        let stream = socket.connect(([127, 0, 0, 1], port).into()).await.expect("the sink listens");
        Self::upgrade(Box::new(stream), path).await
    }

    /// The same over a Unix socket.
    pub async fn connect_unix(socket: &Path, path: &str) -> Self {
        let stream = UnixStream::connect(socket).await.expect("the sink listens");
        Self::upgrade(Box::new(stream), path).await
    }

    pub async fn upgrade(stream: Box<dyn Wire>, path: &str) -> Self {
        let handshake = tokio_tungstenite::client_async(format!("ws://localhost{path}"), stream);
        Self(handshake.await.expect("the sink answers the handshake").0)
    }

    /// Connects as go2rtc's player does.
    pub async fn plain(port: u16) -> Self {
        let mut viewer = Self::connect(port, "/api/ws?src=stream").await;
        viewer.say(json!({"type": "mse", "value": "avc1.640029,avc1.64002A,hvc1.1.6.L153.B0,mp4a.40.2,opus"})).await;
        viewer
    }

    /// Connects as `<valkka-video>` does.
    pub async fn extended(port: u16) -> Self {
        let mut viewer = Self::connect(port, "/api/ws?src=stream").await;
        let codecs = "avc1.640029,hvc1.1.6.L153.B0,av01.0.08M.08,mp4a.40.2,opus";
        viewer.say(json!({"type": "mse", "value": codecs, "ext": 1})).await;
        viewer
    }

    pub async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.expect("the sink reads");
    }

    pub async fn next(&mut self) -> Received {
        // For all of it: the pings that come in between are no news.
        timeout(DEADLINE, self.news()).await.expect("the sink says something in time")
    }

    async fn news(&mut self) -> Received {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Received::Json(serde_json::from_str(&text).expect("text messages are JSON"));
                }
                Some(Ok(Message::Binary(data))) => return Received::Media(data.to_vec()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Received::Closed,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next JSON message; media before it is an error.
    pub async fn json(&mut self) -> Value {
        match self.next().await {
            Received::Json(value) => value,
            other => panic!("JSON was expected, not {other:?}"),
        }
    }

    /// The next binary message; JSON before it is passed over.
    pub async fn media(&mut self) -> Vec<u8> {
        loop {
            match self.next().await {
                Received::Media(data) => return data,
                Received::Json(_) => {}
                Received::Closed => panic!("the connection was closed"),
            }
        }
    }

    /// The init segment and that many fragments.
    pub async fn record(&mut self, fragments: usize) -> Recording {
        let init = self.media().await;
        let mut recording = Recording { init, fragments: Vec::new() };
        for _ in 0..fragments {
            recording.fragments.push(self.media().await);
        }
        recording
    }

    /// Everything until the connection is closed, or until the source has ended.
    pub async fn rest(&mut self) -> Vec<Received> {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Received::Closed => return all,
                Received::Json(value) if value["type"] == "eos" => {
                    all.push(Received::Json(value));
                    return all;
                }
                received => all.push(received),
            }
        }
    }
}

/// What a viewer has got.
pub struct Recording {
    pub init: Vec<u8>,
    pub fragments: Vec<Vec<u8>>,
}

impl Recording {
    /// Decodes it with GStreamer.
    pub fn decode(&self) -> Decoded {
        let folder = tempfile::tempdir().expect("there is room for a file");
        let file = folder.path().join("recording.mp4");
        std::fs::write(&file, [self.init.clone(), self.fragments.concat()].concat()).expect("there is room for a file");
        decode(&file)
    }

    /// Decode times, in the track's timescale.
    pub fn tfdts(&self) -> Vec<u64> {
        self.fragments.iter().map(|fragment| tfdt(fragment)).collect()
    }
}

/// moof of a fragment, read with mp4-atom.
pub fn moof(mut fragment: &[u8]) -> Moof {
    Moof::decode(&mut fragment).expect("a fragment starts with a moof")
}

/// Decode time of a fragment's first track.
pub fn tfdt(fragment: &[u8]) -> u64 {
    moof(fragment).traf[0].tfdt.as_ref().expect("there is a tfdt").base_media_decode_time
}

/// Whether the fragment's first sample is a keyframe, by tfhd or trun.
pub fn keyframe(fragment: &[u8]) -> bool {
    let moof = moof(fragment);
    let traf = &moof.traf[0];
    let own = traf.trun[0].samples.get(0).expect("there is a sample").flags;
    let flags = own.or(traf.tfhd.default_sample_flags).expect("mp4mux writes one of them");
    flags & 0x0001_0000 == 0
}

/// Samples of a fragment's first track.
pub fn frames(fragment: &[u8]) -> u64 {
    moof(fragment).traf[0].trun.iter().map(|trun| trun.samples.len() as u64).sum()
}

/// Timescale of the first track of an init segment.
pub fn timescale(mut init: &[u8]) -> u32 {
    while let Some(header) = mp4_atom::Header::decode_maybe(&mut init).expect("boxes") {
        let size = header.size.expect("boxes have a size");
        if header.kind == mp4_atom::Moov::KIND {
            let moov = mp4_atom::Moov::decode_body(&mut &init[..size]).expect("mp4mux's moov");
            return moov.trak[0].mdia.mdhd.timescale;
        }
        init = &init[size..];
    }
    panic!("there is no moov")
}
