//! `/api/processes/NAME/...` and `/api/reload`: having something done.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::{Map, Value, json};

use super::{App, body::JsonBody, control::Changes, problem::Problem};

/// Runs a command in a process; the body has its parameters.
pub async fn call(
    State(app): State<App>,
    Path((process, command)): Path<(String, String)>,
    JsonBody(params): JsonBody<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    let result = app.control.call(&process, &command, Value::Object(params)).await?;
    Ok(Json(json!({ "result": result })))
}

/// Stops a process and starts it again. Returns when that was ordered, not when it runs.
pub async fn restart(State(app): State<App>, Path(process): Path<String>) -> Result<StatusCode, Problem> {
    app.control.restart(&process).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Reads the configuration again.
pub async fn reload(State(app): State<App>) -> Result<Json<Changes>, Problem> {
    Ok(Json(app.control.reload().await?))
}
