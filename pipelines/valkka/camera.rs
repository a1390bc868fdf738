//! What the user calls a camera: a name, and where its picture comes from.

use std::{fmt, path::PathBuf};

/// A camera as it was asked for. Its channels are `NAME.h264` and `NAME.rgb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    pub name: String,
    pub source: Source,
}

/// Where the picture comes from. Decides which capture template is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `rtsp://` or `rtsps://`. May hold a password: never shown but through [`crate::mask::mask`].
    Rtsp(String),
    /// A video file, played again and again.
    File(PathBuf),
    /// `test:PATTERN`: a picture of `videotestsrc`.
    Test(String),
}

/// Why an argument is not a camera.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CameraError {
    #[error("camera name {0:?}: 1 to 48 of a-z, 0-9, '-' and '_', beginning with a letter or a digit")]
    Name(String),
    #[error("two cameras are called {0:?}: give one of them another name, as in NAME=URI")]
    Twice(String),
    #[error("{0}: no such file. A camera is rtsp://..., a video file or test:PATTERN")]
    NoFile(String),
    #[error("{0}: no such kind of camera. It is rtsp://..., rtsps://..., a video file or test:PATTERN")]
    Scheme(String),
    #[error("test:{0}: the pattern is a word, as in test:ball or test:smpte")]
    Pattern(String),
}

/// Reads `[NAME=]URI` for each argument and gives a name to those that have none.
pub fn parse_all(arguments: &[String]) -> Result<Vec<Camera>, CameraError> {
    let mut cameras: Vec<Camera> = Vec::new();
    let split: Vec<_> = arguments.iter().map(|argument| split_name(argument)).collect();
    for (index, (name, uri)) in split.iter().enumerate() {
        let source = parse_source(uri)?;
        let name = match name {
            Some(name) if is_name(name) => (*name).to_owned(),
            Some(name) => return Err(CameraError::Name((*name).to_owned())),
            None => {
                let taken = |name: &str| {
                    cameras.iter().any(|c| c.name == name) || split.iter().any(|(other, _)| *other == Some(name))
                };
                suggest_name(&source, index + 1, taken)
            }
        };
        if cameras.iter().any(|camera| camera.name == name) {
            return Err(CameraError::Twice(name));
        }
        cameras.push(Camera { name, source });
    }
    Ok(cameras)
}

/// A camera's name is the first part of its channels' names, and part of a socket's path.
pub fn is_name(name: &str) -> bool {
    name.len() <= 48
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

/// `lobby=rtsp://...` has a name; `rtsp://cam/user=admin` has none: a name holds no `:`, `/` or `.`.
fn split_name(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once('=') {
        Some((name, uri)) if !name.contains(['/', ':', '.']) => (Some(name), uri),
        _ => (None, argument),
    }
}

fn parse_source(uri: &str) -> Result<Source, CameraError> {
    if let Some(pattern) = uri.strip_prefix("test:") {
        let word = !pattern.is_empty() && pattern.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        return if word { Ok(Source::Test(pattern.to_owned())) } else { Err(CameraError::Pattern(pattern.to_owned())) };
    }
    match uri.split_once("://") {
        Some(("rtsp" | "rtsps" | "rtspt", rest)) if !rest.is_empty() => Ok(Source::Rtsp(uri.to_owned())),
        Some(("file", path)) => parse_file(path),
        Some(_) => Err(CameraError::Scheme(crate::mask::mask(uri))),
        None => parse_file(uri),
    }
}

fn parse_file(path: &str) -> Result<Source, CameraError> {
    // Absolute, because the processes that read it are not bound to run in this folder.
    match std::fs::canonicalize(path) {
        Ok(path) if path.is_file() => Ok(Source::File(path)),
        _ => Err(CameraError::NoFile(path.to_owned())),
    }
}

/// `camera1` for the first argument, a file's own name, a test picture's pattern; with a number if that is taken.
fn suggest_name(source: &Source, position: usize, taken: impl Fn(&str) -> bool) -> String {
    let plain = match source {
        Source::Rtsp(_) => format!("camera{position}"),
        Source::Test(pattern) => pattern.to_ascii_lowercase(),
        Source::File(path) => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            let clean: String =
                stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
            clean.trim_matches('-').to_owned()
        }
    };
    let plain = if is_name(&plain) { plain } else { format!("camera{position}") };
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    std::iter::once(plain.clone()).chain(numbered).find(|name| !taken(name)).expect("there are numbers enough")
}

/// As it may be shown: without credentials.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Rtsp(uri) => f.write_str(&crate::mask::mask(uri)),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Test(pattern) => write!(f, "test:{pattern}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Vec<String>, CameraError> {
        let arguments: Vec<_> = arguments.iter().map(|&a| a.to_owned()).collect();
        Ok(parse_all(&arguments)?.into_iter().map(|camera| camera.name).collect())
    }

    #[test]
    fn cameras_get_the_names_they_were_given_or_their_number() {
        let uris = ["lobby=rtsp://cam/1", "rtsp://cam/user=admin&password=x", "test:ball", "test:ball"];
        assert_eq!(names(&uris).unwrap(), ["lobby", "camera2", "ball", "ball-2"]);
    }

    #[test]
    fn a_name_that_was_given_later_is_not_taken_before() {
        assert_eq!(names(&["test:ball", "ball=test:snow"]).unwrap(), ["ball-2", "ball"]);
    }

    #[test]
    fn a_file_is_called_as_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Front Door.MP4");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(names(&[path.to_str().unwrap()]).unwrap(), ["front-door"]);
        assert_eq!(names(&[&format!("file://{}", path.display())]).unwrap(), ["front-door"]);
    }

    #[test]
    fn names_that_cannot_be_part_of_a_channel_are_refused() {
        for name in ["", "Lobby", "lob by", "-lobby", "löbby", &"a".repeat(49)] {
            let argument = format!("{name}=rtsp://cam/1");
            assert_eq!(names(&[&argument]), Err(CameraError::Name(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn mistakes_are_told_without_passwords() {
        assert_eq!(names(&["a=test:x", "a=test:y"]), Err(CameraError::Twice("a".into())));
        assert_eq!(names(&["nowhere.mp4"]), Err(CameraError::NoFile("nowhere.mp4".into())));
        assert_eq!(names(&["http://u:p@cam/"]), Err(CameraError::Scheme("http://***@cam/".into())));
        assert_eq!(names(&["test:a b"]), Err(CameraError::Pattern("a b".into())));
    }

    #[test]
    fn a_source_shows_no_password() {
        assert_eq!(Source::Rtsp("rtsp://u:p@cam/1".into()).to_string(), "rtsp://***@cam/1");
    }
}
