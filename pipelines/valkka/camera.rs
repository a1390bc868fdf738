//! What the user calls a camera: a name, and where its picture comes from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use crate::{config::Analysis, process::hooks::HookLists};

/// A camera as it was asked for. Its channels are `NAME.h264` (or `NAME.h265`), `NAME.rgb` and `NAME.audio`.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    pub name: String,
    pub source: Source,
    /// What an RTSP camera sends. All others are encoded as H.264.
    pub codec: Codec,
    /// How an RTSP camera sends.
    pub transport: Transport,
    /// How late an RTSP camera's packets may be and keep their time stamps.
    pub latency_ms: u32,
    /// Whether an RTSP camera's sound is published as well.
    pub audio: bool,
    /// Another template than the one that fits the source.
    pub template: Option<String>,
    /// Values for placeholders that only the user's templates have.
    pub values: BTreeMap<String, String>,
    /// `None` if nobody looks at it.
    pub analysis: Option<Analysis>,
    pub record: bool,
    pub restream: bool,
    /// Of its capture process.
    pub hooks: HookLists,
}

/// Measured: frames that come later than this get the time stamp of their predecessor, or none. Half a second is what a
/// busy machine needs when a browser starts.
pub const LATENCY_MS: u32 = 500;

/// For error messages.
pub const NAME_RULE: &str = "1 to 48 of a-z, 0-9, '-' and '_', beginning with a letter or a digit";

impl Camera {
    /// With everything that is not said as it is by default.
    pub fn new(name: String, source: Source) -> Self {
        Self {
            name,
            source,
            codec: Codec::H264,
            transport: Transport::Tcp,
            latency_ms: LATENCY_MS,
            audio: false,
            template: None,
            values: BTreeMap::new(),
            analysis: Some(Analysis::default()),
            record: false,
            restream: false,
            hooks: HookLists::default(),
        }
    }

    /// As it is configured, for everybody to see: the keys of its table, and its name.
    pub fn shown(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut shown = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| shown.insert(key.to_owned(), value);
        put("name", self.name.as_str().into());
        put(
            if matches!(self.source, Source::Pipeline(_)) { "pipeline" } else { "uri" },
            self.source.to_string().into(),
        );
        if matches!(self.source, Source::Rtsp(_)) {
            put("codec", self.codec.name().into());
            put("transport", self.transport.name().into());
            put("latency", self.latency_ms.into());
            put("audio", self.audio.into());
        }
        if let Some(template) = &self.template {
            put("template", template.as_str().into());
        }
        put("record", self.record.into());
        put("restream", self.restream.into());
        let analysis = match &self.analysis {
            None => serde_json::json!({ "enabled": false }),
            Some(of) => serde_json::json!({
                "detector": of.detector, "width": of.width, "fps": of.fps, "parameters": of.parameters,
            }),
        };
        put("analysis", analysis);
        let zones = self.analysis.iter().flat_map(|of| of.zones());
        put("zones", zones.map(|zone| serde_json::to_value(zone).expect("names and numbers become JSON")).collect());
        shown
    }

    /// Whether there is a channel with its sound.
    pub fn publishes_sound(&self) -> bool {
        self.audio && matches!(self.source, Source::Rtsp(_))
    }

    /// The codec of its encoded channel.
    pub fn published_codec(&self) -> Codec {
        if matches!(self.source, Source::Rtsp(_)) { self.codec } else { Codec::H264 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    H264,
    H265,
}

impl Codec {
    /// As in channels' and elements' names.
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "h264",
            Codec::H265 => "h265",
        }
    }

    /// GStreamer's stream-format with lengths before NAL units, as MP4 has it.
    pub fn packed(self) -> &'static str {
        match self {
            Codec::H264 => "avc",
            Codec::H265 => "hvc1",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }
}

/// Where the picture comes from. Decides which capture template is used.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// `rtsp://` or `rtsps://`. May hold a password: never shown but through [`crate::mask::mask`].
    Rtsp(String),
    /// A camera at `/dev/videoN`.
    Usb(PathBuf),
    /// A video file, played again and again.
    File(PathBuf),
    /// `test:PATTERN`: a picture of `videotestsrc`.
    Test(String),
    /// A pipeline description that ends in video.
    Pipeline(String),
}

