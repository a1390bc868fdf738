//! The command line.

mod help;
mod meaning;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

pub use self::meaning::config_of;
use crate::{config, pipeline::Origin, process::exec::Preparation};

/// Camera pipelines as processes: spawned, supervised, and live on one web page.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
#[command(after_help = help::EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Say more: what each process prints (-v), and everything (-vv)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Which orchestrator, if several are running: its process id
    #[arg(long, global = true, value_name = "PID")]
    pub run: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run cameras: capture, analyse, and show them on a web page
    #[command(after_long_help = help::RUN_EXAMPLES)]
    Run(Run),
    /// Try it without a camera: generated scenes, served over RTSP by this machine
    #[command(after_long_help = help::DEMO_EXAMPLES)]
    Demo(Demo),
    /// Look whether a configuration is right, and tell all that is wrong with it
    #[command(after_long_help = "Example:\n  valkka check /etc/valkka/valkka.toml && valkka reload")]
    Check {
        /// [default: valkka.toml here, else /etc/valkka/valkka.toml]
        #[arg(value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
    },
    /// Write a commented configuration to start from
    #[command(after_long_help = help::INIT_EXAMPLES)]
    Init {
        /// Where to; a file that is there already is not touched
        #[arg(default_value = config::FILE_NAME, value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Print the JSON Schema of configurations, for editors
    #[command(after_long_help = help::SCHEMA_EXAMPLES)]
    Schema,
    /// Show the pipeline descriptions that run for cameras
    #[command(subcommand)]
    Template(Template),
    /// Run a pipeline description as gst-launch-1.0 does; under the orchestrator, take commands
    #[command(after_long_help = help::PIPELINE_EXAMPLES)]
    Pipeline(Pipeline),
    #[command(flatten)]
    Remote(Remote),
    /// Look whether everything is there that cameras need, and how to get what is not
    #[command(after_long_help = "Example:\n  valkka doctor && valkka run")]
    Doctor {
        /// Looks at what this configuration needs as well [default: valkka.toml here, if there is one]
        #[arg(value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
    },
    /// Print a completion script for a shell
    #[command(
        after_long_help = "Example:\n  valkka completions bash > ~/.local/share/bash-completion/completions/valkka"
    )]
    Completions { shell: Shell },
    /// Become PROGRAM, bound to the life of the process PARENT
    #[command(hide = true)]
    Exec {
        #[command(flatten)]
        preparation: Preparation,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Serve the demo's cameras over RTSP
    #[command(hide = true)]
    RtspServer(RtspServer),
    /// Serve channels on by RTSP, without transcoding
    #[command(after_long_help = help::RESTREAM_EXAMPLES)]
    Restream(Restream),
}

#[derive(Debug, Args)]
pub struct Run {
    /// A configuration (NAME.toml), or cameras: rtsp://..., a video file, /dev/videoN or test:PATTERN, each perhaps with
    /// a name, as in lobby=rtsp://... [default: valkka.toml here, else /etc/valkka/valkka.toml]
    #[arg(value_name = "CONFIG | [NAME=]URI", value_hint = ValueHint::AnyPath)]
    pub cameras: Vec<String>,
    #[command(flatten)]
    pub page: Page,
    /// Milliseconds by which packets of an RTSP camera may be late and still keep their time stamps [default: 500].
    /// Delays those readers only that synchronise to the clock (displays), not analysers and not the web page
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub latency: Option<u32>,
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

/// What a running orchestrator is asked.
#[derive(Debug, Subcommand)]
pub enum Remote {
    /// Show cameras and processes of the running orchestrator
    #[command(after_long_help = help::STATUS_EXAMPLES)]
    Status(Status),
    /// Add, remove and list cameras while it runs
    #[command(subcommand)]
    Camera(Camera),
    /// Stop a process and start it again, or all processes of a camera
    #[command(after_long_help = "Examples:\n  valkka restart lobby.capture\n  valkka restart lobby")]
    Restart {
        /// As in `valkka status`
        name: String,
    },
    /// Show what processes have printed
    #[command(after_long_help = "Examples:\n  valkka logs\n  valkka logs lobby -f\n  valkka logs lobby.capture -n 500")]
    Logs(Logs),
    /// Have a process run a command, and print its result as JSON
    #[command(after_long_help = help::CALL_EXAMPLES)]
    Call {
        /// As in `valkka status`
        process: String,
        command: String,
        /// A JSON object
        #[arg(value_name = "PARAMETERS")]
        params: Option<String>,
    },
    /// Save a picture of this moment as a JPEG
    #[command(after_long_help = "Examples:\n  valkka snapshot lobby lobby.jpeg\n  valkka snapshot lobby - | feh -")]
    Snapshot {
        camera: String,
        /// - is standard output
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Read the configuration again; only what has changed is touched
    #[command(after_long_help = "Example:\n  valkka check && valkka reload")]
    Reload,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Go on, once a second
    #[arg(short, long)]
    pub watch: bool,
    /// As JSON, one line each time
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Of this process, or of all processes of this camera
    pub name: Option<String>,
    /// Go on with new lines as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Lines of the past
    #[arg(short = 'n', long, default_value_t = 100)]
    pub lines: usize,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Camera {
    /// Add a camera, and wait until it is live
    #[command(after_long_help = help::ADD_EXAMPLES)]
    Add(CameraAdd),
    /// Stop a camera and forget it
    Remove { name: String },
    /// List the cameras
    List {
        /// As JSON, with all that is configured
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct CameraAdd {
    /// rtsp://..., a video file, /dev/videoN or test:PATTERN, perhaps with a name, as in lobby=rtsp://...
    #[arg(value_name = "[NAME=]URI", value_hint = ValueHint::AnyPath)]
    pub camera: String,
    /// User name, in place of one in the URI
    #[arg(long)]
    pub user: Option<String>,
    /// File with the password: an argument could be read by every user of this machine
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "user")]
    pub password_file: Option<PathBuf>,
    /// What it sends
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(config::keys::CODECS))]
    pub codec: Option<String>,
    /// How it sends
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(config::keys::TRANSPORTS))]
    pub transport: Option<String>,
    /// It has sound, to be published and recorded
    #[arg(long)]
    pub audio: bool,
    /// Record it
    #[arg(long)]
    pub record: bool,
    /// Serve it on by RTSP
    #[arg(long)]
    pub restream: bool,
    /// A value for a placeholder of its template
    #[arg(long = "value", value_name = "NAME=VALUE")]
    pub values: Vec<String>,
    /// What to look for in its frames
    #[arg(long, conflicts_with = "no_analysis")]
    pub detector: Option<String>,
    /// Nobody looks at its frames
    #[arg(long)]
    pub no_analysis: bool,
    /// Do not wait until it is live
    #[arg(long)]
    pub no_wait: bool,
    /// Seconds to wait until it is live
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout: u64,
}

