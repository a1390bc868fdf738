//! The command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

/// Camera pipelines as processes: spawned, supervised, and live on one web page.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 ended as asked, 1 something failed, 2 wrong usage.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Say more: what each process prints (-v), and everything (-vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run cameras: capture, analyse, and show them on a web page
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Run),
    /// Try it without a camera: generated scenes, served over RTSP by this machine
    #[command(after_long_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Print a completion script for a shell
    #[command(
        after_long_help = "Example:\n  valkka completions bash > ~/.local/share/bash-completion/completions/valkka"
    )]
    Completions { shell: Shell },
    /// Become PROGRAM, bound to the life of the process PARENT
    #[command(hide = true)]
    Exec {
        #[arg(long)]
        parent: i32,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Serve the demo's cameras over RTSP
    #[command(hide = true)]
    RtspServer(RtspServer),
}

/// Measured: frames that come later than this get the time stamp of their predecessor, or none. Half a second is what a
/// busy machine needs when a browser starts.
pub const LATENCY_MS: u32 = 500;

const RUN_EXAMPLES: &str = "\
Examples:
  valkka run rtsp://10.0.0.4/live
  valkka run lobby=rtsp://10.0.0.4/live gate=rtsp://10.0.0.5/live --listen 127.0.0.1:9000
  valkka run street.mp4 test:ball

While it runs, any GStreamer pipeline can read the cameras' channels, NAME.h264 and NAME.rgb:
  export VALKKA_RUNTIME_DIR=...      (the folder that valkka prints)
  gst-launch-1.0 valkkashmsrc channel=lobby.rgb ! videoconvert ! autovideosink

Ctrl-C ends everything; a second Ctrl-C does not wait.";

const DEMO_EXAMPLES: &str = "\
Examples:
  valkka demo --open
  valkka demo --video street.mp4 --video yard.mkv";

#[derive(Debug, Args)]
pub struct Run {
    /// rtsp://..., a video file, or test:PATTERN; each may have a name, as in lobby=rtsp://...
    #[arg(required = true, value_name = "[NAME=]URI", value_hint = ValueHint::AnyPath)]
    pub cameras: Vec<String>,
    #[command(flatten)]
    pub page: Page,
    /// Milliseconds by which packets of an RTSP camera may be late and still keep their time stamps. Delays those
    /// readers only that synchronise to the clock (displays), not analysers and not the web page
    #[arg(long, value_name = "MS", default_value_t = LATENCY_MS)]
    pub latency: u32,
    #[command(flatten)]
    pub analysis: Analysis,
}

#[derive(Debug, Args)]
pub struct Demo {
    /// How many cameras [default: 3, or as many as there are videos]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32))]
    pub cameras: Option<u16>,
    /// A video file, in a loop, in place of a generated scene
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub video: Vec<PathBuf>,
    #[command(flatten)]
    pub page: Page,
    #[command(flatten)]
    pub analysis: Analysis,
}

#[derive(Clone, Debug, Args)]
pub struct Page {
    /// Address and port of the web page; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Open the page in the browser
    #[arg(long)]
    pub open: bool,
    /// File with a token that whoever wants page or API must know
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Certificate chain (PEM): page and API then speak HTTPS
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Origin whose pages may use the API beside valkka's own, as in https://cams.example
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Analysis {
    /// Width of the frames for analysers; the height follows
    #[arg(long = "analysis-width", value_name = "PIXELS", default_value_t = 640)]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub width: u32,
    /// Frames a second for analysers, at the most
    #[arg(long = "analysis-fps", value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=240))]
    pub fps: u32,
}

#[derive(Debug, Args)]
pub struct RtspServer {
    /// A camera with a generated scene, or NAME=FILE with a video
    #[arg(long = "camera", value_name = "NAME[=FILE]", required = true)]
    pub cameras: Vec<String>,
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Keeps the port from one start to the next
    #[arg(long)]
    pub port_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_wants_a_camera() {
        assert!(Cli::try_parse_from(["valkka", "run"]).is_err());
        assert!(Cli::try_parse_from(["valkka", "run", "a=rtsp://cam/1", "b.mp4", "--listen", "127.0.0.1:0"]).is_ok());
    }

    #[test]
    fn what_follows_two_dashes_belongs_to_the_program() {
        let cli = Cli::try_parse_from(["valkka", "exec", "--parent", "7", "--", "gst-launch-1.0", "-v", "--help"]);
        let Command::Exec { parent: 7, command } = cli.unwrap().command else { panic!("it is exec") };
        assert_eq!(command, ["gst-launch-1.0", "-v", "--help"]);
    }
}
