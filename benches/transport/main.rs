//! What a frame costs from one process to another, beside GStreamer's own transports, in the same run.
//!
//! `./dev bench [FILTER]` builds and starts it. For each scenario and each transport there is a writer's process and
//! readers' processes ([`peer`], this program again). A frame is 1080p RGB24. The writer puts the time into its first eight
//! bytes as the last thing before the sink, a reader takes it out as the first thing after the source: that is the
//! latency, with the same ruler for all transports. What the kernel says about processor time is divided by frames.
//! The transports take turns, and the median of the rounds is printed: a busy moment of the machine does not fall on one of them alone.
//!
//! Nothing here is asserted. Numbers are of this machine, at this moment; what can be compared is a row with its neighbours.

mod peer;
mod run;
mod scenario;
#[path = "../shmpipe.rs"]
mod shmpipe;
mod transport;

use std::process::ExitCode;

use scenario::SCENARIOS;
use transport::Transport;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    gst::init().expect("GStreamer is installed");
    if let Some((role, rest)) = arguments.split_first()
        && let Some(code) = peer::play(role, rest)
    {
        return code;
    }

    let transports: Vec<_> = Transport::ALL.into_iter().filter(|transport| transport.is_installed()).collect();
    if !transports.contains(&Transport::Valkka) {
        eprintln!("valkkashmsink is not found: ./dev bench says GStreamer where it is");
        return ExitCode::FAILURE;
    }
    let wanted = |title: &str| arguments.iter().all(|part| title.contains(part));
    println!("1920x1080 RGB24, 6.2 MB a frame, {} processors; medians of {} rounds", processors(), run::ROUNDS);
    println!("CPU is µs per frame; the writer's has the making of the picture in it, which `nobody` shows alone.");
    println!("A dash: nothing to measure, or nothing came in time");
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.title)) {
        run::run(scenario, &transports);
    }
    ExitCode::SUCCESS
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
