//! The page: files that are part of the binary.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The player is the one that belongs to the sink.
#[path = "../../../plugins/fmp4ws/src/player/mod.rs"]
mod player;

/// Path, type and text of each other file.
const FILES: [(&str, &str, &str); 7] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/page.js", JAVASCRIPT, include_str!("page/page.js")),
    ("/events.js", JAVASCRIPT, include_str!("page/events.js")),
    ("/strip.js", JAVASCRIPT, include_str!("page/strip.js")),
    ("/tile.js", JAVASCRIPT, include_str!("page/tile.js")),
    ("/timeline.js", JAVASCRIPT, include_str!("page/timeline.js")),
];

/// Scripts, styles and connections are our own; pictures of a video come as blobs.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
                      style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// A route for each file.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let add = |router: Router<S>, (path, kind, text)| router.route(path, get(async move || file(kind, text)));
    let player = Router::new().route("/valkka-video.js", get(async || file(JAVASCRIPT, &player::PLAYER)));
    FILES.into_iter().fold(player, add)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        // Asked for again after an update.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}
