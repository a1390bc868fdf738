//! `/api/events`: a WebSocket on which everything is told as it happens.
//!
//! Each message is `{"type":TYPE,"value":VALUE}`:
//!
//! | type | value |
//! | --- | --- |
//! | `status` | the answer of `/api/status`: at the beginning, at each change of state, and once a second |
//! | `detections` | what the analyser said of one frame, unchanged |
//! | `log` | `{"process","line"}`: a line that a process has printed, without credentials |
//!
//! A client that does not keep up loses events; it gets the status in their place. `?only=detections,status` takes
//! these types alone.

use std::sync::Arc;

use axum::{
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    response::Response,
};
use serde::Deserialize;
use tokio::sync::{broadcast::error::RecvError, watch};

use super::App;

#[derive(Deserialize)]
pub struct Wanted {
    only: Option<String>,
}

/// Upgrades the request and feeds the client until either side ends.
pub async fn subscribe(State(app): State<App>, Query(wanted): Query<Wanted>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| feed(socket, app, wanted))
}

async fn feed(mut socket: WebSocket, app: App, wanted: Wanted) {
    // Before the first status, so that nothing falls between.
    let mut events = app.board.events();
    let mut next = Some(app.board.status_event());
    loop {
        if let Some(event) = next.take().filter(|event| wanted.wants(event))
            && socket.send(Message::text(&*event)).await.is_err()
        {
            return;
        }
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => next = Some(event),
                Err(RecvError::Lagged(_)) => next = Some(app.board.status_event()),
                Err(RecvError::Closed) => return,
            },
            // Clients say nothing here; reading answers pings and notices the end.
            message = socket.recv() => if !matches!(message, Some(Ok(_))) { return },
            () = ended(app.ending.clone()) => return,
        }
    }
}

/// Returns when the server is to end.
async fn ended(mut ending: watch::Receiver<bool>) {
    // An error means that the sender is gone: the end as well.
    let _ = ending.wait_for(|&ending| ending).await;
}

impl Wanted {
    fn wants(&self, event: &Arc<str>) -> bool {
        let is =
            |kind: &str| event.strip_prefix(r#"{"type":""#).is_some_and(|rest| rest.starts_with(&format!("{kind}\"")));
        self.only.as_ref().is_none_or(|kinds| kinds.split(',').any(is))
    }
}
