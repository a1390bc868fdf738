//! How the API says no: a status code that tells whose turn it is, and a sentence that tells what to do.
//!
//! Every answer that is not what was asked for has this body: `{"error":{"message":"there is no camera \"gate\""}}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::control::Refusal;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    /// `message` may hold what a process or a user said: it is masked before it leaves, like everything else.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn no_camera(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no camera {name:?}: GET /api/cameras lists them"))
    }

    pub fn no_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            format!("there is nothing at {path}: GET /api/openapi.json says what there is"),
        )
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal {
            Refusal::Unknown(_) => StatusCode::NOT_FOUND,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::NotNow(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Failed(_) => StatusCode::BAD_GATEWAY,
            Refusal::TooLate(_) => StatusCode::GATEWAY_TIMEOUT,
        };
        Self::new(status, refusal.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let message = crate::mask::mask(&self.message);
        (self.status, Json(json!({ "error": { "message": message } }))).into_response()
    }
}
