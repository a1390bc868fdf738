//! `/api/cameras/NAME/frame.jpeg`: the picture of this moment.
//!
//! The orchestrator touches no frame: a short-lived process reads the camera's raw channel, makes a JPEG of the newest
//! frame, writes it to its standard output, and ends.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    sync::Semaphore,
    time::timeout,
};

use super::{App, problem::Problem};
use crate::{
    mask::mask,
    process::{exec, spawner::Spawner},
    requirements::GST_LAUNCH,
};

/// Includes starting GStreamer on a busy machine, and a camera that has just begun to decode.
const TIME_LIMIT: Duration = Duration::from_secs(30);
const LARGEST_BYTES: u64 = 32 << 20;
/// Processes at once; more wait for their turn.
const AT_ONCE: usize = 2;
/// Who asks again within this time gets the same picture.
const FRESH: Duration = Duration::from_millis(500);

/// Takes pictures.
#[derive(Clone)]
pub struct Photographer(Arc<Inner>);

struct Inner {
    spawner: Spawner,
    /// Where the channels are.
    folder: PathBuf,
    turns: Semaphore,
    /// The newest picture: several viewers of one camera ask at the same time.
    last: Mutex<Option<(String, Instant, Bytes)>>,
}

impl Photographer {
    pub fn new(spawner: Spawner, folder: PathBuf) -> Self {
        Self(Arc::new(Inner { spawner, folder, turns: Semaphore::new(AT_ONCE), last: Mutex::default() }))
    }

    /// The newest frame of a camera as a JPEG.
    async fn picture(&self, camera: &str) -> Result<Bytes, Problem> {
        let _turn = self.0.turns.acquire().await.expect("nobody closes this semaphore");
        if let Some(picture) = self.fresh(camera) {
            return Ok(picture);
        }
        let late = |_| {
            let message = format!("{camera} has brought no picture within {} s", TIME_LIMIT.as_secs());
            Problem::new(StatusCode::GATEWAY_TIMEOUT, message)
        };
        let picture = timeout(TIME_LIMIT, self.take(camera)).await.map_err(late)??;
        *self.0.last.lock().expect("nothing panics under this lock") =
            Some((camera.to_owned(), Instant::now(), picture.clone()));
        Ok(picture)
    }

    fn fresh(&self, camera: &str) -> Option<Bytes> {
        let last = self.0.last.lock().expect("nothing panics under this lock");
        let (_, _, picture) = last.as_ref().filter(|(name, at, _)| name == camera && at.elapsed() < FRESH)?;
        Some(picture.clone())
    }

    async fn take(&self, camera: &str) -> Result<Bytes, Problem> {
        let failed = |error: std::io::Error| {
            Problem::new(StatusCode::BAD_GATEWAY, format!("no picture of {camera} can be taken: {error}"))
        };
        // It dies with this future: the command is killed when it is dropped.
        let mut child = self.0.spawner.spawn(self.command(camera)).await.map_err(failed)?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let (picture, complaint) = tokio::join!(read(stdout, LARGEST_BYTES), read(stderr, 64 << 10));
        let status = child.wait().await.map_err(failed)?;
        if status.success() && picture.starts_with(&[0xff, 0xd8]) {
            return Ok(picture.into());
        }
        let complaint = mask(&String::from_utf8_lossy(&complaint));
        let line = complaint.lines().find(|line| line.contains("ERROR")).unwrap_or("its pipeline ended without one");
        Err(Problem::new(StatusCode::BAD_GATEWAY, format!("no picture of {camera}: {line}")))
    }

    /// By way of `valkka exec`, so that it dies with the orchestrator.
    fn command(&self, camera: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("valkka").arg(exec::SUBCOMMAND);
        command.arg("--parent").arg(std::process::id().to_string()).arg("--").arg(GST_LAUNCH).arg("-q");
        command.arg("valkkashmsrc").arg(format!("channel={camera}.rgb")).args(["num-buffers=1"]);
        command.args(["!", "videoconvert", "!", "jpegenc", "quality=90", "!", "fdsink", "sync=false"]);
        command.env("VALKKA_RUNTIME_DIR", OsString::from(&self.0.folder));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command
    }
}

async fn read(from: impl AsyncRead + Unpin, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What a pipe brought before its error is what there is.
    let _ = from.take(limit).read_to_end(&mut bytes).await;
    bytes
}

/// Answers the newest frame.
pub async fn frame(State(app): State<App>, Path(name): Path<String>) -> Result<Response, Problem> {
    if !app.board.has_camera(&name) {
        return Err(Problem::no_camera(&name));
    }
    let picture = app.photographer.picture(&name).await?;
    Ok(([(header::CONTENT_TYPE, "image/jpeg")], picture).into_response())
}
