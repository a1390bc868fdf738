//! `valkka status`: cameras and processes in two tables, once or as they change.

use std::{
    io::IsTerminal,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use hyper::Method;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::{client::Client, print};
use crate::cli;

const PERIOD: Duration = Duration::from_secs(1);

pub async fn status(client: &Client, options: &cli::Status) -> Result<()> {
    let mut seconds = interval(PERIOD);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let screen = options.watch && !options.json && std::io::stdout().is_terminal();
    loop {
        seconds.tick().await;
        let status = client.json(Method::GET, "/api/status", None).await?;
        // To the beginning of an empty screen, so that it stands still while it changes.
        let begin = if screen { "\x1b[H\x1b[2J" } else { "" };
        let text = if options.json { format!("{status}\n") } else { tables(&status, now()) };
        print(&format!("{begin}{text}"));
        if !options.watch {
            return Ok(());
        }
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn tables(status: &Value, now: f64) -> String {
    let rows = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let since = |row: &Value| row["since"].as_f64().map(|since| ago(now - since)).unwrap_or_default();
    let mut cameras = vec![["CAMERA", "STATE", "SINCE", "FPS", "AGE", "VIEWERS", "REASON"].map(str::to_owned)];
    for row in rows(&status["cameras"]) {
        let age = row["age_ms"].as_u64().map(|age| format!("{age} ms")).unwrap_or_default();
        let fps = row["fps"].as_f64().map(|fps| format!("{fps:.1}")).unwrap_or_default();
        let viewers = row["viewers"].as_u64().unwrap_or_default().to_string();
        cameras.push([text(&row, "name"), text(&row, "state"), since(&row), fps, age, viewers, text(&row, "reason")]);
    }
    let mut processes = vec![["PROCESS", "STATE", "SINCE", "PID", "RESTARTS", "REASON"].map(str::to_owned)];
    for row in rows(&status["processes"]) {
        let pid = row["pid"].as_u64().map(|pid| pid.to_string()).unwrap_or_default();
        let restarts = row["restarts"].as_u64().unwrap_or_default().to_string();
        processes.push([text(&row, "name"), text(&row, "state"), since(&row), pid, restarts, text(&row, "reason")]);
    }
    format!("{}\n{}", table(&cameras), table(&processes))
}

/// Columns as wide as what is in them; the last as it comes.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// `3m`, `2h`.
fn ago(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_as_wide_as_what_is_in_them() {
        let status = serde_json::json!({
            "cameras": [
                { "name": "lobby", "state": "live", "since": 40.0, "fps": 25.0, "age_ms": 12, "viewers": 1 },
                { "name": "gate", "state": "lost", "since": 90.0, "fps": 0.0, "viewers": 0, "reason": "no route" },
            ],
            "processes": [{ "name": "lobby.capture", "state": "running", "since": 40.0, "pid": 7, "restarts": 0 }],
        });
        let expected = "\
CAMERA  STATE  SINCE  FPS   AGE    VIEWERS  REASON
lobby   live   1m     25.0  12 ms  1
gate    lost   10s    0.0          0        no route

PROCESS        STATE    SINCE  PID  RESTARTS  REASON
lobby.capture  running  1m     7    0
";
        assert_eq!(tables(&status, 100.5), expected);
    }
}
