//! A runtime folder of the test's own, and commands that see this build's programs and plug-ins and nothing else.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::SystemTime;

use tempfile::TempDir;

use super::Process;

/// Where cargo put the programs.
pub static PROGRAMS: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_BIN_EXE_valkka")).parent().expect("a program is in a folder").to_owned());

/// The checkout.
pub static CHECKOUT: LazyLock<PathBuf> = LazyLock::new(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));

/// A folder with this build's plug-ins and nothing else: GStreamer searches plug-in folders to the bottom.
///
/// They are copies: a build that runs beside the tests does not take the plug-ins away under their feet.
pub static PLUGINS: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gstreamer-1.0");
    fs::create_dir_all(&folder).expect("cargo's folder for tests is writable");
    for name in ["libgstvalkkashm.so", "libgstfmp4ws.so"] {
        let (built, copy) = (newest_plugin(name), folder.join(name));
        if modified(&copy) < modified(&built) {
            let part = folder.join(format!("{name}.{}.part", std::process::id()));
            fs::copy(built, &part).and_then(|_| fs::rename(part, copy)).expect("cargo's folder for tests is writable");
        }
    }
    folder
});

/// GStreamer's list of plug-ins, written once before any test uses it: hundreds of processes then only read it.
static REGISTRY: LazyLock<PathBuf> = LazyLock::new(|| {
    let registry = Path::new(env!("CARGO_TARGET_TMPDIR")).join("registry.bin");
    let mut inspect = Command::new("gst-inspect-1.0");
    inspect.env("GST_PLUGIN_PATH", &*PLUGINS).env("GST_REGISTRY", &registry);
    let known = inspect.arg("valkkashmsink").output().expect("GStreamer's tools are installed");
    if !known.status.success() {
        // No panic: each test is to fail with what it misses.
        eprintln!("GStreamer does not find valkkashmsink in {}", PLUGINS.display());
    }
    registry
});

/// `cargo build` puts a plug-in beside the programs, `cargo test` into `deps` only.
fn newest_plugin(name: &str) -> PathBuf {
    let candidates = [PROGRAMS.join(name), PROGRAMS.join("deps").join(name)];
    let built = candidates.into_iter().filter(|path| path.exists());
    let newest = built.max_by_key(|path| modified(path));
    newest.unwrap_or_else(|| panic!("{name} is not built: run ./dev test, or cargo build --workspace --all-targets"))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// One test's folder: logs of its processes, and the runtime folder that they find each other in.
pub struct Runtime {
    folder: TempDir,
}

impl Runtime {
    /// An empty one.
    pub fn new() -> Runtime {
        // Socket paths may have 107 characters, so not below cargo's folder, which may be deep.
        let folder = tempfile::Builder::new().prefix("valkka-test-").tempdir().expect("a temporary folder can be made");
        Runtime { folder }
    }

    /// The test's folder, for whatever it writes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder that sockets of channels are in.
    pub fn sockets(&self) -> PathBuf {
        self.path("run")
    }

    /// The socket of a channel, for those who name it by path. They make its folder themselves.
    pub fn socket(&self, channel: &str) -> PathBuf {
        let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(self.sockets());
        made.expect("the test's folder is writable");
        self.sockets().join(channel)
    }

    /// A command that finds this build's programs and plug-ins, and this test's channels.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", PROGRAMS.display()));
        command.env("GST_PLUGIN_PATH", &*PLUGINS).env("GST_REGISTRY", &*REGISTRY).env("GST_DEBUG_NO_COLOR", "1");
        command.env("VALKKA_RUNTIME_DIR", self.sockets()).env_remove("VALKKA_CONTROL");
        command.current_dir(self.folder.path());
        command
    }

    /// Starts a command.
    pub fn start(&self, command: &Command) -> Process {
        Process::start(command, self.folder.path())
    }

    /// Starts a pipeline in a process of its own, as a user would. No spaces within property values.
    pub fn launch(&self, description: &str) -> Process {
        self.start(self.command("gst-launch-1.0").arg("-q").args(description.split_whitespace()))
    }

    /// Files that are in the runtime folder now, besides the lock of the folder itself.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.sockets()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.contains("lock")).collect()
    }
}
