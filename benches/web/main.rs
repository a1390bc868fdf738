//! What it costs to bring a stream to browsers: delay, and processor time.
//!
//! `./dev bench web [PART]...` builds and starts it; without a name all parts run.
//!
//! | part | measures |
//! | --- | --- |
//! | `delay` | from a frame's arrival at the sink, or at the muxer before it, to its bytes at a viewer; muxers side by side |
//! | `browser` | from an encoded frame to its picture in Chromium, by WebCodecs and MSE, muxers side by side, and with jitter |
//! | `viewers` | processor time of the sink's process for each of 200 viewers of one 1080p stream |
//!
//! Nothing here is asserted. Numbers are of this machine, at this moment; what can be compared is a row with its neighbours.

mod browser;
mod client;
mod delay;
mod proxy;
mod viewers;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    gst::init().expect("GStreamer is installed");
    gstfmp4ws::plugin_register_static().expect("the plug-in registers once");
    // isofmp4mux, to compare with.
    gstfmp4::plugin_register_static().expect("the plug-in registers once");
    if let [role, file] = &arguments[..]
        && role == viewers::SERVE
    {
        viewers::serve(file);
        return ExitCode::SUCCESS;
    }
    let parts: [(&str, fn()); 3] = [("delay", delay::run), ("browser", browser::run), ("viewers", viewers::run)];
    if let Some(unknown) = arguments.iter().find(|argument| parts.iter().all(|(name, _)| name != argument)) {
        eprintln!("there is no part '{unknown}': choose from {}", parts.map(|(name, _)| name).join(", "));
        return ExitCode::FAILURE;
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}, {processors} processors", gst::version_string());
    for (name, run) in parts {
        if arguments.is_empty() || arguments.iter().any(|argument| argument == name) {
            run();
        }
    }
    ExitCode::SUCCESS
}

/// A pipeline that is set to READY: its sink listens, and frames do not flow yet.
fn ready(description: &str) -> gst::Pipeline {
    use gst::prelude::*;
    let element = gst::parse::launch(description).unwrap_or_else(|error| panic!("{description}: {error}"));
    let pipeline: gst::Pipeline = element.downcast().expect("several elements make a pipeline");
    pipeline.set_state(gst::State::Ready).expect("the sink finds a free port");
    pipeline
}

/// Plays to the end.
fn play(pipeline: &gst::Pipeline) {
    use gst::prelude::*;
    pipeline.set_state(gst::State::Playing).expect("the pipeline starts");
    let bus = pipeline.bus().expect("a pipeline has a bus");
    let message = bus.timed_pop_filtered(None, &[gst::MessageType::Eos, gst::MessageType::Error]);
    let message = message.expect("it waits for ever");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
}

/// The port of the element `sink`.
fn port(pipeline: &gst::Pipeline) -> u16 {
    use gst::prelude::*;
    let sink = pipeline.by_name("sink").expect("the sink has this name");
    u16::try_from(sink.property::<u32>("port")).expect("a port has 16 bits")
}
