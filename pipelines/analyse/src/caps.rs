//! What a channel's caps say of its pictures, read without GStreamer.
//!
//! A writer tells the caps of its frames as GStreamer prints them, for example
//! `video/x-raw, format=(string)RGB, width=(int)640, height=(int)360, framerate=(fraction)25/1`. This module takes from
//! that string the three fields that an analyser needs, and says what to change when it cannot use the frames. Where
//! the pixels lie in a frame is the business of [`crate::view`].

use std::fmt;

/// Wider or higher pictures are refused. It is GStreamer's own limit for most converters, and keeps products of the
/// two far from overflow.
const MAX_SIDE: u32 = 32768;

/// Order and number of the colours in a pixel, one byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One byte of brightness.
    Gray8,
}

impl Format {
    /// Bytes that a pixel takes, which is also OpenCV's number of channels.
    pub fn pixel_bytes(self) -> usize {
        match self {
            Format::Rgb | Format::Bgr => 3,
            Format::Gray8 => 1,
        }
    }

    /// As GStreamer calls it.
    fn name(self) -> &'static str {
        match self {
            Format::Rgb => "RGB",
            Format::Bgr => "BGR",
            Format::Gray8 => "GRAY8",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Format::Rgb, Format::Bgr, Format::Gray8].into_iter().find(|format| format.name() == name)
    }
}

/// Format and size of the pictures in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Of its pixels.
    pub format: Format,
    /// In pixels, as `height`; neither is 0.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl Picture {
    /// Reads fixed caps of raw video.
    pub fn from_caps(caps: &str) -> Result<Self, CapsError> {
        let mut parts = split(caps, ',').into_iter();
        let media = parts.next().unwrap_or_default();
        if media_type(media) != "video/x-raw" {
            return Err(CapsError::NotRawVideo(media.to_owned()));
        }
        if split(caps, ';').len() > 1 {
            return Err(CapsError::NotFixed(caps.to_owned()));
        }

        let (mut format, mut width, mut height) = (None, None, None);
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(|| CapsError::Malformed(part.to_owned()))?;
            let value = value.trim();
            match name.trim() {
                "format" => format = Some(string(value)?),
                "width" => width = Some(side(value)?),
                "height" => height = Some(side(value)?),
                _ => {}
            }
        }

        let format = format.ok_or(CapsError::Missing("format"))?;
        Ok(Self {
            format: Format::from_name(format).ok_or_else(|| CapsError::Format(format.to_owned()))?,
            width: width.ok_or(CapsError::Missing("width"))?,
            height: height.ok_or(CapsError::Missing("height"))?,
        })
    }

    /// Bytes of a row that are pixels.
    pub fn row_bytes(&self) -> usize {
        self.width as usize * self.format.pixel_bytes()
    }

    /// Bytes from one row to the next, unless a video meta says otherwise: GStreamer rounds rows of these formats up
    /// to four bytes (`gst_video_info_set_format`).
    pub fn default_stride(&self) -> usize {
        self.row_bytes().next_multiple_of(4)
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{} {}", self.width, self.height, self.format.name())
    }
}

/// Why the frames of a channel cannot be analysed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapsError {
    /// Encoded video, audio.
    #[error(
        "it carries {0}, not raw video: read the channel with the decoded pictures, or write one with \"... ! videoconvert ! video/x-raw,format=RGB ! valkkashmsink\""
    )]
    NotRawVideo(String),
    /// Other pixels than OpenCV can use as they are.
    #[error(
        "its pictures are {0}; RGB, BGR and GRAY8 can be analysed: put \"videoconvert ! video/x-raw,format=RGB\" before its valkkashmsink"
    )]
    Format(String),
    /// A field is not there.
    #[error("its caps have no {0}")]
    Missing(&'static str),
    /// Caps that leave something open.
    #[error("its caps leave a choice: {0}")]
    NotFixed(String),
    /// No size of a picture.
    #[error("its pictures have an impossible size: {0}")]
    Size(String),
    /// No caps.
    #[error("its caps cannot be read at: {0}")]
    Malformed(String),
}

/// The name before caps features such as `(memory:SystemMemory)`.
fn media_type(structure: &str) -> &str {
    structure.split('(').next().unwrap_or_default().trim()
}

