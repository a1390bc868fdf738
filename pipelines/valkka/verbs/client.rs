//! The command line's way to a running orchestrator: its API, on the Unix socket in its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use axum::body::Body;
use hyper::{Method, Request, StatusCode, body::Incoming};
use serde_json::Value;

use crate::{
    runtime_dir,
    web::{CONTROL_SOCKET, unix_http},
};

/// Why there is nobody to talk to.
#[derive(Debug, thiserror::Error)]
pub enum NoOrchestrator {
    #[error("no orchestrator is running: `valkka run` starts one")]
    None,
    #[error("{} orchestrators are running: say which one by --run: {}", .0.len(), .0.join(", "))]
    Many(Vec<String>),
    #[error("there is no run {0:?}; there is {1}")]
    Other(String, String),
    #[error("the orchestrator does not answer on {socket}: {source}")]
    Silent { socket: PathBuf, source: std::io::Error },
}

/// The orchestrator said no.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub status: StatusCode,
    message: String,
}

/// Longer than anything but a picture.
const LARGEST_BYTES: usize = 64 << 20;

/// One orchestrator.
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The one that runs; `run` names one of several: its process id, as in its folder's name.
    pub fn find(run: Option<&str>) -> Result<Self, NoOrchestrator> {
        let runs = runtime_dir::living_runs();
        let name = |run: &Path| run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names: Vec<_> = runs.iter().map(|run| name(run)).collect();
        let chosen = match (run, &runs[..]) {
            (_, []) => return Err(NoOrchestrator::None),
            (None, [only]) => only,
            (None, _) => return Err(NoOrchestrator::Many(names)),
            (Some(wanted), runs) => {
                let other = || NoOrchestrator::Other(wanted.to_owned(), names.join(", "));
                runs.iter().find(|run| name(run) == wanted).ok_or_else(other)?
            }
        };
        Ok(Self { socket: chosen.join(CONTROL_SOCKET) })
    }

    /// An answer as it comes, if it is one that was hoped for.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<hyper::Response<Incoming>> {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let request = request.context("this cannot be part of a request")?;
        let silent = |source| NoOrchestrator::Silent { socket: self.socket.clone(), source };
        let response = unix_http::send(&self.socket, request).await.map_err(silent)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = axum::body::to_bytes(Body::new(response.into_body()), LARGEST_BYTES).await.unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = said["error"]["message"].as_str().map_or_else(|| format!("answers {status}"), str::to_owned);
        Err(Refused { status, message }.into())
    }

    pub async fn bytes(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Vec<u8>> {
        let response = self.send(method, path, body).await?;
        let body = axum::body::to_bytes(Body::new(response.into_body()), LARGEST_BYTES).await;
        Ok(body.context("the answer breaks off")?.into())
    }

    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let bytes = self.bytes(method, path, body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).context("the answer is not JSON")
    }
}

/// As part of a path.
pub fn segment(name: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(encoded).collect()
}
