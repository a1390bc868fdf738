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
const SVG: &str = "image/svg+xml";

/// The player is the one that belongs to the sink.
#[path = "../../../plugins/fmp4ws/src/player/mod.rs"]
mod player;

/// Path, type and text of each other file.
const FILES: [(&str, &str, &str); 19] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/api.js", JAVASCRIPT, include_str!("page/api.js")),
    ("/chart.js", JAVASCRIPT, include_str!("page/chart.js")),
    ("/dialogs.js", JAVASCRIPT, include_str!("page/dialogs.js")),
    ("/dom.js", JAVASCRIPT, include_str!("page/dom.js")),
    ("/events.js", JAVASCRIPT, include_str!("page/events.js")),
    ("/grid.js", JAVASCRIPT, include_str!("page/grid.js")),
    ("/overlay.js", JAVASCRIPT, include_str!("page/overlay.js")),
    ("/page.js", JAVASCRIPT, include_str!("page/page.js")),
    ("/processes.js", JAVASCRIPT, include_str!("page/processes.js")),
    ("/single.js", JAVASCRIPT, include_str!("page/single.js")),
    ("/strip.js", JAVASCRIPT, include_str!("page/strip.js")),
    ("/theme.js", JAVASCRIPT, include_str!("page/theme.js")),
    ("/tile.js", JAVASCRIPT, include_str!("page/tile.js")),
    ("/timeline.js", JAVASCRIPT, include_str!("page/timeline.js")),
    ("/tools.js", JAVASCRIPT, include_str!("page/tools.js")),
    ("/zones.js", JAVASCRIPT, include_str!("page/zones.js")),
];

/// Scripts, styles and connections are our own; pictures of a video come as blobs. Nothing else, from nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}
