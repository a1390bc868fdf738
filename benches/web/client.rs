//! A viewer that costs as little as possible: a WebSocket by hand (RFC 6455), of which messages are read and thrown away.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A connection that has said `mse`.
pub struct Client {
    stream: TcpStream,
    message: Vec<u8>,
}

impl Client {
    /// Watches the only stream at this port.
    pub fn connect(port: u16) -> io::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        let head = "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(byte[0]);
        }
        if !answer.starts_with(b"HTTP/1.1 101") {
            return Err(io::Error::other("the sink refuses"));
        }
        let hello = br#"{"type":"mse","value":"","ext":1}"#;
        let length = u8::try_from(hello.len()).expect("it is short");
        // A text message in one frame, masked with zeros.
        stream.write_all(&[&[0x81, 0x80 | length, 0, 0, 0, 0][..], hello].concat())?;
        Ok(Self { stream, message: Vec::new() })
    }

    /// The next binary message; an error at the end of the connection.
    pub fn media(&mut self) -> io::Result<&[u8]> {
        loop {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head)?;
            let length = match head[1] & 0x7f {
                126 => {
                    let mut length = [0; 2];
                    self.stream.read_exact(&mut length)?;
                    u64::from(u16::from_be_bytes(length))
                }
                127 => {
                    let mut length = [0; 8];
                    self.stream.read_exact(&mut length)?;
                    u64::from_be_bytes(length)
                }
                length => u64::from(length),
            };
            self.message.resize(usize::try_from(length).map_err(io::Error::other)?, 0);
            self.stream.read_exact(&mut self.message)?;
            match head[0] & 0x0f {
                2 => return Ok(&self.message),
                8 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }
}
