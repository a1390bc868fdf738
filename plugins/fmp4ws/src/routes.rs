//! The addresses under which a server answers. All of them need what [`crate::access`] demands.
//!
//! | path | answer |
//! | --- | --- |
//! | `/api/ws?src=NAME` | WebSocket: a stream, in [`crate::protocol`]'s messages |
//! | `/api/streams` | JSON: every stream by name, with its viewers |
//! | `/metrics` | the same figures for Prometheus |
//! | `/NAME.mp4` | the stream as one endless file |
//! | `/valkka-video.js` | the player |
//! | `/`, `/?src=NAME` | a page that plays all streams, or one |

use crate::access::Access;
use crate::directory::Directory;
use crate::lobby::Guest;
use crate::player::PLAYER;
use crate::stream::{Report, Visitor};
use crate::{metrics, progressive, session};
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a viewer says is a codec list or less.
const MAX_MESSAGE: usize = 64 << 10;

const PAGE: &str = include_str!("player/page.html");

/// The routes of one server.
pub fn router(directory: Arc<Directory>, access: Access) -> Router {
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", PAGE) }))
        .route("/valkka-video.js", get(|| async { file("text/javascript; charset=utf-8", &PLAYER) }))
        .route("/api/streams", get(streams))
        .route("/api/ws", get(watch))
        .route("/metrics", get(metrics_page))
        .route("/{file}", get(film))
        .layer(from_fn_with_state(Arc::new(access), guard))
        .with_state(directory)
}

/// In front of everything, also of what is not there.
async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.check(request.method(), request.uri(), request.headers()) {
        Ok(permit) => {
            let preflight = request.method() == Method::OPTIONS;
            let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
            access.mark(permit, response.headers_mut());
            response
        }
        Err(denied) => denied.into_response(),
    }
}

fn file(kind: &'static str, body: &'static str) -> impl IntoResponse {
    // `no-cache`: a browser asks again after an update of the plug-in.
    let headers: [(HeaderName, &str); 2] = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")];
    (headers, body)
}

async fn streams(State(directory): State<Arc<Directory>>) -> impl IntoResponse {
    let reports: BTreeMap<String, Report> =
        directory.streams().iter().map(|stream| (stream.name().to_owned(), stream.report())).collect();
    ([(CACHE_CONTROL, "no-store")], Json(reports))
}

async fn metrics_page(State(directory): State<Arc<Directory>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE), (CACHE_CONTROL, "no-store")], metrics::text(directory))
}

#[derive(Deserialize)]
struct Wanted {
    src: Option<String>,
}

async fn watch(
    State(directory): State<Arc<Directory>>,
    Extension(guest): Extension<Arc<Guest>>,
    Query(wanted): Query<Wanted>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        // A fragment goes out with its own message, never held back for the next one.
        .write_buffer_size(0)
        .on_upgrade(move |socket| session::serve(socket, directory, wanted.src, guest))
}

async fn film(
    State(directory): State<Arc<Directory>>,
    Extension(guest): Extension<Arc<Guest>>,
    Path(file): Path<String>,
    method: Method,
) -> Response {
    let Some(name) = file.strip_suffix(".mp4") else {
        return (StatusCode::NOT_FOUND, "there is no such page; streams are at /NAME.mp4\n").into_response();
    };
    let stream = match directory.find(Some(name)) {
        Ok(stream) => stream,
        Err(unknown) => return (StatusCode::NOT_FOUND, format!("{unknown}\n")).into_response(),
    };
    let headers = [
        (CONTENT_TYPE, "video/mp4"),
        (CACHE_CONTROL, "no-store"),
        (ACCEPT_RANGES, "none"),
        // It ends with the stream.
        (CONNECTION, "close"),
    ];
    if method == Method::HEAD {
        return headers.into_response();
    }
    match stream.join(Visitor::film(guest.peer())) {
        Ok(seat) => {
            guest.seated();
            (headers, progressive::body(seat)).into_response()
        }
        Err(refused) => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], format!("{refused}\n")).into_response(),
    }
}
