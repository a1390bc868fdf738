//! Plain HTTP requests, over TCP or a Unix socket, and their answers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// A picture may take that long.
const LIMIT: Duration = Duration::from_secs(60);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The head, line by line, without the first.
    pub head: Vec<String>,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        let pair = |line: &'_ String| line.split_once(": ").map(|(key, _)| key.to_ascii_lowercase());
        let line = self.head.iter().find(|line| pair(line).as_deref() == Some(name))?;
        line.split_once(": ").map(|(_, value)| value)
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request to `host`, with these headers (`NAME: VALUE`) beside the usual ones.
#[track_caller]
pub fn ask(host: &str, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let stream = TcpStream::connect(host).expect("the port is open");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket has a time limit");
    exchange(stream, host, method, path, headers, body)
}

/// The same over a Unix socket.
#[track_caller]
pub fn ask_socket(socket: &Path, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let stream = UnixStream::connect(socket).expect("the socket is open");
    stream.set_read_timeout(Some(LIMIT)).expect("a socket has a time limit");
    exchange(stream, "localhost", method, path, headers, body)
}

#[track_caller]
fn exchange(
    mut stream: impl Read + Write,
    host: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let mut lines = vec![format!("{method} {path} HTTP/1.1"), "Connection: close".into()];
    if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        lines.push(format!("Host: {host}"));
    }
    if !body.is_empty() {
        lines.push(format!("Content-Length: {}", body.len()));
    }
    lines.extend(headers.iter().map(|header| (*header).to_owned()));
    stream.write_all(format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes()).expect("a request is short");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let end =
        bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: no head"));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines().map(str::to_owned);
    let first = lines.next().expect("a head has a line");
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    Answer { status, head: lines.collect(), body: bytes.split_off(end + 4) }
}