/// Why an argument is not a camera.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CameraError {
    #[error("camera name {0:?}: {NAME_RULE}")]
    Name(String),
    #[error("two cameras are called {0:?}: give one of them another name, as in NAME=URI")]
    Twice(String),
    #[error("{0}: no such file. A camera is rtsp://..., a video file, /dev/videoN or test:PATTERN")]
    NoFile(String),
    #[error("{0}: no such kind of camera. It is rtsp://..., rtsps://..., a video file, /dev/videoN or test:PATTERN")]
    Scheme(String),
    #[error("test:{0}: the pattern is a word, as in test:ball or test:smpte")]
    Pattern(String),
}

/// Reads `[NAME=]URI` for each argument and gives a name to those that have none.
pub fn parse_all(
    arguments: &[String],
    analysis: Option<&Analysis>,
    latency_ms: u32,
) -> Result<Vec<Camera>, CameraError> {
    let mut cameras: Vec<Camera> = Vec::new();
    let split: Vec<_> = arguments.iter().map(|argument| split_name(argument)).collect();
    for (index, (name, uri)) in split.iter().enumerate() {
        let source = parse_source_in(Path::new(""), uri)?;
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
        cameras.push(Camera { latency_ms, analysis: analysis.cloned(), ..Camera::new(name, source) });
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

/// Where a picture comes from. Relative paths start at `folder`.
pub fn parse_source_in(folder: &Path, uri: &str) -> Result<Source, CameraError> {
    if let Some(pattern) = uri.strip_prefix("test:") {
        let word = !pattern.is_empty() && pattern.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        return if word { Ok(Source::Test(pattern.to_owned())) } else { Err(CameraError::Pattern(pattern.to_owned())) };
    }
    match uri.split_once("://") {
        Some(("rtsp" | "rtsps" | "rtspt", rest)) if !rest.is_empty() => Ok(Source::Rtsp(uri.to_owned())),
        Some(("file", path)) => parse_file(folder, path),
        Some(_) => Err(CameraError::Scheme(crate::mask::mask(uri))),
        None if uri.starts_with("/dev/video") => Ok(Source::Usb(uri.into())),
        None => parse_file(folder, uri),
    }
}

fn parse_file(folder: &Path, path: &str) -> Result<Source, CameraError> {
    // Absolute, because the processes that read it are not bound to run in this folder.
    match std::fs::canonicalize(folder.join(path)) {
        Ok(path) if path.is_file() => Ok(Source::File(path)),
        _ => Err(CameraError::NoFile(crate::mask::mask(path))),
    }
}

/// The URI with this user and password, in place of those that it has.
pub fn with_credentials(uri: &str, user: &str, password: Option<&str>) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("rtsp", uri));
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let password = password.map(|password| format!(":{}", percent_encoded(password))).unwrap_or_default();
    format!("{scheme}://{}{password}@{host}{path}", percent_encoded(user))
}

/// Everything but RFC 3986's unreserved characters.
fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    if out != text {
        // Known as it was given already; this is how it travels.
        crate::mask::keep_secret(&out);
    }
    out
}

/// `camera1` for the first argument, a file's own name, a test picture's pattern; with a number if that is taken.
fn suggest_name(source: &Source, position: usize, taken: impl Fn(&str) -> bool) -> String {
    let plain = match source {
        Source::Rtsp(_) | Source::Pipeline(_) => format!("camera{position}"),
        Source::Usb(device) => device.file_name().unwrap_or_default().to_string_lossy().into_owned(),
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
            Source::Usb(path) | Source::File(path) => write!(f, "{}", path.display()),
            Source::Pipeline(description) => f.write_str(&crate::mask::mask(description)),
            Source::Test(pattern) => write!(f, "test:{pattern}"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str]) -> Result<Vec<String>, CameraError> {
        let arguments: Vec<_> = arguments.iter().map(|&a| a.to_owned()).collect();
        Ok(parse_all(&arguments, None, 0)?.into_iter().map(|camera| camera.name).collect())
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

    #[test]
    fn a_password_of_any_letters_becomes_part_of_the_uri() {
        let uri = with_credentials("rtsp://old:pw@cam:554/live?a=b", "me", Some("a@b/c d%"));
        assert_eq!(uri, "rtsp://me:a%40b%2Fc%20d%25@cam:554/live?a=b");
        assert_eq!(with_credentials("rtsp://cam", "me", None), "rtsp://me@cam");
    }
}
