//! `/api/ws?src=CAMERA`: a browser's WebSocket, passed through to the web process of that camera.
//!
//! The handshake goes over as it is, but for what is nobody's business there (credentials, and the origin, which has
//! been checked). After it the orchestrator copies bytes: it neither knows nor slows down the protocol between
//! [`fmp4wssink`](../../../plugins/fmp4ws) and its player.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    response::Response,
};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::copy_bidirectional;

use super::{App, control::Watching, problem::Problem, query::Wanted, unix_http};

#[derive(Deserialize)]
pub struct Which {
    src: String,
}

/// Answers what the camera's web process answers.
pub async fn pass_through(
    State(app): State<App>,
    Wanted(Which { src }): Wanted<Which>,
    mut request: Request,
) -> Result<Response, Problem> {
    if !app.board.has_camera(&src) {
        return Err(Problem::no_camera(&src));
    }
    let watching = app.control.watch(&src).await?;
    let browser = hyper::upgrade::on(&mut request);
    // No request that becomes a WebSocket has a body.
    let mut request = request.map(|_| Body::empty());
    for private in [header::AUTHORIZATION, header::COOKIE, header::ORIGIN] {
        request.headers_mut().remove(private);
    }
    // A camera's name needs no escaping; what else stood in the query may be a token.
    *request.uri_mut() = Uri::builder()
        .path_and_query(format!("/api/ws?src={src}"))
        .build()
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "src is not a camera's name"))?;
    // It is starting, or starting again. The player tries again by itself.
    let mut response = unix_http::send(&(app.web_socket)(&src), request).await.map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{src} is not served at the moment: {error}"))
    })?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        tokio::spawn(join(browser, hyper::upgrade::on(&mut response), watching));
    }
    Ok(response.map(Body::new))
}

/// Copies both ways until one side ends.
async fn join(browser: OnUpgrade, web: OnUpgrade, _watching: Watching) {
    let upgraded = async { Ok::<(Upgraded, Upgraded), hyper::Error>((browser.await?, web.await?)) };
    if let Ok((browser, web)) = upgraded.await {
        // An error is a side that went away, which is how these end.
        let _ = copy_bidirectional(&mut TokioIo::new(browser), &mut TokioIo::new(web)).await;
    }
}