#[derive(Debug, Subcommand)]
pub enum Template {
    /// List the templates there are
    List {
        /// The configuration whose folder of templates counts [default: valkka.toml here, if there is one]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
    },
    /// Print a template, or the line for a shell that it becomes for a camera
    #[command(after_long_help = help::TEMPLATE_EXAMPLES)]
    Show {
        /// As in `valkka template list`
        name: String,
        /// Filled in for this camera: one of the configuration, or [NAME=]URI
        #[arg(long)]
        camera: Option<String>,
        /// Print passwords as they are
        #[arg(long, requires = "camera")]
        secrets: bool,
        /// The configuration [default: valkka.toml here, if there is one]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, Args)]
pub struct Page {
    /// Address and port of the web page; port 0 takes any that is free
    ///
    /// [default: what the configuration says, or 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
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
    /// Origin whose pages may use the API beside valkka's own, as in `https://cams.example`
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct Analysis {
    /// Width of the frames for analysers; the height follows [default: 640]
    #[arg(long = "analysis-width", value_name = "PIXELS")]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=8192))]
    pub width: Option<u32>,
    /// Frames a second for analysers, at the most [default: 10]
    #[arg(long = "analysis-fps", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=240))]
    pub fps: Option<u32>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Pipeline {
    /// The description, as gst-launch-1.0 takes it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "DESCRIPTION")]
    pub words: Vec<String>,
    /// Read it from a file; lines that begin with # are comments
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Read it from an inherited descriptor: words, each ended by a zero byte
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub descriptor: Option<i32>,
}

impl Pipeline {
    /// Where the description is.
    pub fn origin(self) -> Origin {
        match (self.descriptor, self.file) {
            (Some(number), _) => Origin::Descriptor(number),
            (None, Some(file)) => Origin::File(file),
            (None, None) => Origin::Words(self.words),
        }
    }
}

#[derive(Debug, Args)]
pub struct Restream {
    /// Address and port; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8554")]
    pub listen: SocketAddr,
    /// A name, and the description of the pipeline whose payloader pay0 is served under it
    #[arg(long = "mount", value_name = "NAME=DESCRIPTION", required = true)]
    pub mounts: Vec<String>,
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
    fn run_takes_cameras_or_a_file() {
        assert!(Cli::try_parse_from(["valkka", "run", "cameras.toml"]).is_ok());
        assert!(Cli::try_parse_from(["valkka", "run", "a=rtsp://cam/1", "b.mp4", "--listen", "127.0.0.1:0"]).is_ok());
    }

    #[test]
    fn what_follows_two_dashes_belongs_to_the_program() {
        let cli = Cli::try_parse_from(["valkka", "exec", "--parent", "7", "--", "gst-launch-1.0", "-v", "--help"]);
        let Command::Exec { preparation: Preparation { parent: 7, .. }, command } = cli.unwrap().command else {
            panic!("it is exec")
        };
        assert_eq!(command, ["gst-launch-1.0", "-v", "--help"]);
    }
}
