//! What a viewer costs the process that serves: processor time with many viewers, less that with one, divided.
//!
//! The sink runs in a process of its own (this program again, [`serve`]) and repeats a group of pictures that was encoded before, so
//! that no encoder is in the figures. The viewers are threads of this process that read and throw away.

use crate::client::Client;
use gst::prelude::*;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The role of the process that serves.
pub const SERVE: &str = "serve";

const SECONDS: usize = 20;
/// Frames that are encoded, and repeated.
const GROUP: usize = 50;
const VIEWERS: usize = 200;

/// Prints a row for one viewer and one for many.
pub fn run() {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let file = folder.path().join("stream.mp4").display().to_string();
    println!("\n{VIEWERS} viewers of one stream: 1920x1080, H.264, 25 fps, 4 Mbit/s, {SECONDS} s");
    let encoding = crate::ready(&format!(
        "videotestsrc pattern=snow num-buffers={GROUP} ! video/x-raw,format=I420,width=1920,height=1080,framerate=25/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=4000 key-int-max={GROUP} ! h264parse ! mp4mux \
         ! filesink location={file}"
    ));
    crate::play(&encoding);
    encoding.set_state(gst::State::Null).expect("it stops");

    println!("{:<12}{:>14}{:>14}{:>12}{:>10}", "viewers", "CPU %, sink", "received MB", "complete", "dropped");
    let one = watch(&file, 1);
    let many = watch(&file, VIEWERS);
    let each = (many - one) / (VIEWERS - 1) as f64;
    println!("each further viewer: {:.3} % of a processor", each * 100.0);
}

/// Processor time of the sink's process in each second.
fn watch(file: &str, count: usize) -> f64 {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    let mut server =
        command.args([SERVE, file]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(server.stdout.take().expect("it is piped")).lines();
    let mut line = move || lines.next().expect("the server answers").expect("in text");
    let port: u16 = line().parse().expect("a port");
    let viewers: Vec<_> = (0..count)
        .map(|_| {
            let mut client = Client::connect(port).expect("the sink listens");
            std::thread::spawn(move || {
                let (mut messages, mut bytes) = (0, 0);
                while let Ok(message) = client.media() {
                    messages += 1;
                    bytes += message.len();
                }
                (messages, bytes)
            })
        })
        .collect();
    let mut stdin = server.stdin.take().expect("it is piped");
    writeln!(stdin, "{count}").expect("the server reads");
    let (cpu, dropped) = (line(), line());
    drop(stdin);
    let results: Vec<(usize, usize)> =
        viewers.into_iter().map(|viewer| viewer.join().expect("it ends with the connection")).collect();
    server.wait().expect("it ends");
    let bytes: usize = results.iter().map(|(_, bytes)| bytes).sum();
    let complete = results.iter().filter(|(messages, _)| *messages == SECONDS * 25 + 1).count();
    let cpu: f64 = cpu.parse().expect("a number");
    println!("{count:<12}{:>14.1}{:>14.0}{complete:>12}{dropped:>10}", cpu * 100.0, bytes as f64 / 1e6);
    cpu
}

/// Serves the file once so many viewers have come. Tells the port, and at the end the processor time in each second and the frames
/// that viewers missed.
pub fn serve(file: &str) {
    let (caps, frames) = encoded(file);
    let pipeline = crate::ready("appsrc name=src is-live=true format=time ! fmp4wssink name=sink port=0 max-viewers=0");
    let source = pipeline.by_name("src").expect("the source has this name");
    source.set_property("caps", caps);
    println!("{}", crate::port(&pipeline));
    let mut count = String::new();
    std::io::stdin().read_line(&mut count).expect("the other end writes");
    let count: u32 = count.trim().parse().expect("a number");
    let sink = pipeline.by_name("sink").expect("the sink has this name");
    while sink.property::<u32>("viewers") < count {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (before, start) = (processor_time(), Instant::now());
    let feeder = std::thread::spawn(move || feed(&source, &frames, start));
    crate::play(&pipeline);
    feeder.join().expect("it has fed everything");
    println!("{}", (processor_time() - before) / start.elapsed().as_secs_f64());
    let stats: gst::Structure = sink.property("stats");
    println!("{}", stats.get::<u64>("dropped-frames").expect("a number"));
    pipeline.set_state(gst::State::Null).expect("it stops");
}

/// The frames of a file, and their caps.
fn encoded(file: &str) -> (gst::Caps, Vec<gst::Buffer>) {
    let pipeline =
        crate::ready(&format!("filesrc location={file} ! qtdemux ! h264parse ! appsink name=frames sync=false"));
    pipeline.set_state(gst::State::Playing).expect("the file is there");
    let sink = pipeline.by_name("frames").expect("the sink has this name");
    let pull = || sink.emit_by_name::<Option<gst::Sample>>("pull-sample", &[]);
    let samples: Vec<gst::Sample> = std::iter::from_fn(pull).collect();
    pipeline.set_state(gst::State::Null).expect("it stops");
    let caps = samples.first().and_then(|sample| sample.caps_owned()).expect("frames have caps");
    (caps, samples.iter().filter_map(|sample| sample.buffer_owned()).collect())
}

/// Pushes each frame when it is due, again and again, and then the end.
fn feed(source: &gst::Element, frames: &[gst::Buffer], start: Instant) {
    for (index, frame) in (0..SECONDS * 25).zip(frames.iter().cycle()) {
        let due = Duration::from_millis(index as u64 * 40);
        std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
        // The memory is shared, the time is its own.
        let mut frame = frame.clone();
        let stamp = gst::ClockTime::from_mseconds(index as u64 * 40);
        let own = frame.make_mut();
        own.set_pts(stamp);
        own.set_dts(stamp);
        let flow: gst::FlowReturn = source.emit_by_name("push-buffer", &[&frame]);
        assert_eq!(flow, gst::FlowReturn::Ok);
    }
    let _: gst::FlowReturn = source.emit_by_name("end-of-stream", &[]);
}

/// Of this process so far, in seconds.
fn processor_time() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts");
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    microseconds as f64 / 1e6
}
