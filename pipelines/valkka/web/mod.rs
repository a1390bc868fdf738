//! One page, one port.
//!
//! | path | what it answers |
//! | --- | --- |
//! | `/` | the page: all cameras, live, with what moves in them |
//! | `/api/ws?src=CAMERA` | the camera's video: a WebSocket passed through to its web process ([`tunnel`]) |
//! | `/api/status` | `{"cameras":[...],"processes":[...]}` ([`crate::status`]) |
//! | `/api/events` | a WebSocket of events as they happen ([`events`]) |
//! | `/valkka-video.js` | the player, for one's own pages |
//! | `/healthz` | `ok`, while the orchestrator runs |
//!
//! The caller binds, and the caller stops.

mod events;
mod tunnel;
pub mod unix_http;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::ListenerExt,
};
use tokio::{net::TcpListener, sync::watch};

use crate::status::{Board, Status};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Path, type and text of each file of the page. The player is the one that belongs to the sink.
const FILES: [(&str, &str, &str); 8] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/page.js", JAVASCRIPT, include_str!("page/page.js")),
    ("/events.js", JAVASCRIPT, include_str!("page/events.js")),
    ("/strip.js", JAVASCRIPT, include_str!("page/strip.js")),
    ("/tile.js", JAVASCRIPT, include_str!("page/tile.js")),
    ("/timeline.js", JAVASCRIPT, include_str!("page/timeline.js")),
    ("/valkka-video.js", JAVASCRIPT, include_str!("../../../plugins/fmp4ws/src/player/valkka-video.js")),
];

/// Scripts, styles and connections are our own; pictures of a video come as blobs.
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'";

/// What the handlers know.
#[derive(Clone)]
pub struct App {
    pub board: Arc<Board>,
    /// Where the web process of a camera serves.
    pub web_socket: Arc<dyn Fn(&str) -> PathBuf + Send + Sync>,
    /// Turns true when the server is to end.
    pub ending: watch::Receiver<bool>,
}

/// Serves until [`App::ending`], and a moment longer for those who are being answered.
pub async fn serve(listener: TcpListener, app: App) -> std::io::Result<()> {
    let mut ending = app.ending.clone();
    let mut end = ending.clone();
    // A fragment of video goes out when it is there, not when the next one has come.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let shutdown = async move {
        let _ = ending.wait_for(|&ending| ending).await;
    };
    let serving = axum::serve(listener, routes(app)).with_graceful_shutdown(shutdown);
    let overdue = async move {
        let _ = end.wait_for(|&ending| ending).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        served = serving.into_future() => served,
        () = overdue => Ok(()),
    }
}

fn routes(app: App) -> Router {
    let add_file = |router: Router<App>, (path, kind, text)| router.route(path, get(async move || file(kind, text)));
    let files = FILES.into_iter().fold(Router::new(), add_file);
    files
        .route("/api/ws", get(tunnel::pass_through))
        .route("/api/status", get(status))
        .route("/api/events", get(events::subscribe))
        .route("/healthz", get(|| async { "ok\n" }))
        .layer(middleware::from_fn(same_origin))
        .with_state(app)
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text)
}

async fn status(State(app): State<App>) -> Json<Status> {
    Json(app.board.status())
}

/// Another site's page, open in a browser on this machine, must not look through our cameras.
async fn same_origin(request: Request, next: Next) -> Response {
    if is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "requests of other sites' pages are refused\n").into_response()
    }
}

/// Browsers send `Origin` with WebSockets and requests across sites; programs do not.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    match (headers.contains_key(header::ORIGIN), text(header::ORIGIN), text(header::HOST)) {
        (false, ..) => true,
        (true, Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, origin)| origin == host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8080".parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        assert!(is_same_origin(&headers(None)));
        assert!(is_same_origin(&headers(Some("http://127.0.0.1:8080"))));
        assert!(!is_same_origin(&headers(Some("http://127.0.0.1:9999"))));
        assert!(!is_same_origin(&headers(Some("https://example.org"))));
        assert!(!is_same_origin(&headers(Some("null"))));
    }
}
