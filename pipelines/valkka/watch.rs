//! Looks after every camera once a second: counts what its web process serves, and has a capture process started
//! again that brings nothing.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, de::IgnoredAny};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::trace;

use crate::{health::Verdict, status::Board, web::unix_http};

const PERIOD: Duration = Duration::from_secs(1);
const ANSWER_LIMIT: Duration = Duration::from_millis(800);

/// Runs until it is dropped. `restart` gets a process's name and the reason.
pub async fn watch(
    board: Arc<Board>,
    web_socket: Arc<dyn Fn(&str) -> PathBuf + Send + Sync>,
    restart: impl Fn(&str, String),
) {
    let mut seconds = interval(PERIOD);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let cameras = board.camera_names();
        let asked: Vec<_> = cameras.iter().map(|camera| tokio::spawn(ask((web_socket)(camera)))).collect();
        for (camera, asked) in cameras.iter().zip(asked) {
            match asked.await {
                Ok(Ok(counts)) => board.served(camera, counts.frames, counts.viewers),
                // It is starting, or starting again: its keeper knows.
                problem => trace!("{camera}.web says nothing: {problem:?}"),
            }
            if let Verdict::Restart(reason) = board.tick(camera) {
                restart(&format!("{camera}.capture"), reason);
            }
        }
        board.tell_status();
    }
}

#[derive(Debug, Default)]
struct Counts {
    frames: u64,
    viewers: u64,
}

/// What `fmp4wssink` answers at `/api/streams`: an object per stream. Other fields are its own.
#[derive(Deserialize)]
struct Stream {
    frames: u64,
    viewers: Vec<IgnoredAny>,
}

async fn ask(socket: PathBuf) -> std::io::Result<Counts> {
    let body = timeout(ANSWER_LIMIT, unix_http::get(&socket, "/api/streams", 256 * 1024)).await??;
    let streams: std::collections::BTreeMap<String, Stream> = serde_json::from_slice(&body)?;
    let add = |counts: Counts, stream: &Stream| Counts {
        frames: counts.frames + stream.frames,
        viewers: counts.viewers + stream.viewers.len() as u64,
    };
    Ok(streams.values().fold(Counts::default(), add))
}
