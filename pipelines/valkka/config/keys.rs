//! Every key that `valkka.toml` may have: name, kind of value, what it is for.
//!
//! One table, read by all who have to agree on it: the check of a file ([`super::check`]), the schema for editors
//! ([`super::schema`]), and the test that holds `docs/configuration.md` against it. What a value *means* is the
//! business of [`super::read`].

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// One sentence, without its full stop; shown by editors.
    pub about: &'static str,
    /// As it would be written in the file; empty if there is none.
    pub default: &'static str,
}

/// What a value may be.
#[derive(Debug)]
pub enum Kind {
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    Flag,
    /// From, to, both included; what is counted.
    Integer(i64, i64, &'static str),
    /// A number with its unit: `"90s"`, `"10m"`, `"12h"`, `"7d"`.
    Duration,
    /// A number with its unit: `"512 MiB"`, `"20 GB"`.
    Size,
    /// A list of texts.
    Texts,
    /// A list of commands: each its name, or a table of `command` and `parameters`.
    Commands,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table of such tables, under names that the user chooses.
    Named(&'static [Key]),
    /// A table with whatever is in it: somebody else reads it.
    Free,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, about, default }
}

use Kind::{Commands, Duration, Flag, Free, Integer, Named, OneOf, Size, Table, Text, Texts};

pub const CODECS: &[&str] = &["h264", "h265"];
pub const TRANSPORTS: &[&str] = &["tcp", "udp"];
pub const DETECTORS: &[&str] = &["motion", "people", "face", "dnn"];
pub const RUNNERS: &[&str] = &["valkka", "gst-launch"];
pub const SANDBOXES: &[&str] = &["built-in", "all", "none"];
pub const LOG_FORMATS: &[&str] = &["text", "json"];

/// The whole file.
pub const FILE: &[Key] = &[
    key("server", Table(SERVER), "", "The one port of page and API"),
    key("cameras", Named(CAMERA), "", "A table for each camera; its name is the first part of its channels' names"),
    key("analysis", Table(ANALYSIS_OF_ALL), "", "What looks at the cameras, unless a camera says otherwise"),
    key("recording", Table(RECORDING), "", "Where recordings go and how long they stay"),
    key("restream", Table(RESTREAM), "", "The RTSP server that serves cameras on"),
    key("templates", Text, "", "Folder of one's own templates, NAME.launch; they come before the built-in ones"),
    key("processes", Table(PROCESSES), "", "How processes run"),
    key("limits", Table(LIMITS), "", "What processes may use, per kind of process"),
    key("pipelines", Named(PIPELINE), "", "Further pipelines that run beside the cameras', each in its process"),
    key("workers", Named(WORKER), "", "Programs of one's own that run beside the cameras' processes"),
    key("log", Table(LOG), "", "The log on standard error"),
];

const SERVER: &[Key] = &[
    key("listen", Text, "\"127.0.0.1:8080\"", "Address and port of page and API; port 0 takes any that is free"),
    key("token", Text, "", "Whoever wants page or API must know it. Best from ${file:PATH} or ${VARIABLE}"),
    key("tls-certificate", Text, "", "File with the certificate chain (PEM): then page and API speak HTTPS"),
    key("tls-key", Text, "", "File with the private key (PEM) of tls-certificate"),
    key("allowed-origins", Texts, "", "Whose pages may use the API beside our own, as in https://cams.example"),
];

pub const CAMERA: &[Key] = &[
    key("uri", Text, "", "rtsp://..., a video file, /dev/videoN, or test:PATTERN"),
    key("pipeline", Text, "", "In place of uri: a pipeline description that ends in video, raw or encoded"),
    key("enabled", Flag, "true", "Whether it runs at all"),
    key("user", Text, "", "User name for the camera, in place of one in the URI"),
    key("password", Text, "", "Password for the camera. Best from ${file:PATH} or ${VARIABLE}"),
    key("codec", OneOf(CODECS), "\"h264\"", "What an RTSP camera sends"),
    key("transport", OneOf(TRANSPORTS), "\"tcp\"", "How an RTSP camera sends"),
    key("latency", Integer(0, 60_000, "milliseconds"), "500", "How late packets may be and keep their time stamps"),
    key("audio", Flag, "false", "Whether an RTSP camera's sound is published and recorded, too"),
    key("template", Text, "", "The template that captures it, in place of the one that fits its uri"),
    key("values", Free, "", "Values for placeholders of one's own template"),
    key("record", Flag, "false", "Whether it is recorded (recording)"),
    key("restream", Flag, "false", "Whether it is served on by RTSP (restream)"),
    key("start-hooks", Commands, "", "Commands for its capture process, in their order, whenever that has started"),
    key("stop-hooks", Commands, "", "Commands for its capture process, in their order, before it is stopped"),
    key("analysis", Table(ANALYSIS), "", "What looks at it, where this differs from [analysis]"),
];

pub const ANALYSIS: &[Key] = &[
    key("enabled", Flag, "true", "Whether frames are decoded and looked at"),
    key("detector", Text, "\"motion\"", "What to look for; valkka-analyse knows motion, people, face and dnn"),
    key("width", Integer(16, 8192, "pixels"), "640", "Width of the frames; the height follows"),
    key("fps", Integer(1, 240, "frames a second"), "10", "Frames a second, at the most"),
    key("parameters", Free, "", "Passed on to the detector as they are"),
];

const ANALYSIS_OF_ALL: &[Key] = &[
    key("enabled", Flag, "true", "Whether frames are decoded and looked at"),
    key("program", Text, "\"valkka-analyse\"", "The analyser: beside valkka, else in PATH, or a path"),
    key("threads", Integer(0, 256, "threads"), "1", "Frames looked at beside each other; 0: one per processor"),
    key("detector", Text, "\"motion\"", "What to look for; valkka-analyse knows motion, people, face and dnn"),
    key("width", Integer(16, 8192, "pixels"), "640", "Width of the frames; the height follows"),
    key("fps", Integer(1, 240, "frames a second"), "10", "Frames a second, at the most"),
    key("parameters", Free, "", "Passed on to the detector as they are"),
];

const RECORDING: &[Key] = &[
    key("folder", Text, "\"recordings\"", "Folder of the recordings; each camera has its own in it"),
    key("segment", Duration, "\"10m\"", "Length of a file"),
    key("max-age", Duration, "\"7d\"", "Files older than this are removed"),
    key("max-size", Size, "", "What the recordings of a camera may take; the oldest go first"),
];

const RESTREAM: &[Key] = &[key("listen", Text, "\"127.0.0.1:8554\"", "Address and port: rtsp://ADDRESS:PORT/CAMERA")];

const PROCESSES: &[Key] = &[
    key("runner", OneOf(RUNNERS), "\"valkka\"", "What runs pipelines: `valkka pipeline`, or plain gst-launch-1.0"),
    key("sandbox", OneOf(SANDBOXES), "\"built-in\"", "Whose pipelines may touch few files only (landlock)"),
];

const LIMITS: &[Key] = &[
    key("capture", Table(LIMIT), "", "Of the processes that talk to cameras"),
    key("web", Table(LIMIT), "", "Of the processes that serve browsers"),
    key("analyse", Table(LIMIT), "", "Of the analyser"),
    key("record", Table(LIMIT), "", "Of the processes that record"),
    key("restream", Table(LIMIT), "", "Of the RTSP server"),
    key("pipeline", Table(LIMIT), "", "Of further pipelines"),
    key("worker", Table(LIMIT), "", "Of one's own programs"),
];

const LIMIT: &[Key] = &[
    key("nice", Integer(-20, 19, "steps"), "", "Priority: 19 gives way to everybody. Below 0 needs a privilege"),
    key("cpus", Text, "", "Processors that it may run on, as in \"0-3,6\""),
    key("memory", Size, "", "What one process may use before it is ended and started again"),
];

pub const PIPELINE: &[Key] = &[
    key("template", Text, "", "A template by name (valkka template list)"),
    key("pipeline", Text, "", "In place of template: a pipeline description"),
    key("camera", Text, "", "The camera that it works for: {camera} in the template"),
    key("values", Free, "", "Values for the placeholders"),
    key("start-hooks", Commands, "", "Commands for it, in their order, whenever it has started"),
    key("stop-hooks", Commands, "", "Commands for it, in their order, before it is stopped"),
];

pub const WORKER: &[Key] = &[
    key("command", Texts, "", "The program and its arguments. It finds its commands' socket in VALKKA_COMMANDS"),
    key("camera", Text, "", "The camera that it works for, if it is only one"),
    key("start-hooks", Commands, "", "Commands for it, in their order, whenever it has started"),
    key("stop-hooks", Commands, "", "Commands for it, in their order, before it is stopped"),
];

const LOG: &[Key] = &[key("format", OneOf(LOG_FORMATS), "\"text\"", "A line for people, or a JSON object, per event")];
