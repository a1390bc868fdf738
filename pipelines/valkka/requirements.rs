//! What has to be installed, checked before anything is started.

use std::{
    collections::BTreeSet,
    env, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

pub const GST_LAUNCH: &str = "gst-launch-1.0";
const GST_INSPECT: &str = "gst-inspect-1.0";
/// It may have to look through all plug-ins of the machine, on a busy machine.
const INSPECT_LIMIT: Duration = Duration::from_secs(120);

/// Debian's package of each element that may be missing; the rest is in plugins-base and tools.
const PACKAGES: [(&str, &[&str]); 4] = [
    (
        "gstreamer1.0-plugins-good",
        &[
            "rtspsrc",
            "rtph264depay",
            "rtph264pay",
            "rtph265depay",
            "rtph265pay",
            "matroskamux",
            "splitmuxsink",
            "v4l2src",
            "jpegdec",
            "aacparse",
            "videocrop",
            "udpsink",
        ],
    ),
    ("gstreamer1.0-plugins-bad", &["h264parse", "h265parse"]),
    ("gstreamer1.0-plugins-ugly", &["x264enc"]),
    ("gstreamer1.0-libav", &["avdec_h264", "avdec_h265", "avenc_aac"]),
];
const OURS: [&str; 4] = ["valkkashmsink", "valkkashmsrc", "valkkamotiongate", "fmp4wssink"];

#[derive(Debug, thiserror::Error)]
pub enum Missing {
    #[error("{0} is not to be found in PATH: install it (Debian and Ubuntu: apt install gstreamer1.0-tools)")]
    Program(&'static str),
    #[error("{GST_INSPECT} fails: {0}")]
    Inspect(io::Error),
    #[error("{0}")]
    Elements(String),
    #[error("this machine lacks: {0}")]
    Several(String),
}

/// Looks for GStreamer's tools and for each of these elements.
pub async fn check(elements: &[&str]) -> Result<(), Missing> {
    let present = present().await?;
    let wanted: BTreeSet<_> = elements.iter().copied().collect();
    let missing: Vec<_> = wanted.into_iter().filter(|element| !present.contains(*element)).collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing::Elements(advice(&missing))) }
}

/// All elements that GStreamer has.
pub async fn present() -> Result<BTreeSet<String>, Missing> {
    for program in [GST_LAUNCH, GST_INSPECT] {
        find_in_path(program).ok_or(Missing::Program(program))?;
    }
    // One process for all elements. It also brings GStreamer's registry up to date before many processes want it.
    let listed = timeout(INSPECT_LIMIT, Command::new(GST_INSPECT).kill_on_drop(true).output());
    let late = || io::Error::other(format!("it does not end within {} s; try it by hand", INSPECT_LIMIT.as_secs()));
    let output = listed.await.unwrap_or_else(|_| Err(late())).map_err(Missing::Inspect)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = format!("{}: {}", output.status, said.lines().last().unwrap_or_default());
        return Err(Missing::Inspect(io::Error::other(said)));
    }
    let listing = String::from_utf8_lossy(&output.stdout);
    Ok(elements_listed(&listing).into_iter().map(str::to_owned).collect())
}

/// A path as it is, a name beside this program or in PATH.
pub fn find_program(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return is_program(Path::new(program)).then(|| program.into());
    }
    find_beside_or_in_path(program)
}

/// A program beside this one, or else in PATH.
pub fn find_beside_or_in_path(program: &str) -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(program)));
    beside.filter(|path| is_program(path)).or_else(|| find_in_path(program))
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// `gst-inspect-1.0` prints `plugin:  element: What it is` for each element.
fn elements_listed(listing: &str) -> BTreeSet<&str> {
    listing.lines().filter_map(|line| line.split(':').nth(1)).map(str::trim).collect()
}

/// How to get elements that are missing.
pub fn advice(missing: &[&str]) -> String {
    let mut text = format!("GStreamer does not have: {}.", missing.join(", "));
    let is_ours = |element: &&str| OURS.contains(element);
    if missing.iter().any(is_ours) {
        text += "\n  Valkka's own plug-ins: install them, or set GST_PLUGIN_PATH to the folder of libgstvalkkashm.so \
                 and libgstfmp4ws.so (in a checkout: eval \"$(./dev env)\").";
    }
    let foreign = missing.iter().filter(|element| !is_ours(element));
    let package = |element: &&&str| {
        let listed = PACKAGES.iter().find(|(_, elements)| elements.contains(element));
        listed.map_or("gstreamer1.0-plugins-base", |(package, _)| package)
    };
    let packages: BTreeSet<_> = foreign.map(|element| package(&element)).collect();
    if !packages.is_empty() {
        let packages: Vec<_> = packages.into_iter().collect();
        text += &format!("\n  Debian and Ubuntu: apt install {}.", packages.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_from_the_listing() {
        let listing = "rtsp:  rtspsrc: RTSP packet receiver\ncoreelements:  queue: Queue\n\nTotal count: 2 plugins\n";
        let elements = elements_listed(listing);
        assert!(elements.contains("rtspsrc") && elements.contains("queue") && !elements.contains("coreelements"));
    }

    #[test]
    fn advice_names_packages_and_our_own_plug_ins() {
        let text = advice(&["avdec_h264", "rtspsrc", "valkkashmsink", "videorate"]);
        assert!(text.contains("gstreamer1.0-libav gstreamer1.0-plugins-base gstreamer1.0-plugins-good"), "{text}");
        assert!(text.contains("GST_PLUGIN_PATH"), "{text}");
        assert!(!advice(&["x264enc"]).contains("GST_PLUGIN_PATH"));
    }

    #[test]
    fn programs_are_found_as_the_shell_finds_them() {
        assert!(find_in_path("sh").is_some());
        assert!(find_in_path("no-such-program-anywhere").is_none());
    }
}
