//! What a client sends: JSON, small, in time.

use std::time::Duration;

use axum::{
    body,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// More than any camera's table or any command's parameters need.
pub const LIMIT_BYTES: usize = 256 * 1024;
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// A body of JSON. Its media type has to say so: a form of another site's page cannot, so nothing changes by one.
pub struct JsonBody<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json") {
            let message = "the body has to be JSON, with the header Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let reading = body::to_bytes(request.into_body(), LIMIT_BYTES);
        let read = tokio::time::timeout(TIME_LIMIT, reading).await.map_err(|_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body was not there within {TIME_LIMIT:?}"))
        })?;
        let bytes = read.map_err(|_| {
            let message = format!("the body cannot be read, or is longer than {LIMIT_BYTES} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        })?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) if error.is_data() => {
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the body does not fit: {error}")))
            }
            Err(error) => Err(Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}"))),
        }
    }
}
