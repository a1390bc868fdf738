//! `/api/events`: a WebSocket on which everything is told as it happens.
//!
//! Each message is `{"type":TYPE,"value":VALUE}`:
//!
//! | type | value |
//! | --- | --- |
//! | `status` | the answer of `/api/status`: at the beginning, at each change of state, and once a second |
//! | `detections` | what the analyser said of one frame, unchanged |
//! | `object` | what it said of the life of an object (`new`, `update`, `end`), unchanged |
//! | `log` | `{"time","process","line"}`: a line that a process has printed, without credentials |
//!
//! A client that does not keep up loses events; it gets the status in their place. `?only=detections,status` takes
//! these types alone.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::rejection::WebSocketUpgradeRejection,
        ws::{Message, WebSocket},
    },
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast::error::RecvError, watch},
    time::timeout,
};

use super::{App, problem::Problem, query::Wanted};

const KINDS: [&str; 4] = ["detections", "object", "status", "log"];
/// Clients say nothing but what the protocol makes them say.
const MAX_MESSAGE: usize = 4096;
/// Who takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Chromium and proxies close what is silent for a minute; and what is gone without a word is noticed.
const PING: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
pub struct Query {
    only: Option<String>,
}

/// Upgrades the request and feeds the client until either side ends.
pub async fn subscribe(
    State(app): State<App>,
    Wanted(query): Wanted<Query>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let kinds = query.kinds()?;
    let upgrade = upgrade.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    let place = app.listen()?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(move |socket| feed(socket, app, kinds, place)))
}

async fn feed(mut socket: WebSocket, app: App, kinds: Vec<&'static str>, _place: OwnedSemaphorePermit) {
    // Before the first status, so that nothing falls between.
    let mut events = app.board.events();
    let mut next = Some(Message::text(&*app.board.status_event())).filter(|_| kinds.contains(&"status"));
    let mut ping = tokio::time::interval(PING);
    ping.reset();
    loop {
        if let Some(message) = next.take()
            && !matches!(timeout(PATIENCE, socket.send(message)).await, Ok(Ok(())))
        {
            return;
        }
        let event = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => app.board.status_event(),
                Err(RecvError::Closed) => return,
            },
            // Clients say nothing here; reading answers pings and notices the end.
            message = socket.recv() => if matches!(message, Some(Ok(_))) { continue } else { return },
            _ = ping.tick() => {
                next = Some(Message::Ping(axum::body::Bytes::new()));
                continue;
            }
            () = ended(app.ending.clone()) => return,
        };
        next =
            Some(&event).filter(|event| kinds.iter().any(|kind| is(event, kind))).map(|event| Message::text(&**event));
    }
}

/// Returns when the server is to end.
pub async fn ended(mut ending: watch::Receiver<bool>) {
    // An error means that the sender is gone: the end as well.
    let _ = ending.wait_for(|&ending| ending).await;
}

impl Query {
    fn kinds(&self) -> Result<Vec<&'static str>, Problem> {
        let Some(only) = &self.only else { return Ok(KINDS.to_vec()) };
        let known = |name: &str| KINDS.into_iter().find(|kind| *kind == name);
        only.split(',').map(|name| known(name).ok_or(name)).collect::<Result<_, _>>().map_err(|name| {
            let message = format!("there are no events of type {name:?}: {}", KINDS.join(", "));
            Problem::new(StatusCode::BAD_REQUEST, message)
        })
    }
}

fn is(event: &Arc<str>, kind: &str) -> bool {
    event
        .strip_prefix(r#"{"type":""#)
        .is_some_and(|rest| rest.strip_prefix(kind).is_some_and(|rest| rest.starts_with('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_chooses_among_the_types_there_are() {
        let kinds = |only: &str| Query { only: Some(only.into()) }.kinds().ok();
        assert_eq!(kinds("status,log"), Some(vec!["status", "log"]));
        assert_eq!(kinds("status,everything"), None);
        assert_eq!(Query { only: None }.kinds().ok(), Some(KINDS.to_vec()));
    }

    #[test]
    fn an_event_is_known_by_its_whole_type() {
        let event: Arc<str> = r#"{"type":"log","value":{}}"#.into();
        assert!(is(&event, "log") && !is(&event, "lo") && !is(&event, "status"));
    }
}
