//! `/api/logs`: what processes have printed, one JSON object a line.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tokio::sync::{
    OwnedSemaphorePermit,
    broadcast::{Receiver, error::RecvError},
};

use super::{App, control::LogLine, events::ended, problem::Problem, query::Wanted};

/// Lines that are told if nobody says how many.
const LINES: usize = 100;
const MOST_LINES: usize = 10_000;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// One process, or all processes of one camera; all there are without.
    process: Option<String>,
    /// How many lines of the past.
    lines: Option<usize>,
    /// Goes on with new lines as they come.
    #[serde(default)]
    follow: bool,
    /// Checked elsewhere.
    #[serde(rename = "token")]
    _token: Option<String>,
}

/// A line of JSON for each line of log, oldest first: `{"time","process","line"}`.
pub async fn tell(State(app): State<App>, Wanted(query): Wanted<Query>) -> Result<Response, Problem> {
    // Before the past is read, so that nothing falls between.
    let events = app.board.events();
    let past = app.control.logs(query.process.as_deref(), query.lines.unwrap_or(LINES).min(MOST_LINES));
    let newest = past.last().map_or(f64::NEG_INFINITY, |line| line.time);
    let past: String = past.iter().map(as_line).collect();
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    if !query.follow {
        return Ok((kind, past).into_response());
    }
    let follower = Follower { events, process: query.process, newest, _place: app.listen()? };
    let ending = app.ending.clone();
    let new = futures_util::stream::unfold((follower, ending), async |(mut follower, ending)| {
        tokio::select! {
            line = follower.next() => Some((Ok::<_, Infallible>(Bytes::from(line?)), (follower, ending))),
            () = ended(ending.clone()) => None,
        }
    });
    let past = futures_util::stream::iter([Ok(Bytes::from(past))]);
    Ok((kind, Body::from_stream(futures_util::StreamExt::chain(past, Box::pin(new)))).into_response())
}

struct Follower {
    events: Receiver<Arc<str>>,
    process: Option<String>,
    /// When the newest line was printed that was told already, until one is newer: clocks may be set back.
    newest: f64,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(&mut self) -> Option<String> {
        loop {
            match self.events.recv().await {
                Ok(event) => {
                    let Some(line) = log_line(&event) else { continue };
                    let wanted = self.process.as_ref().is_none_or(|name| line.is_of(name));
                    if wanted && line.time > self.newest {
                        self.newest = f64::NEG_INFINITY;
                        return Some(as_line(&line));
                    }
                }
                // Lines are lost to a client that does not keep up; it goes on with the next.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn log_line(event: &str) -> Option<LogLine> {
    #[derive(Deserialize)]
    struct Event {
        value: LogLine,
    }
    if !event.starts_with(r#"{"type":"log""#) {
        return None;
    }
    serde_json::from_str::<Event>(event).ok().map(|event| event.value)
}

fn as_line(line: &LogLine) -> String {
    let mut text = serde_json::to_string(line).expect("strings and numbers become JSON");
    text.push('\n');
    text
}
