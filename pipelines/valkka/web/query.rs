//! What stands behind the question mark of a request, with errors that are JSON as well.

use axum::{
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A query's values.
pub struct Wanted<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Wanted<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let parsed = Query::try_from_uri(&parts.uri);
        let wrong =
            |error: axum::extract::rejection::QueryRejection| Problem::new(StatusCode::BAD_REQUEST, error.body_text());
        parsed.map(|Query(value)| Self(value)).map_err(wrong)
    }
}
