//! Clients that are slow, silent, loud or wrong cost their own connection, and the others see nothing of it.

use crate::access::Identity;
use crate::http::{UPGRADE, connect, get, status, streams, upgrade_status};
use crate::pipeline::{CAMERA, DEADLINE, Pipeline};
use crate::slow::HEAVY;
use crate::viewer::{Received, Viewer};
use gst::prelude::*;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn camera() -> Pipeline {
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! fmp4wssink port=0"));
    pipeline.play();
    pipeline
}

/// Waits until the sink closes this connection, whatever it says before.
fn wait_closed(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return,
            Err(error) => panic!("the connection is still open: {error}"),
        }
    }
}

/// A WebSocket by hand, of which nothing is read.
fn websocket(port: u16) -> TcpStream {
    let mut stream = connect(port);
    let head = format!("GET /api/ws HTTP/1.1\r\nHost: localhost:{port}\r\n{UPGRADE}\r\n");
    stream.write_all(head.as_bytes()).expect("the sink reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("the sink answers");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
}

/// A frame of a client, masked with zeros (RFC 6455, 5.2).
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    assert!(length < 126, "a short frame");
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0][..], payload].concat()
}

#[tokio::test]
async fn a_head_that_does_not_end_is_not_waited_for() {
    let pipeline = camera();
    let port = pipeline.port();
    let mut viewer = Viewer::plain(port).await;
    let mut silent = connect(port);
    let mut slow = connect(port);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").expect("the sink reads");
    let trickle = slow.try_clone().expect("a socket");
    let trickler = std::thread::spawn(move || {
        // Two header lines each second, and never the last one.
        let mut trickle = trickle;
        let start = Instant::now();
        while start.elapsed() < DEADLINE && trickle.write_all(b"X-Slow: 1\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
        start.elapsed()
    });
    viewer.record(5).await;
    let closed = tokio::task::spawn_blocking(move || {
        wait_closed(&mut slow);
        wait_closed(&mut silent);
    });
    closed.await.expect("both are closed");
    assert!(trickler.join().expect("it ran") < DEADLINE);
    assert!(!viewer.media().await.is_empty());
}

#[tokio::test]
async fn a_tls_handshake_that_does_not_end_is_not_waited_for() {
    let identity = Identity::new();
    let pipeline = Pipeline::ready(&format!("{CAMERA} ! {}", identity.sink()));
    pipeline.play();
    let port = pipeline.port();
    let mut silent = connect(port);
    // The head of a handshake's record, that announces more than comes.
    let mut half = connect(port);
    half.write_all(&[0x16, 3, 1, 0x02, 0, 1, 0, 1]).expect("the sink reads");
    let mut garbage = connect(port);
    garbage.write_all(&[0xff; 2000]).expect("the sink reads");
    let mut viewer = Viewer::upgrade(Box::new(identity.connect(port).await.expect("it is trusted")), "/api/ws").await;
    viewer.say(serde_json::json!({"type": "mse", "value": ""})).await;
    viewer.record(5).await;
    let closed = tokio::task::spawn_blocking(move || [&mut silent, &mut half, &mut garbage].map(wait_closed));
    closed.await.expect("all are closed");
    assert!(!viewer.media().await.is_empty());
}

#[tokio::test]
async fn heads_that_are_too_large_or_make_no_sense_are_refused() {
    let pipeline = camera();
    let port = pipeline.port();
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(status(port, &large), "431");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Many: 1\r\n".repeat(100));
    assert_eq!(status(port, &many), "431");
    assert_eq!(status(port, "\x16\x03\x01 is no HTTP\r\n\r\n"), "400");
    // A WebSocket's request with something missing or wrong.
    let upgrade = |lines: &str| status(port, &format!("GET /api/ws HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    for wrong in [
        "",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: a\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a\r\n",
    ] {
        assert!(upgrade(wrong).starts_with('4'), "{wrong}");
    }
    let post = format!("POST /api/ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n{UPGRADE}\r\n");
    assert_eq!(status(port, &post), "405");
    assert_eq!(upgrade_status(port, "/api/ws", ""), "101");
}

#[tokio::test]
async fn what_is_no_websocket_message_ends_its_connection() {
    let pipeline = camera();
    let port = pipeline.port();
    let mut viewer = Viewer::plain(port).await;
    viewer.record(1).await;
    let hello = frame(1, br#"{"type":"mse","value":""}"#);
    // A frame without a mask; one that announces 2^62 bytes; reserved bits; and a message that never ends.
    let endless = [&[0x01, 0x80, 0, 0, 0, 0][..], &[0x00, 0xff, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0]].concat();
    for wrong in [
        vec![0x81, 0x05, b'h', b'e', b'l', b'l', b'o'],
        vec![0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![0xf1, 0x80, 0, 0, 0, 0],
        [endless, vec![0; 100_000]].concat(),
    ] {
        let mut stream = websocket(port);
        stream.write_all(&hello).expect("the sink reads");
        // It may be closed before all of this is written.
        let _ = stream.write_all(&wrong);
        tokio::task::spawn_blocking(move || wait_closed(&mut stream)).await.expect("it is closed");
    }
    assert!(!viewer.media().await.is_empty());
}

#[tokio::test]
async fn a_flood_of_messages_ends_its_connection() {
    let pipeline = camera();
    let port = pipeline.port();
    let mut viewer = Viewer::extended(port).await;
    viewer.record(1).await;
    let mut loud = websocket(port);
    loud.write_all(&frame(1, br#"{"type":"mse","value":"","ext":1}"#)).expect("the sink reads");
    let flood = [frame(9, b"ping"), frame(1, br#"{"type":"idr"}"#), frame(1, br#"{"type":"report"}"#)].concat();
    // Until it is not taken any more.
    let _ = loud.write_all(&flood.repeat(100));
    tokio::task::spawn_blocking(move || wait_closed(&mut loud)).await.expect("it is closed");
    assert!(!viewer.media().await.is_empty());
}

#[tokio::test]
async fn a_flood_of_connections_leaves_room_for_viewers() {
    let pipeline = camera();
    let port = pipeline.port();
    let mut early = Viewer::extended(port).await;
    early.record(1).await;
    // Silent, in the middle of a head, and as WebSockets that say nothing.
    let mut flood: Vec<TcpStream> = (0..150).map(|_| connect(port)).collect();
    for stream in flood.iter_mut().step_by(2) {
        stream.write_all(b"GET / HTTP/1.1\r\n").expect("the sink reads");
    }
    flood.extend((0..50).map(|_| websocket(port)));
    let mut late = Viewer::plain(port).await;
    assert_eq!(late.record(3).await.decode().frames, 3);
    assert!(get(port, "/").contains("valkka-video"));
    // The oldest had to go, long before their time was over.
    let mut oldest = flood.swap_remove(1);
    tokio::task::spawn_blocking(move || wait_closed(&mut oldest)).await.expect("it is closed");
    assert!(!early.media().await.is_empty());
    assert_eq!(pipeline.sink().property::<u32>("viewers"), 2);
}

/// Waits for so many viewers.
fn wait_viewers(pipeline: &Pipeline, count: usize) {
    let start = Instant::now();
    while streams(pipeline.port())["stream"]["viewers"].as_array().map(Vec::len) != Some(count) {
        assert!(start.elapsed() < 2 * DEADLINE, "{}", streams(pipeline.port()));
        // The server has other things to do as well.
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_without_progress_is_disconnected() {
    let camera = HEAVY.replace("num-buffers=64", "");
    // Room for what a busy machine sends in a burst after it stood still for some seconds: who reads misses nothing.
    let limits = "max-queue-bytes=10000000 max-queue-time=0";
    let pipeline = Pipeline::ready(&format!("{camera} ! fmp4wssink port=0 {limits}"));
    let port = pipeline.port();
    let mut stalled = websocket(port);
    stalled.write_all(&frame(1, br#"{"type":"mse","value":"","ext":1}"#)).expect("the sink reads");
    let mut film = connect(port);
    film.write_all(b"GET /stream.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the sink reads");
    let mut viewer = Viewer::extended(port).await;
    pipeline.play_for(3);
    let reader = tokio::spawn(async move {
        let mut media = 0;
        while !matches!(viewer.next().await, Received::Closed) {
            media += 1;
        }
        media
    });
    // Neither reads a byte, and both are still connected.
    tokio::task::spawn_blocking(move || {
        wait_viewers(&pipeline, 1);
        let left = streams(pipeline.port())["stream"].clone();
        assert!(left["totals"]["dropped_frames"].as_u64().is_some_and(|dropped| dropped > 0), "{left}");
        assert_eq!(left["viewers"][0]["dropped_frames"], 0, "{left}");
        drop(pipeline);
    })
    .await
    .expect("they are gone");
    assert!(reader.await.expect("it ran") > 100);
    drop((stalled, film));
}

/// A frame of the sink: its opcode.
fn next_frame(stream: &mut TcpStream) -> std::io::Result<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            u16::from_be_bytes(length).into()
        }
        length => usize::from(length),
    };
    stream.read_exact(&mut vec![0; length])?;
    Ok(head[0] & 0x0f)
}

#[test]
fn a_viewer_that_gives_no_sign_of_life_is_pinged_and_then_gone() {
    // Nothing is sent to it, so only its silence tells.
    let pipeline = Pipeline::ready("fakesrc ! fmp4wssink port=0");
    let mut silent = websocket(pipeline.port());
    silent.write_all(&frame(1, br#"{"type":"mse","value":""}"#)).expect("the sink reads");
    wait_viewers(&pipeline, 1);
    // Another one that answers stays.
    let mut alive = websocket(pipeline.port());
    alive.write_all(&frame(1, br#"{"type":"mse","value":""}"#)).expect("the sink reads");
    let answering = std::thread::spawn(move || {
        let mut pings = 0;
        while let Ok(opcode) = next_frame(&mut alive) {
            assert_eq!(opcode, 9);
            pings += 1;
            alive.write_all(&frame(10, b"")).expect("the sink reads");
            if pings == 4 {
                return alive;
            }
        }
        panic!("it was disconnected after {pings} pings");
    });
    let mut pings = 0;
    while let Ok(9) = next_frame(&mut silent) {
        pings += 1;
    }
    assert!((1..=3).contains(&pings), "{pings}");
    let _alive = answering.join().expect("it stays");
    wait_viewers(&pipeline, 1);
}