/// Splits where `separator` stands outside of quotes and brackets: `caps` may carry arrays, lists and whole structures.
fn split(caps: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped, mut start) = (0_i32, false, false, 0);
    let mut parts = Vec::new();
    for (at, c) in caps.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' | '<' => depth += 1,
            ')' | ']' | '}' | '>' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(caps[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(caps[start..].trim());
    parts
}

/// The value after its type, which may be left out; `types` are the spellings that GStreamer knows for it.
fn untyped<'a>(value: &'a str, types: &[&str]) -> Result<&'a str, CapsError> {
    let bare = match value.strip_prefix('(') {
        Some(typed) => {
            let (kind, bare) = typed.split_once(')').ok_or_else(|| CapsError::Malformed(value.to_owned()))?;
            if !types.contains(&kind.trim()) {
                return Err(CapsError::Malformed(value.to_owned()));
            }
            bare.trim()
        }
        None => value,
    };
    match bare.chars().next() {
        None => Err(CapsError::Malformed(value.to_owned())),
        Some('[' | '{' | '<') => Err(CapsError::NotFixed(value.to_owned())),
        Some(_) => Ok(bare),
    }
}

fn string(value: &str) -> Result<&str, CapsError> {
    let bare = untyped(value, &["string", "str", "s"])?;
    Ok(bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(bare))
}

fn side(value: &str) -> Result<u32, CapsError> {
    let bare = untyped(value, &["int", "gint", "i"])?;
    match bare.parse() {
        Ok(side) if (1..=MAX_SIDE).contains(&side) => Ok(side),
        _ => Err(CapsError::Size(bare.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(format: Format, width: u32, height: u32) -> Picture {
        Picture { format, width, height }
    }

    #[test]
    fn caps_of_a_pipeline_are_read() {
        let caps = "video/x-raw, format=(string)RGB, width=(int)640, height=(int)360, interlace-mode=(string)progressive, \
                    pixel-aspect-ratio=(fraction)1/1, colorimetry=(string)sRGB, framerate=(fraction)25/1";
        assert_eq!(Picture::from_caps(caps), Ok(picture(Format::Rgb, 640, 360)));
    }

    #[test]
    fn order_spaces_missing_types_and_quotes_do_not_matter() {
        let caps = "video/x-raw,height=36,width=(i)64 ,format=\"BGR\"";
        assert_eq!(Picture::from_caps(caps), Ok(picture(Format::Bgr, 64, 36)));
    }

    #[test]
    fn separators_inside_of_other_fields_are_passed_over() {
        let caps = r#"video/x-raw(memory:SystemMemory, meta:X), note=(string)"a, width=(int)1; \" b", list=(int){ 1, 2 }, arr=<(int)1, (int)2>, format=GRAY8, width=(int)7, height=(int)5"#;
        assert_eq!(Picture::from_caps(caps), Ok(picture(Format::Gray8, 7, 5)));
    }

    #[test]
    fn rows_are_rounded_up_to_four_bytes() {
        assert_eq!(picture(Format::Rgb, 640, 1).default_stride(), 1920);
        assert_eq!(picture(Format::Rgb, 641, 1).default_stride(), 1924);
        assert_eq!(picture(Format::Gray8, 5, 1).default_stride(), 8);
    }

    #[test]
    fn encoded_video_is_refused_with_what_to_do() {
        let error = Picture::from_caps("video/x-h264, width=(int)640, height=(int)360").unwrap_err();
        assert_eq!(error, CapsError::NotRawVideo("video/x-h264".into()));
        assert!(error.to_string().contains("videoconvert"), "{error}");
    }

    #[test]
    fn other_formats_are_named() {
        let error = Picture::from_caps("video/x-raw, format=(string)I420, width=(int)64, height=(int)36").unwrap_err();
        assert_eq!(error, CapsError::Format("I420".into()));
    }

    #[test]
    fn missing_open_and_impossible_fields_are_told_apart() {
        let refused = |caps: &str| Picture::from_caps(caps).unwrap_err();
        assert_eq!(refused("video/x-raw, format=(string)RGB, width=(int)64"), CapsError::Missing("height"));
        assert!(matches!(
            refused("video/x-raw, format=RGB, width=(int)[ 1, 64 ], height=(int)36"),
            CapsError::NotFixed(_)
        ));
        assert!(matches!(refused("video/x-raw, format=RGB, width=1, height=1; video/x-raw"), CapsError::NotFixed(_)));
        assert!(matches!(refused("video/x-raw, format=RGB, width=(int)0, height=(int)36"), CapsError::Size(_)));
        assert!(matches!(refused("video/x-raw, format=RGB, width=(int)-4, height=(int)36"), CapsError::Size(_)));
        assert!(matches!(refused("video/x-raw, format=RGB, width=(int)99999, height=(int)36"), CapsError::Size(_)));
        assert!(matches!(
            refused("video/x-raw, format=RGB, width=(fraction)4/1, height=(int)36"),
            CapsError::Malformed(_)
        ));
        assert!(matches!(refused("video/x-raw, format"), CapsError::Malformed(_)));
        assert!(matches!(
            refused("video/x-raw, format=(string), width=(int)4, height=(int)4"),
            CapsError::Malformed(_)
        ));
        assert!(matches!(refused(""), CapsError::NotRawVideo(_)));
    }
}
