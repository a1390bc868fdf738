//! `/api/login`: how a browser comes to the token's cookie, and loses it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::Extension,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{access::Access, body::JsonBody, problem::Problem};

/// Whoever guesses has to wait.
const PENALTY: Duration = Duration::from_millis(500);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    token: String,
}

/// Gives the cookie to whoever knows the token.
pub async fn login(
    Extension(access): Extension<Arc<Access>>,
    headers: HeaderMap,
    JsonBody(Login { token }): JsonBody<Login>,
) -> Result<Response, Problem> {
    match &access.token {
        Some(known) if !known.is(&token) => {
            tokio::time::sleep(PENALTY).await;
            Err(Problem::new(StatusCode::UNAUTHORIZED, "this is not the token"))
        }
        Some(_) => Ok(with_cookie(&access, &headers, Some(&token))),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

/// Takes the cookie away.
pub async fn logout(Extension(access): Extension<Arc<Access>>, headers: HeaderMap) -> Response {
    with_cookie(&access, &headers, None)
}

fn with_cookie(access: &Access, headers: &HeaderMap, token: Option<&str>) -> Response {
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, access.cookie(headers, token))]).into_response()
}
