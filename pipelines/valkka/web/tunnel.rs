//! `/api/ws?src=CAMERA`: a browser's WebSocket, passed through to the web process of that camera.
//!
//! The handshake goes over as it is, and after it the orchestrator copies bytes: it neither knows nor slows down the
//! protocol between [`fmp4wssink`](../../../plugins/fmp4ws) and its player.

use axum::{
    body::Body,
    extract::{Query, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::copy_bidirectional;

use super::{App, unix_http};

#[derive(Deserialize)]
pub struct Wanted {
    src: String,
}

/// Answers what the camera's web process answers.
pub async fn pass_through(State(app): State<App>, Query(wanted): Query<Wanted>, mut request: Request) -> Response {
    if !app.board.has_camera(&wanted.src) {
        return (StatusCode::NOT_FOUND, format!("there is no camera {:?}\n", wanted.src)).into_response();
    }
    let browser = hyper::upgrade::on(&mut request);
    // No request that becomes a WebSocket has a body.
    let request = request.map(|_| Body::empty());
    match unix_http::send(&(app.web_socket)(&wanted.src), request).await {
        Ok(mut response) => {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                tokio::spawn(join(browser, hyper::upgrade::on(&mut response)));
            }
            response.map(Body::new)
        }
        // It is starting, or starting again. The player tries again by itself.
        Err(error) => {
            let text = format!("{} is not served at the moment: {error}\n", wanted.src);
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// Copies both ways until one side ends.
async fn join(browser: OnUpgrade, web: OnUpgrade) {
    let upgraded = async { Ok::<(Upgraded, Upgraded), hyper::Error>((browser.await?, web.await?)) };
    if let Ok((browser, web)) = upgraded.await {
        // An error is a side that went away, which is how these end.
        let _ = copy_bidirectional(&mut TokioIo::new(browser), &mut TokioIo::new(web)).await;
    }
}
