//! Pipeline descriptions with `{placeholders}`, filled in for one camera.
//!
//! The templates are plain `gst-launch-1.0` syntax, one per file in `pipelines/templates/`, and part of the binary.
//! A description is cut into words *before* it is filled in, so that a value with blanks or shell characters stays
//! one word: it reaches `gst-launch-1.0` as one argument, and no shell ever sees it.

use crate::camera::{Camera, Source};

/// A template by name.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    pub name: &'static str,
    text: &'static str,
}

const CAPTURE_RTSP: Template =
    Template { name: "capture-rtsp", text: include_str!("../templates/capture-rtsp.launch") };
const CAPTURE_FILE: Template =
    Template { name: "capture-file", text: include_str!("../templates/capture-file.launch") };
const CAPTURE_TEST: Template =
    Template { name: "capture-test", text: include_str!("../templates/capture-test.launch") };
/// Serves a camera to browsers.
pub const WEB: Template = Template { name: "web", text: include_str!("../templates/web.launch") };

/// Why a template could not be filled in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    #[error("template {template}: nothing is known of the placeholder {{{placeholder}}}")]
    Unknown { template: &'static str, placeholder: String },
    #[error("template {template}: a placeholder is not closed in {word:?}")]
    Open { template: &'static str, word: String },
    #[error(
        "a value for {{{0}}} has a quote, a backslash or a control character in it, which a pipeline description cannot hold"
    )]
    Quote(&'static str),
}

/// What the analysers want of a camera.
#[derive(Clone, Copy, Debug)]
pub struct Analysis {
    /// Width of the RGB frames; the height follows from the picture's shape.
    pub width: u32,
    /// Frames a second, at most.
    pub fps: u32,
}

/// Which template captures a camera.
pub fn for_camera(camera: &Camera) -> Template {
    match &camera.source {
        Source::Rtsp(_) => CAPTURE_RTSP,
        Source::File(_) => CAPTURE_FILE,
        Source::Test(_) => CAPTURE_TEST,
    }
}

/// The arguments for `gst-launch-1.0` that publish a camera's channels.
pub fn capture(camera: &Camera, latency_ms: u32, analysis: Analysis) -> Result<Vec<String>, TemplateError> {
    let (place, value) = match &camera.source {
        Source::Rtsp(uri) => ("uri", uri.clone()),
        Source::File(path) => ("path", path.to_string_lossy().into_owned()),
        Source::Test(pattern) => ("pattern", pattern.clone()),
    };
    for_camera(camera).fill(&[
        ("camera", &camera.name),
        (place, &value),
        ("latency", &latency_ms.to_string()),
        ("width", &analysis.width.to_string()),
        ("fps", &analysis.fps.to_string()),
    ])
}

/// The arguments for `gst-launch-1.0` that serve a camera on a Unix socket.
pub fn web(camera: &str, socket: &str) -> Result<Vec<String>, TemplateError> {
    WEB.fill(&[("camera", camera), ("socket", socket)])
}

impl Template {
    /// The words of the description, comments and line ends gone, each `{placeholder}` replaced.
    pub fn fill(&self, values: &[(&'static str, &str)]) -> Result<Vec<String>, TemplateError> {
        if let Some((name, _)) = values.iter().find(|(_, value)| !can_be_quoted(value)) {
            return Err(TemplateError::Quote(name));
        }
        self.words().map(|word| self.fill_word(word, values)).collect()
    }

    /// The elements that the description names: what has to be installed. Filters (`video/x-raw,...`), properties and
    /// pads (`tee.`) are not elements.
    pub fn elements(&self) -> Vec<&'static str> {
        let mut elements = Vec::new();
        let mut begins = true;
        for word in self.words() {
            if begins && word != "!" && !word.contains(['/', '.', '=']) {
                elements.push(word);
            }
            // An element stands behind a link, or where a property is not: at the beginning of a new branch.
            begins = word == "!" || word.ends_with('.');
        }
        elements
    }

    fn words(&self) -> impl Iterator<Item = &'static str> + use<> {
        let code = self.text.lines().filter(|line| !line.trim_start().starts_with('#'));
        code.flat_map(str::split_whitespace)
    }

    fn fill_word(&self, word: &str, values: &[(&'static str, &str)]) -> Result<String, TemplateError> {
        let mut out = String::new();
        let mut rest = word;
        while let Some((before, after)) = rest.split_once('{') {
            let open = || TemplateError::Open { template: self.name, word: word.to_owned() };
            let (placeholder, after) = after.split_once('}').ok_or_else(open)?;
            let unknown = || TemplateError::Unknown { template: self.name, placeholder: placeholder.to_owned() };
            let (_, value) = values.iter().find(|(name, _)| *name == placeholder).ok_or_else(unknown)?;
            out.push_str(before);
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// `gst-launch-1.0` escapes blanks in its arguments by itself, and gets quotes and backslashes wrong.
fn can_be_quoted(value: &str) -> bool {
    !value.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANALYSIS: Analysis = Analysis { width: 640, fps: 10 };

    fn camera(source: Source) -> Camera {
        Camera { name: "lobby".into(), source }
    }

    #[test]
    fn every_template_can_be_filled_in() {
        let sources = [Source::Rtsp("rtsp://cam/1".into()), Source::File("/a.mp4".into()), Source::Test("ball".into())];
        for source in sources {
            let words = capture(&camera(source), 100, ANALYSIS).unwrap();
            assert!(words.contains(&"channel=lobby.h264".to_owned()), "{words:?}");
            assert!(words.contains(&"channel=lobby.rgb".to_owned()), "{words:?}");
            assert!(!words.concat().contains(['{', '}', '#']), "{words:?}");
        }
        assert!(web("lobby", "/run/lobby.web").unwrap().contains(&"socket-path=/run/lobby.web".to_owned()));
    }

    #[test]
    fn a_value_with_blanks_and_shell_characters_stays_one_word() {
        let path = "/home/me/my $(videos)/a ! b; c=d {camera}.mp4";
        let words = capture(&camera(Source::File(path.into())), 0, ANALYSIS).unwrap();
        assert!(words.contains(&format!("location={path}")), "{words:?}");
    }

    #[test]
    fn a_value_that_gst_launch_would_misread_is_refused() {
        for path in ["/a\"b.mp4", "/a'b.mp4", "/a\\b.mp4", "/a\nb.mp4"] {
            let refused = capture(&camera(Source::File(path.into())), 0, ANALYSIS);
            assert_eq!(refused, Err(TemplateError::Quote("path")), "{path:?}");
        }
    }

    #[test]
    fn mistakes_in_a_template_are_found() {
        let template = |text| Template { name: "mine", text };
        let unknown = TemplateError::Unknown { template: "mine", placeholder: "camra".into() };
        assert_eq!(template("a={camra}").fill(&[("camera", "x")]), Err(unknown));
        let open = TemplateError::Open { template: "mine", word: "a={camera".into() };
        assert_eq!(template("b ! a={camera").fill(&[("camera", "x")]), Err(open));
    }

    #[test]
    fn elements_of_a_template_are_known() {
        let elements = CAPTURE_RTSP.elements();
        for element in ["rtspsrc", "rtph264depay", "h264parse", "tee", "queue", "avdec_h264", "valkkashmsink"] {
            assert!(elements.contains(&element), "{element} is not in {elements:?}");
        }
        let all = [CAPTURE_RTSP, CAPTURE_FILE, CAPTURE_TEST, WEB];
        assert!(
            all.iter().all(|t| t.elements().iter().all(|e| e.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')))
        );
    }
}
