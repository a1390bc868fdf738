//! `[cameras.NAME]`: where a picture comes from, and what is done with it.

use std::{collections::BTreeMap, ops::Range};

use super::Reader;
use crate::{
    camera::{self, Camera, CameraError, Codec, Source, Transport},
    config::{
        Config,
        check::{Entries, Value},
        mistake::Mistake,
    },
    template,
};

impl Reader<'_> {
    /// The cameras that are enabled. `config` is what has been read already.
    pub fn cameras(&mut self, file: &Entries, config: &Config) -> Vec<Camera> {
        let mut cameras = Vec::new();
        for (name, span, node) in file.table("cameras").into_iter().flat_map(Entries::iter) {
            if let Value::Table(table) = &node.value {
                let camera = self.camera(name, span.clone(), table, config);
                cameras.extend(camera.filter(|_| table.flag("enabled") != Some(false)));
            }
        }
        cameras
    }

    fn camera(&mut self, name: &str, name_span: Range<usize>, table: &Entries, config: &Config) -> Option<Camera> {
        let path = format!("cameras.{name}");
        let source = self.source(name_span, table, &path)?;
        let own_program = config.analyser.program != "valkka-analyse";
        let base = config.analyser.default.clone();
        let analysis = match table.table("analysis") {
            Some(table) => self.analysis(table, &format!("{path}.analysis"), base, own_program),
            None => base,
        };
        let word = |key| table.text(key).map(|(word, _)| word);
        let mut camera = Camera::new(name.to_owned(), source);
        camera.codec = if word("codec") == Some("h265") { Codec::H265 } else { Codec::H264 };
        camera.transport = if word("transport") == Some("udp") { Transport::Udp } else { Transport::Tcp };
        if let Some(latency) = table.integer("latency") {
            camera.latency_ms = u32::try_from(latency).unwrap_or(camera.latency_ms);
        }
        camera.audio = table.flag("audio").unwrap_or(false);
        camera.record = table.flag("record").unwrap_or(false);
        camera.restream = table.flag("restream").unwrap_or(false);
        camera.analysis = analysis;
        camera.values = self.values(table, &path);
        camera.hooks = self.hooks(table, &path, config.runner);
        camera.template = table.text("template").and_then(|(template, span)| {
            self.known_template(template, span, &format!("{path}.template"), &config.templates)
        });
        Some(camera)
    }

    fn source(&mut self, name_span: Range<usize>, table: &Entries, path: &str) -> Option<Source> {
        let (uri, pipeline) = (table.get("uri"), table.get("pipeline"));
        let mut source = match (table.text("uri"), table.text("pipeline")) {
            (Some(_), Some((_, span))) => {
                self.wrong(span, &format!("{path}.pipeline"), "there is a uri already", "one of uri and pipeline");
                return None;
            }
            (Some((uri, span)), None) => match camera::parse_source_in(self.folder, uri) {
                Ok(source) => source,
                Err(error) => {
                    let allowed = "allowed: rtsp://..., rtsps://..., a video file, /dev/videoN or test:PATTERN";
                    // What is allowed is told once.
                    let what = match error {
                        CameraError::NoFile(file) if file.is_empty() => "the address is empty".to_owned(),
                        CameraError::NoFile(file) => format!("{file}: no such file"),
                        CameraError::Scheme(uri) => format!("{uri}: no such kind of camera"),
                        error => error.to_string(),
                    };
                    self.wrong(span, &format!("{path}.uri"), what, allowed);
                    return None;
                }
            },
            (None, Some((text, span))) => match template::words_of(text) {
                Ok(words) if !words.is_empty() => Source::Pipeline(text.to_owned()),
                Ok(_) => {
                    self.wrong(span, &format!("{path}.pipeline"), "it is empty", "as in \"v4l2src ! jpegdec\"");
                    return None;
                }
                Err(error) => {
                    self.wrong(span, &format!("{path}.pipeline"), error.to_string(), "close the quotes");
                    return None;
                }
            },
            // One that is there but wrong has been told already.
            (None, None) => {
                if uri.is_none() && pipeline.is_none() && !self.mistakes.iter().any(|m| m.key == format!("{path}.uri"))
                {
                    let allowed = "add uri = \"rtsp://...\", or pipeline = \"...\"";
                    self.wrong(name_span, path, "nothing is said about where its picture comes from", allowed);
                }
                return None;
            }
        };
        let user = table.text("user").map(|(user, _)| user);
        let password = table.text("password").map(|(password, _)| password);
        match (&mut source, user, password) {
            (_, None, None) => {}
            (Source::Rtsp(uri), Some(user), password) => *uri = camera::with_credentials(uri, user, password),
            (Source::Rtsp(_), None, Some(_)) => {
                let span = table.get("password").map(|node| node.span.clone()).unwrap_or_default();
                let (key, what) = (format!("{path}.password"), "a password without a user".to_owned());
                self.mistakes.push(Mistake { span, key, what, allowed: "add user = \"...\"".to_owned(), show: false });
            }
            _ => {
                let key = if user.is_some() { "user" } else { "password" };
                let span = table.get(key).map(|node| node.span.clone()).unwrap_or_default();
                let (key, what) = (format!("{path}.{key}"), "only RTSP cameras ask for it".to_owned());
                self.mistakes.push(Mistake { span, key, what, allowed: "take it out".to_owned(), show: false });
            }
        }
        Some(source)
    }

    /// Values for placeholders: whatever can be written as a word.
    pub(super) fn values(&mut self, table: &Entries, path: &str) -> BTreeMap<String, String> {
        let span = table.get("values").map(|node| node.span.clone()).unwrap_or_default();
        let mut values = BTreeMap::new();
        for (name, value) in table.free("values").into_iter().flatten() {
            match value {
                serde_json::Value::String(text) => values.insert(name.clone(), text.clone()),
                serde_json::Value::Number(number) => values.insert(name.clone(), number.to_string()),
                serde_json::Value::Bool(flag) => values.insert(name.clone(), flag.to_string()),
                _ => {
                    let what = "this value is a list or a table";
                    self.wrong(span.clone(), &format!("{path}.values.{name}"), what, "a text, a number, true or false");
                    None
                }
            };
        }
        values
    }
}
