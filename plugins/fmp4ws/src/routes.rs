//! The addresses under which a server answers.
//!
//! | path | answer |
//! | --- | --- |
//! | `/api/ws?src=NAME` | WebSocket: a stream, in [`crate::protocol`]'s messages |
//! | `/api/streams` | JSON: every stream by name, with its viewers |
//! | `/valkka-video.js` | the player |
//! | `/`, `/?src=NAME` | a page that plays all streams, or one |

use crate::player::PLAYER;
use crate::server::Directory;
use crate::session;
use crate::stream::Report;
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a viewer says is a codec list or less.
const MAX_MESSAGE: usize = 64 << 10;

const PAGE: &str = include_str!("player/page.html");

/// The routes of one server.
pub fn router(directory: Arc<Directory>) -> Router {
    Router::new()
        .route("/", get(|| async { file("text/html; charset=utf-8", PAGE) }))
        .route("/valkka-video.js", get(|| async { file("text/javascript; charset=utf-8", &PLAYER) }))
        .route("/api/streams", get(streams))
        .route("/api/ws", get(watch))
        .with_state(directory)
}

fn file(kind: &'static str, body: &'static str) -> impl IntoResponse {
    // `no-cache`: a browser asks again after an update of the plug-in.
    let headers: [(HeaderName, &str); 2] = [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")];
    (headers, body)
}

async fn streams(State(directory): State<Arc<Directory>>) -> Json<BTreeMap<String, Report>> {
    Json(directory.streams().iter().map(|stream| (stream.name().to_owned(), stream.report())).collect())
}

#[derive(Deserialize)]
struct Wanted {
    src: Option<String>,
}

async fn watch(
    State(directory): State<Arc<Directory>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !same_origin(&headers) {
        return (StatusCode::FORBIDDEN, "this page is of another site than the stream\n").into_response();
    }
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        // A fragment goes out with its own message, never held back for the next one.
        .write_buffer_size(0)
        .on_upgrade(move |socket| session::serve(socket, directory, wanted.src))
}

/// Browsers let any page connect to any WebSocket and tell whose page it is: only pages of this server may.
/// Programs send no Origin. A proxy passes Host on as it came.
fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let (Some(host), Some((scheme, authority))) = (host, origin) else { return false };
    let port = if scheme == "https" { ":443" } else { ":80" };
    let plain = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().expect("a header value"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().expect("a header value"));
        }
        same_origin(&headers)
    }

    #[test]
    fn only_pages_of_the_same_host_may_connect() {
        assert!(allowed("cams.example:8080", None));
        assert!(allowed("cams.example:8080", Some("http://cams.example:8080")));
        assert!(allowed("cams.example", Some("https://Cams.example:443")));
        assert!(!allowed("cams.example:8080", Some("http://evil.example")));
        assert!(!allowed("cams.example:8080", Some("http://cams.example:8081")));
        assert!(!allowed("cams.example", Some("null")));
    }
}
