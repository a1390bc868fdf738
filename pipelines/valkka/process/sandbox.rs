//! Which files a pipeline may touch: landlock, which every user may ask for, and which holds for all that it starts.
//!
//! | what | a sandboxed pipeline may |
//! | --- | --- |
//! | programs and libraries (`/usr`, `/lib`, `/opt`, the plug-in folders of the environment) | read, execute |
//! | settings and the kernel's files (`/etc`, `/proc`, `/sys`, what names and devices need of `/run`) | read |
//! | devices (`/dev`), the run's folder, GStreamer's registry | read, write |
//! | what its description names: a file to play, a folder to record into | read, or write |
//! | everything else, the user's home above all | nothing |
//!
//! On a kernel without landlock (before 5.13) it says so and goes on. The network is not restricted: cameras are anywhere.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, path_beneath_rules};

use crate::template::plain;

/// What a pipeline needs besides what all need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
}

const READ_AND_EXECUTE: [&str; 7] = ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/opt", "/nix"];
/// Of `/run` what the system's libraries look at, and not what services keep secret there.
const READ: [&str; 11] = [
    "/etc",
    "/proc",
    "/sys",
    "/run/dbus",
    "/run/NetworkManager",
    "/run/nscd",
    "/run/opengl-driver",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/run/udev",
    "/run/current-system",
];
const WRITE: [&str; 1] = ["/dev"];
/// Lists of folders in the environment, from which programs load code.
const CODE_VARIABLES: [&str; 5] = [
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_SYSTEM_PATH",
    "GST_PLUGIN_PATH_1_0",
    "GST_PLUGIN_SYSTEM_PATH_1_0",
    "LD_LIBRARY_PATH",
];

impl Sandbox {
    /// What the words of a description name: every absolute path is read, and where it is the place of files to write, its folder
    /// is written to.
    pub fn of_description(words: &[String], writes_files: bool) -> Self {
        let values = words.iter().filter_map(|word| word.split_once('=')).map(|(_, value)| plain(value));
        let paths = values.map(PathBuf::from).filter(|path| path.is_absolute());
        let mut sandbox = Self::default();
        for path in paths {
            match path.parent() {
                Some(folder) if writes_files => sandbox.write.push(folder.to_owned()),
                _ => sandbox.read.push(path),
            }
        }
        sandbox
    }

    /// As arguments of `valkka exec`.
    pub fn to_args(&self) -> impl Iterator<Item = &OsStr> {
        let read = self.read.iter().flat_map(|path| [OsStr::new("--may-read"), path.as_os_str()]);
        let write = self.write.iter().flat_map(|path| [OsStr::new("--may-write"), path.as_os_str()]);
        read.chain(write)
    }

    /// Holds from now on, for this process and all that it becomes and starts. What does not exist needs no rule.
    /// `false` if the kernel knows no landlock.
    pub fn enter(&self) -> Result<bool> {
        let abi = ABI::V5;
        let (read, all) = (AccessFs::ReadFile | AccessFs::ReadDir, AccessFs::from_all(abi));
        let execute = read | AccessFs::Execute;
        let code = env::current_exe().into_iter();
        let code =
            code.chain(READ_AND_EXECUTE.iter().map(PathBuf::from)).chain(CODE_VARIABLES.iter().flat_map(folders));
        let own = home(".local/share/gstreamer-1.0").into_iter();
        let readable = READ.iter().map(PathBuf::from).chain(self.read.iter().cloned()).chain(own);
        let written = WRITE.iter().map(PathBuf::from).chain(self.write.iter().cloned());
        let written = written.chain(env::var_os("VALKKA_RUNTIME_DIR").map(PathBuf::from)).chain(registry());
        let status = Ruleset::default()
            .handle_access(all)?
            .create()?
            .add_rules(path_beneath_rules(code, execute))?
            .add_rules(path_beneath_rules(readable, read))?
            .add_rules(path_beneath_rules(written, all))?
            .restrict_self()?;
        Ok(status.ruleset != RulesetStatus::NotEnforced)
    }
}

/// The folders that an environment variable lists, and what links in them lead to: a build's plug-ins may stand there as links.
fn folders(variable: &&str) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> = env::var_os(variable).iter().flat_map(env::split_paths).collect();
    let linked: Vec<PathBuf> = folders.iter().flat_map(|folder| links(folder)).collect();
    folders.into_iter().chain(linked).collect()
}

fn links(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.filter_map(|link| link.path().canonicalize().ok()).collect()
}

fn home(path: &str) -> Option<PathBuf> {
    env::var_os("HOME").map(|home| Path::new(&home).join(path))
}

/// Where GStreamer writes its list of plug-ins: by way of a temporary file beside it.
fn registry() -> Option<PathBuf> {
    let named = env::var_os("GST_REGISTRY").and_then(|path| Path::new(&path).parent().map(Path::to_owned));
    let cache = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| home(".cache"));
    named.or_else(|| cache().map(|cache| cache.join("gstreamer-1.0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_opens_what_it_names() {
        let words = ["filesrc", r#"location="/media/a b.mkv""#, "!", "fakesink", "name=x"].map(str::to_owned);
        let played = Sandbox::of_description(&words, false);
        assert_eq!(played, Sandbox { read: vec!["/media/a b.mkv".into()], write: Vec::new() });
        let words = ["splitmuxsink", "location=/var/rec/lobby/%05d.mkv"].map(str::to_owned);
        let recorded = Sandbox::of_description(&words, true);
        assert_eq!(recorded, Sandbox { read: Vec::new(), write: vec!["/var/rec/lobby".into()] });
        let args: Vec<_> = recorded.to_args().collect();
        assert_eq!(args, ["--may-write", "/var/rec/lobby"]);
    }
}
