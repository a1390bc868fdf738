//! `/api/ws?src=CAMERA`: a browser's WebSocket, passed through to the web process of that camera.
//!
//! ```text
//!   browser              orchestrator                  fmp4wssink
//!      │  handshake ──────►  │                              │
//!      │  ◄────────────  101 │  wakes the web process       │
//!      │                     │  handshake of its own ──────►│
//!      │                     │  ◄────────────────────── 101 │
//!      │  ◄═════════════ bytes, as they are ═══════════════►│
//! ```
//!
//! The browser is answered at once: Chromium opens one WebSocket to a server after the other, and a camera that takes its
//! time would keep all others, and the events, from it. What is nobody's business (credentials, the origin, which has been
//! checked) goes no further. After the handshakes the orchestrator copies bytes: it neither knows nor slows down the
//! protocol between [`fmp4wssink`](../../../plugins/fmp4ws) and its player.

use std::{io, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request, State, WebSocketUpgrade},
    http::{StatusCode, header},
    response::Response,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{App, control::Watching, problem::Problem, query::Wanted, unix_http};

/// Neither handshake takes longer.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
pub struct Which {
    src: String,
}

/// Upgrades the request, and joins it to the camera's web process.
pub async fn pass_through(
    State(app): State<App>,
    Wanted(Which { src }): Wanted<Which>,
    request: Request,
) -> Result<Response, Problem> {
    if !app.board.has_camera(&src) {
        return Err(Problem::no_camera(&src));
    }
    let place =
        app.viewers.clone().try_acquire_owned().map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many videos are watched: close some pages")
        })?;
    let (response, browser) = accept(request).await?;
    tokio::spawn(join(app, src, browser, place));
    Ok(response)
}

/// The answer to a handshake, and what the connection becomes after it.
async fn accept(mut request: Request) -> Result<(Response, OnUpgrade), Problem> {
    let browser = hyper::upgrade::on(&mut request);
    // axum knows what a handshake is and how it is answered, but wants the connection for itself: it gets none.
    request.extensions_mut().insert(hyper::upgrade::on(Request::new(Body::empty())));
    let upgrade = WebSocketUpgrade::from_request(request, &()).await;
    let upgrade = upgrade.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    Ok((upgrade.on_failed_upgrade(|_| ()).on_upgrade(async |_| ()), browser))
}

/// Copies both ways until one side ends.
async fn join(app: App, camera: String, browser: OnUpgrade, _place: OwnedSemaphorePermit) {
    let Ok(Ok(browser)) = timeout(HANDSHAKE_LIMIT, browser).await else { return };
    let mut browser = TokioIo::new(browser);
    match connect(&app, &camera).await {
        Ok((web, _watching)) => {
            // An error is a side that went away, which is how these end.
            let _ = copy_bidirectional(&mut browser, &mut TokioIo::new(web)).await;
        }
        // It is starting, or starting again. The player tries again by itself.
        Err(reason) => {
            let _ = browser.write_all(&try_again_later(&reason)).await;
            let _ = browser.shutdown().await;
        }
    }
}

/// Wakes the web process and shakes hands with it.
async fn connect(app: &App, camera: &str) -> Result<(Upgraded, Watching), String> {
    let watching = app.control.watch(camera).await.map_err(|refusal| refusal.to_string())?;
    // A camera's name needs no escaping. The key proves to a client that it was read, which nobody doubts here.
    let request = Request::get(format!("/api/ws?src={camera}"))
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let shake = async {
        let mut response = unix_http::send(&(app.web_socket)(camera), request).await?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => hyper::upgrade::on(&mut response).await.map_err(io::Error::other),
            status => Err(io::Error::other(format!("its web process answers {status}"))),
        }
    };
    let late = |_| format!("{camera} is not served within {} s", HANDSHAKE_LIMIT.as_secs());
    let web = timeout(HANDSHAKE_LIMIT, shake).await.map_err(late)?;
    web.map(|web| (web, watching)).map_err(|error| format!("{camera} is not served at the moment: {error}"))
}

/// A closing frame (RFC 6455, 5.5.1) with the code for "try again later" and a reason, of 123 bytes at most.
fn try_again_later(reason: &str) -> Vec<u8> {
    let end = reason.floor_char_boundary(123);
    let mut frame = vec![0x88, 2 + end as u8];
    frame.extend(1013_u16.to_be_bytes());
    frame.extend(&reason.as_bytes()[..end]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_where_a_letter_ends() {
        assert_eq!(try_again_later("late"), [0x88, 6, 0x03, 0xf5, b'l', b'a', b't', b'e']);
        let long = try_again_later(&"ä".repeat(100));
        assert_eq!((long.len(), long[1]), (126, 124));
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }
}
