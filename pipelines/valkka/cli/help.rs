//! What `--help` says below the options: examples that work when they are pasted, and exit codes.

pub const RUN_EXAMPLES: &str = "\
Examples:
  valkka run rtsp://10.0.0.4/live
  valkka run lobby=rtsp://10.0.0.4/live gate=rtsp://10.0.0.5/live --listen 127.0.0.1:9000
  valkka run street.mp4 test:ball

While it runs, any GStreamer pipeline can read the cameras' channels, NAME.h264 and NAME.rgb:
  export VALKKA_RUNTIME_DIR=...      (the folder that valkka prints)
  gst-launch-1.0 valkkashmsrc channel=lobby.rgb ! videoconvert ! autovideosink

Ctrl-C ends everything; a second Ctrl-C does not wait.";

pub const EXIT_CODES: &str = "\
Exit codes:
  0  done as asked
  1  something failed
  2  wrong usage, or a configuration with mistakes
  3  no orchestrator is running
  4  there is no such camera, process, command or template
  5  something that is needed is not installed
  6  a pipeline description that cannot be run";

pub const INIT_EXAMPLES: &str = "\
Examples:
  valkka init && valkka run
  valkka init /etc/valkka/valkka.toml";

pub const SCHEMA_EXAMPLES: &str = "\
Example, for editors with a TOML language server (taplo, Even Better TOML):
  valkka schema > valkka.schema.json
and as the first line of valkka.toml:
  #:schema ./valkka.schema.json";

pub const TEMPLATE_EXAMPLES: &str = "\
Examples:
  valkka template show capture-rtsp
  valkka template show web --camera lobby
  eval \"$(valkka template show capture-rtsp --camera lobby --secrets)\"

With --camera it is a line for a shell, filled in as the configuration says. To change a template, save what is
printed without --camera as NAME.launch in a folder of your own, and name that folder in the configuration
(templates = \"FOLDER\").";

pub const RESTREAM_EXAMPLES: &str = "\
Example, while `valkka run` runs:
  export VALKKA_RUNTIME_DIR=...      (the folder that it prints)
  valkka restream --mount \"lobby=$(valkka template show restream --camera lobby | cut -d' ' -f2-)\"
  ffplay rtsp://127.0.0.1:8554/lobby

`valkka run` does it for cameras with `restream = true`.";

pub const DEMO_EXAMPLES: &str = "\
Examples:
  valkka demo --open
  valkka demo --video street.mp4 --video yard.mkv";

pub const STATUS_EXAMPLES: &str = "\
Examples:
  valkka status
  valkka status --watch
  valkka status --json | jq -r '.cameras[] | select(.state != \"live\") | .name'";

pub const CALL_EXAMPLES: &str = "\
Examples:
  valkka call lobby.capture ping
  valkka call lobby.capture commands
  valkka call lobby.capture keyframe
  valkka call lobby.capture get '{\"element\": \"camera\", \"property\": \"latency\"}'";

pub const ADD_EXAMPLES: &str = "\
Examples:
  valkka camera add lobby=rtsp://10.0.0.4/live
  valkka camera add gate=rtsp://10.0.0.5/live --user admin --password-file gate.password --record
  valkka camera add test:ball --no-analysis";

pub const PIPELINE_EXAMPLES: &str = "\
Examples:
  valkka pipeline videotestsrc ! videoconvert ! autovideosink
  valkka pipeline --file lobby.launch

Ctrl-C ends the stream, so that files are complete; a second Ctrl-C does not wait.";
