//! What is answered under which path, and on which way in.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post, put},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    App,
    access::{self, Access},
    cameras, events, files, login, logs, metrics,
    problem::Problem,
    processes, snapshot, tunnel,
};
use crate::status::Status;

const OPENAPI: &str = include_str!("../../../docs/openapi.json");

/// Method, path and handler of everything but the page's files. A test holds it against `docs/openapi.json`.
fn api() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("get", "/api/status", get(status)),
        ("get", "/api/events", get(events::subscribe)),
        ("get", "/api/objects", get(objects)),
        ("get", "/api/ws", get(tunnel::pass_through)),
        ("get", "/api/cameras", get(cameras::list)),
        ("post", "/api/cameras", post(cameras::add)),
        ("get", "/api/cameras/{name}", get(cameras::show)),
        ("delete", "/api/cameras/{name}", delete(cameras::remove)),
        ("put", "/api/cameras/{name}/zones", put(cameras::set_zones)),
        ("get", "/api/cameras/{name}/frame.jpeg", get(snapshot::frame)),
        ("post", "/api/processes/{name}/restart", post(processes::restart)),
        ("post", "/api/processes/{name}/commands/{command}", post(processes::call)),
        ("get", "/api/logs", get(logs::tell)),
        ("post", "/api/reload", post(processes::reload)),
        ("post", "/api/login", post(login::login)),
        ("delete", "/api/login", delete(login::logout)),
        ("get", "/api/openapi.json", get(openapi)),
        ("get", "/metrics", get(metrics::tell)),
        ("get", "/healthz", get(async || "ok\n")),
    ]
}

/// For the network: page and API, behind the checks of [`access`].
pub fn on_port(app: App, access: Access) -> Router {
    let access = Arc::new(access);
    router(app, files::routes(), access.clone()).layer(middleware::from_fn_with_state(access, access::check))
}

/// For the control socket: the API alone, for whoever may open the socket.
pub fn on_socket(app: App) -> Router {
    router(app, Router::new(), Arc::new(Access { private: true, ..Access::default() }))
}

fn router(app: App, files: Router<App>, access: Arc<Access>) -> Router {
    api()
        .into_iter()
        .fold(files, |router, (_, path, handler)| router.route(path, handler))
        .fallback(async |request: Request| Problem::no_path(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| {
            let message = format!("{} cannot be done with this path", request.method());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .layer(middleware::from_fn(ours_alone))
        .layer(Extension(access))
        .with_state(app)
}

/// Whatever it is: no page of another site gets it into its process, no browser takes it for what it is not, and no
/// cache keeps it, but where a handler says otherwise.
async fn ours_alone(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let always = [
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in always {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn status(State(app): State<App>) -> Json<Status> {
    Json(app.board.status())
}

/// What analysers have said lately, unchanged.
#[derive(Serialize)]
struct Objects {
    objects: Vec<Box<RawValue>>,
}

async fn objects(State(app): State<App>) -> Json<Objects> {
    Json(Objects { objects: app.board.seen.newest() })
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let paths = described["paths"].as_object().unwrap();
        let methods = |(path, item): (&String, &serde_json::Value)| {
            let path = path.clone();
            let names: Vec<_> = item.as_object().unwrap().keys().filter(|key| *key != "parameters").cloned().collect();
            names.into_iter().map(move |method| (method, path.clone()))
        };
        let described: BTreeSet<_> = paths.iter().flat_map(methods).collect();
        let served: BTreeSet<_> =
            api().into_iter().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
        assert_eq!(described, served);
    }

    #[test]
    fn objects_are_described_as_the_analyser_describes_them() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let analyser = include_str!("../../../docs/detections.schema.json");
        let analyser: serde_json::Value = serde_json::from_str(analyser).unwrap();
        let (ours, theirs) =
            (&described["components"]["schemas"]["TrackedObject"], &analyser["$defs"]["tracked_object"]);
        for part in ["required", "properties"] {
            assert!(ours[part].is_object() || ours[part].is_array());
            assert_eq!(ours[part], theirs[part], "{part}");
        }
    }
}
