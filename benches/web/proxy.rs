//! A bad network between a server and a browser: bytes arrive in order and all of them, but late.
//!
//! What the server sends is delayed by a random time up to the jitter, piece by piece; every two seconds nothing passes
//! for twice the jitter. What the browser sends passes at once.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Between two stalls.
const QUIET: Duration = Duration::from_secs(2);

/// Starts one in front of a port of this machine; its own port. It lives as long as the process.
pub fn start(server: u16, jitter: Duration) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for browser in listener.incoming().flatten() {
            if let Ok(server) = TcpStream::connect(("127.0.0.1", server)) {
                pass(browser, server, jitter);
            }
        }
    });
    port
}

fn pass(browser: TcpStream, server: TcpStream, jitter: Duration) {
    for stream in [&browser, &server] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let (from, to) = (browser.try_clone().expect("a descriptor"), server.try_clone().expect("a descriptor"));
    thread::spawn(move || copy(from, to));
    if jitter.is_zero() {
        thread::spawn(move || copy(server, browser));
    } else {
        late(server, browser, jitter);
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// Two threads: one notes when a piece comes, the other lets it go when its time is there.
fn late(mut from: TcpStream, mut to: TcpStream, jitter: Duration) {
    let (send, pieces) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut stall = Instant::now() + QUIET;
        let mut release = Instant::now();
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            let now = Instant::now();
            release = release.max(now + jitter.mul_f64(fastrand::f64()));
            if now > stall {
                release = release.max(now + 2 * jitter);
                stall = now + QUIET;
            }
            if send.send((release, piece[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (release, piece) in pieces {
            thread::sleep(release.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
