//! Requests by hand, over bare sockets.

use crate::pipeline::DEADLINE;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;

/// The head of a WebSocket's request, but for its end.
pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the sink listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    stream
}

/// The answer to a request, head and body.
pub fn request(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).expect("the sink reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the sink answers");
    answer
}

/// A request with these further lines in its head, each with its end.
pub fn get_with(port: u16, path: &str, lines: &str) -> String {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{lines}\r\n"))
}

pub fn get(port: u16, path: &str) -> String {
    get_with(port, path, "")
}

/// The three digits of an answer, which may go on.
pub fn status(port: u16, request: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(request.as_bytes()).expect("the sink reads");
    let mut head = [0; 12];
    stream.read_exact(&mut head).expect("the sink answers");
    String::from_utf8_lossy(&head[9..]).into_owned()
}

/// Of a WebSocket's request with these further lines.
pub fn upgrade_status(port: u16, path: &str, lines: &str) -> String {
    status(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{UPGRADE}{lines}\r\n"))
}

/// What follows the head.
pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("an HTTP answer").1
}

/// `/api/streams`.
pub fn streams(port: u16) -> Value {
    let answer = get(port, "/api/streams");
    serde_json::from_str(body(&answer)).unwrap_or_else(|error| panic!("{error}: {answer}"))
}
