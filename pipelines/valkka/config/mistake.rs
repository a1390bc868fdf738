//! What is wrong with a file, where, and what would be right.

use std::{fmt, ops::Range};

use crate::mask::mask;

/// One mistake: where it is, what it is, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// `cameras.lobby.latency`; empty if it is about the file.
    pub key: String,
    pub what: String,
    /// What may stand there instead, or what to do.
    pub allowed: String,
    /// Whether the line may be shown: not if nobody knows what it holds.
    pub show: bool,
}

/// All mistakes of one file. Its `Display` is the report for the user, without a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    reports: Vec<Report>,
}

/// A mistake with its place in lines and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Report {
    /// `valkka.toml:12:7`.
    place: String,
    line: usize,
    text: String,
    marker: String,
    mistake: Mistake,
}

impl std::error::Error for Mistakes {}

impl Mistakes {
    /// Finds lines and columns. `file` is its name as the user wrote it.
    pub fn new(file: &str, text: &str, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.span.start);
        Self { reports: mistakes.into_iter().map(|mistake| Report::new(file, text, mistake)).collect() }
    }

    /// `3 mistakes:`.
    pub fn heading(&self) -> String {
        let count = self.reports.len();
        format!("{count} mistake{}:", if count == 1 { "" } else { "s" })
    }

    /// In one line each, for whoever has given one camera's table and sees no file: without places in one.
    pub fn brief(&self) -> String {
        let brief = |Report { mistake: Mistake { key, what, allowed, .. }, .. }: &Report| {
            // `cameras.lobby.uri` is the table's `uri`.
            let key = key.splitn(3, '.').nth(2).map(|key| format!(" ({key})")).unwrap_or_default();
            format!("{what}{key}; {allowed}")
        };
        mask(&self.reports.iter().map(brief).collect::<Vec<_>>().join("\n"))
    }
}

impl Report {
    fn new(file: &str, text: &str, mistake: Mistake) -> Self {
        let start = mistake.span.start.min(text.len());
        let begin = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[begin..].find('\n').map_or(text.len(), |newline| begin + newline);
        let line = text[..begin].matches('\n').count() + 1;
        let column = text[begin..start].chars().count() + 1;
        let shown = if mistake.show { text[begin..end].trim_end().to_owned() } else { String::new() };
        let marked = text.get(start..mistake.span.end.clamp(start, end)).unwrap_or_default().chars().count().max(1);
        let marker = format!("{}{}", " ".repeat(column - 1), "^".repeat(marked));
        Self { place: format!("{file}:{line}:{column}"), line, text: shown, marker, mistake }
    }

    fn headline(&self) -> String {
        let Mistake { key, what, .. } = &self.mistake;
        // Behind what is wrong, not before: `password: ...` would be taken for a password.
        let key = if key.is_empty() { String::new() } else { format!(" ({key})") };
        format!("{}: {what}{key}", self.place)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, report) in self.reports.iter().enumerate() {
            if index > 0 {
                writeln!(f, "\n")?;
            }
            write!(f, "{}", mask(&report.headline()))?;
            let masked = mask(&report.text);
            if report.text.is_empty() {
                write!(f, "\n  {}", report.mistake.allowed)?;
                continue;
            }
            let number = report.line.to_string();
            let margin = " ".repeat(number.len());
            // A line that lost a password is shorter now: no marker is better than one that points at nothing.
            let marker = if masked == report.text { report.marker.as_str() } else { "" };
            let space = if marker.is_empty() { "" } else { " " };
            write!(f, "\n{number} | {masked}\n{margin} | {marker}{space}{}", mask(&report.mistake.allowed))?;
        }
        Ok(())
    }
}

/// The word of `known` that the user probably meant.
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count().div_ceil(3).clamp(1, 3);
    known.into_iter().map(|other| (distance(word, other), other)).filter(|(d, _)| *d <= most).min().map(|(_, w)| w)
}

/// How many letters have to be put in, taken out, changed, or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// `a, b or c`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = ["latency", "password", "uri", "fps"];
        assert_eq!(meant("latnecy", known), Some("latency"));
        assert_eq!(meant("passwd", known), Some("password"));
        assert_eq!(meant("url", known), Some("uri"));
        assert_eq!(meant("resolution", known), None);
    }

    #[test]
    fn a_report_points_at_the_place() {
        let text = "[server]\nlisten = \"nowhere\"\n";
        let start = text.find("\"now").unwrap();
        let mistake = Mistake {
            span: start..start + 9,
            key: "server.listen".into(),
            what: "\"nowhere\" is no address".into(),
            allowed: "as in \"127.0.0.1:8080\"".into(),
            show: true,
        };
        let report = Mistakes::new("valkka.toml", text, vec![mistake]).to_string();
        let expected = "valkka.toml:2:10: \"nowhere\" is no address (server.listen)\n\
                        2 | listen = \"nowhere\"\n  \
                          |          ^^^^^^^^^ as in \"127.0.0.1:8080\"";
        assert_eq!(report, expected);
    }

    #[test]
    fn a_line_with_a_password_is_shown_without_it() {
        let text = "uri = \"rtsp://me:hush@cam/\"\n";
        let mistake =
            Mistake { span: 0..3, key: "uri".into(), what: "is wrong".into(), allowed: "other".into(), show: true };
        let report = Mistakes::new("f", text, vec![mistake]).to_string();
        assert!(!report.contains("hush") && report.contains("***@cam"), "{report}");
    }
}
