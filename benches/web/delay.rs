//! How long a frame takes from the encoder's end to a viewer, with different muxers before the sink, and with none.
//!
//! The clock starts when the frame leaves the parser behind the encoder, and stops when a viewer on the same machine has its last byte:
//! what the muxer holds back, what the sink does, two passes through the kernel, and waking the viewer.

use crate::client::Client;
use gst::prelude::*;
use gstfmp4ws::mp4::{Output, Parser};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const FRAMES: usize = 500;

/// What is between the parser and the sink.
const MUXERS: [(&str, &str, &str); 3] = [
    ("encoded frames", "", ""),
    ("mp4mux", "mp4mux", "! mp4mux fragment-duration=1 streamable=true"),
    ("isofmp4mux", "isofmp4mux", "! isofmp4mux fragment-duration=1000000000 chunk-duration=1"),
];

/// Prints a row for each muxer that is installed.
pub fn run() {
    println!("\nfrom the encoder to a viewer: 1280x720, H.264, 25 fps, {FRAMES} frames");
    println!("{:<20}{:>10}{:>10}{:>10}", "", "p50 ms", "p99 ms", "max ms");
    for (name, factory, muxer) in MUXERS {
        if !factory.is_empty() && gst::ElementFactory::find(factory).is_none() {
            println!("{name:<20}{:>10}", "not installed");
            continue;
        }
        let mut delays = measure(muxer);
        delays.sort_unstable();
        let ms = |at: f64| {
            let index = ((delays.len() - 1) as f64 * at).round() as usize;
            delays.get(index).map_or(f64::NAN, Duration::as_secs_f64) * 1e3
        };
        println!("{name:<20}{:>10.2}{:>10.2}{:>10.2}", ms(0.5), ms(0.99), ms(1.0));
    }
}

fn measure(muxer: &str) -> Vec<Duration> {
    let pipeline = crate::ready(&format!(
        "videotestsrc is-live=true pattern=ball num-buffers={FRAMES} \
         ! video/x-raw,format=I420,width=1280,height=720,framerate=25/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 ! h264parse ! identity name=in \
         {muxer} ! fmp4wssink name=sink port=0"
    ));
    let (entered, stamps) = channel();
    let pad = pipeline.by_name("in").and_then(|identity| identity.static_pad("src")).expect("identity has this pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let _ = entered.send(Instant::now());
        gst::PadProbeReturn::Ok
    });
    let mut client = Client::connect(crate::port(&pipeline)).expect("the sink listens");
    let viewer = std::thread::spawn(move || {
        let (mut parser, mut outputs, mut arrived) = (Parser::default(), Vec::new(), Vec::new());
        while let Ok(message) = client.media() {
            let now = Instant::now();
            parser.push(message, &mut outputs).expect("the sink sends valid fragments");
            for output in outputs.drain(..) {
                if let Output::Fragment(fragment) = output {
                    arrived.extend(std::iter::repeat_n(now, fragment.frames as usize));
                }
            }
        }
        arrived
    });
    // Frames that nobody watches are not sent: the first one waits for the viewer.
    let sink = pipeline.by_name("sink").expect("the sink has this name");
    while sink.property::<u32>("viewers") == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    crate::play(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    let arrived = viewer.join().expect("the viewer ends with the connection");
    // The last frames come out of a muxer by the end of the stream.
    let pairs = stamps.try_iter().zip(arrived).take(FRAMES - 3);
    pairs.map(|(entered, arrived)| arrived.saturating_duration_since(entered)).collect()
}
