//! What a process prints, line by line.

use std::{collections::VecDeque, sync::Mutex};

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::mask::mask;

/// A line longer than this is cut: a process that never ends its line must not fill our memory.
const LONGEST_LINE: usize = 256 * 1024;
/// Of a line for people, what is kept: thousands are.
const LONGEST_SHOWN: usize = 2048;
/// How many lines are remembered of each process.
const REMEMBERED: usize = 50;

/// Calls `on_line` with each line of `from`, until it ends. Line ends are `\n` and `\r` (progress bars).
pub async fn for_each_line(mut from: impl AsyncRead + Unpin, mut on_line: impl FnMut(&str)) {
    let mut line = Vec::new();
    let mut chunk = [0; 8192];
    // An error of a pipe is its end.
    while let Ok(len @ 1..) = from.read(&mut chunk).await {
        for &byte in &chunk[..len] {
            if byte == b'\n' || byte == b'\r' {
                finish(&mut line, &mut on_line);
            } else if line.len() < LONGEST_LINE {
                line.push(byte);
            }
        }
    }
    finish(&mut line, &mut on_line);
}

fn finish(line: &mut Vec<u8>, on_line: &mut impl FnMut(&str)) {
    if !line.is_empty() {
        on_line(String::from_utf8_lossy(line).trim_end());
        line.clear();
    }
}

/// The last lines of one run of a process, masked: they tell why it ended.
#[derive(Debug, Default)]
pub struct LastLines(Mutex<VecDeque<String>>);

impl LastLines {
    /// Remembers a line, and hands it back as it may be shown.
    pub fn remember(&self, line: &str) -> String {
        // Cut when it is masked already: half a password is not known as one.
        let mut line = mask(line);
        if line.len() > LONGEST_SHOWN {
            line.truncate(line.floor_char_boundary(LONGEST_SHOWN));
            line.push('…');
        }
        let mut lines = self.0.lock().expect("nothing panics under this lock");
        if lines.len() == REMEMBERED {
            lines.pop_front();
        }
        lines.push_back(line.clone());
        line
    }

    /// What says most about a failure: the first error with its detail, or the last line of all.
    pub fn complaint(&self) -> Option<String> {
        let lines = self.0.lock().expect("nothing panics under this lock");
        let Some(at) = lines.iter().position(|line| is_error(line)) else { return lines.back().map(|line| cut(line)) };
        let error = shorten(&lines[at]);
        // gst-launch-1.0 prints a heading, a place in its sources, and then what it knows in addition.
        let heading = lines.get(at + 1).is_some_and(|line| line.starts_with("Additional debug info"));
        let detail = lines.get(at + 3).filter(|line| heading && !is_progress(line));
        Some(cut(
            &detail.map_or_else(|| error.to_owned(), |detail| format!("{} ({detail})", error.trim_end_matches('.')))
        ))
    }
}

fn is_error(line: &str) -> bool {
    let line = line.trim_start();
    ["error", "fatal", "panicked"]
        .iter()
        .any(|word| line.get(..word.len()).is_some_and(|l| l.eq_ignore_ascii_case(word)))
}

/// What gst-launch-1.0 says of itself while it ends.
fn is_progress(line: &str) -> bool {
    ["Setting ", "Execution ", "Freeing ", "ERROR"].iter().any(|start| line.starts_with(start))
}

/// `ERROR: from element /GstPipeline:pipeline0/GstRTSPSrc:camera: Could not connect.` is about `Could not connect.`
fn shorten(line: &str) -> &str {
    let line =
        line.strip_prefix("ERROR: from element ").and_then(|rest| rest.split_once(": ")).map_or(line, |(_, m)| m);
    line.strip_prefix("ERROR: ").unwrap_or(line)
}

fn cut(line: &str) -> String {
    line.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for_each_line(text, |line| lines.push(line.to_owned())).await;
        lines
    }

    #[tokio::test]
    async fn lines_come_one_by_one_also_the_last_and_the_broken() {
        assert_eq!(lines(b"a\nb c \r\n\n\rd").await, ["a", "b c", "d"]);
        assert_eq!(lines(b"\xff\n").await, ["\u{fffd}"]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut() {
        let text = vec![b'x'; LONGEST_LINE + 100];
        assert_eq!(lines(&text).await[0].len(), LONGEST_LINE);
    }

    #[test]
    fn of_a_long_line_the_beginning_is_kept() {
        let shown = LastLines::default().remember(&"ü".repeat(LONGEST_SHOWN));
        assert!(shown.len() < LONGEST_SHOWN + 8 && shown.ends_with("ü…"), "{}", shown.len());
    }

    #[test]
    fn the_first_error_is_the_reason_and_holds_no_password() {
        let last = LastLines::default();
        last.remember("Setting pipeline to PLAYING ...");
        last.remember("ERROR: from element /GstPipeline:pipeline0/GstRTSPSrc:camera: No rtsp://u:p@cam/ here.");
        last.remember("ERROR: pipeline doesn't want to preroll.");
        last.remember("Freeing pipeline ...");
        assert_eq!(last.complaint().unwrap(), "No rtsp://***@cam/ here.");
    }

    #[test]
    fn the_detail_of_an_error_belongs_to_the_reason() {
        let last = LastLines::default();
        last.remember("ERROR: from element /GstPipeline:pipeline0/GstRTSPSrc:camera: Could not open resource.");
        last.remember("Additional debug info:");
        last.remember("../gst/rtsp/gstrtspsrc.c(8336): gst_rtspsrc_retrieve_sdp (): /GstPipeline:pipeline0");
        let without = last.complaint().unwrap();
        last.remember("Failed to connect. (Generic error)");
        assert_eq!(without, "Could not open resource.");
        assert_eq!(last.complaint().unwrap(), "Could not open resource (Failed to connect. (Generic error))");
    }

    #[test]
    fn without_an_error_the_last_line_has_to_do() {
        let last = LastLines::default();
        assert_eq!(last.complaint(), None);
        for number in 0..REMEMBERED + 5 {
            last.remember(&format!("line {number}"));
        }
        assert_eq!(last.complaint().unwrap(), format!("line {}", REMEMBERED + 4));
    }
}
