//! `valkka-analyse`: looks at the frames of any number of channels, and answers with messages.
//!
//! One process serves many cameras. It takes frames from their channels where they lie, looks at them with OpenCV, follows
//! what it finds, and says it: as a reply to the frame's writer, and to whoever started it. It needs neither GStreamer nor
//! a configuration file; `README.md` shows it at work. The program is a thin layer above this library, whose parts
//! tests and measurements use as well.
//!
//! | module | knows |
//! | --- | --- |
//! | [`analyser`] | the thread that waits: turns, analysis threads, why to end |
//! | [`config`] | what is asked for one camera |
//! | [`camera`] | one camera: from a frame to messages |
//! | [`detect`] | motion, people, faces, ONNX models |
//! | [`track`], [`life`], [`zone`], [`geometry`] | who is who, what has happened to them, and where. No OpenCV |
//! | [`commands`] | what a frontend can call |
//! | [`message`] | the JSON |
//! | [`channel`] | one channel: what comes out of it |
//! | [`caps`], [`layout`], [`view`] | what a picture is, where its pixels are, and OpenCV's view of them without a copy |
//! | [`crew`] | the analysis threads |
//! | [`outlet`], [`lines`], [`log`] | who hears of it |

#![forbid(unsafe_code)]

pub mod analyser;
pub mod camera;
pub mod caps;
pub mod channel;
pub mod commands;
pub mod config;
pub mod crew;
pub mod detect;
pub mod geometry;
pub mod layout;
pub mod life;
pub mod lines;
pub mod log;
pub mod message;
pub mod outlet;
pub mod track;
pub mod view;
pub mod zone;
