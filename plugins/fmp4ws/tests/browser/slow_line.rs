//! A line between a server and a browser that can be made slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// What passes at a time, and how long that takes when the line is slow: 250 kB in a second.
const PIECE: usize = 5_000;
const PAUSE: Duration = Duration::from_millis(20);

/// Its threads end with the connections, which end with the camera and the browser.
pub struct SlowLine {
    port: u16,
    slow: Arc<AtomicBool>,
}

impl SlowLine {
    /// To a port of this machine.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let slow = Arc::new(AtomicBool::new(false));
        let line = SlowLine { port, slow: slow.clone() };
        thread::spawn(move || {
            for browser in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
                // What the browser has not got must wait in the server, not in the kernel.
                SockRef::from(&server).set_recv_buffer_size(32 << 10).expect("a size");
                let (from, to) =
                    (browser.try_clone().expect("a descriptor"), server.try_clone().expect("a descriptor"));
                let (never, slow) = (Arc::default(), slow.clone());
                thread::spawn(move || pass(from, to, &never));
                thread::spawn(move || pass(server, browser, &slow));
            }
        });
        line
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn slow(&self, slow: bool) {
        self.slow.store(slow, Ordering::Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, slow: &AtomicBool) {
    let mut piece = [0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if slow.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
