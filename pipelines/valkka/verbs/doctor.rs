//! `valkka doctor`: what is missing on this machine, and how to get it.

use std::{fs, path::Path};

use anyhow::Result;

use super::print;
use crate::{
    config::Config,
    plan::Plan,
    process::cgroup,
    requirements::{self, Missing},
};

/// What was looked at.
struct Finding {
    what: String,
    /// What is wrong, and what to do about it.
    trouble: Option<String>,
    /// Whether nothing works without it.
    needed: bool,
}

impl Finding {
    fn fine(what: impl Into<String>) -> Self {
        Self { what: what.into(), trouble: None, needed: true }
    }

    fn trouble(what: impl Into<String>, trouble: impl Into<String>, needed: bool) -> Self {
        Self { what: what.into(), trouble: Some(trouble.into()), needed }
    }
}

/// The oldest GStreamer that it works with.
const OLDEST: (u32, u32) = (1, 22);
/// A channel costs a reader three descriptors, a page one for each camera.
const DESCRIPTORS: u64 = 4096;

/// Elements, and what does not work without them.
const EXTRAS: [(&str, &[&str]); 6] = [
    ("H.265 cameras", &["rtph265depay", "h265parse", "avdec_h265"]),
    ("sound", &["avenc_aac", "aacparse", "audioconvert", "audioresample"]),
    ("recording", &["splitmuxsink", "matroskamux"]),
    ("serving on by RTSP", &["rtph264pay"]),
    ("cameras at USB", &["v4l2src", "jpegdec"]),
    ("relays", &["videocrop", "videoscale", "valkkamotiongate"]),
];

/// Decoders in hardware, any of which takes work from the processors.
const HARDWARE: [&str; 6] = ["vah264dec", "vaapih264dec", "nvh264dec", "v4l2h264dec", "v4l2slh264dec", "qsvh264dec"];

pub async fn doctor(config: Option<&Config>) -> Result<()> {
    let mut findings = vec![gstreamer()];
    match requirements::present().await {
        Ok(present) => {
            findings.extend(elements(&present, config)?);
        }
        Err(missing) => findings.push(Finding::trouble("GStreamer's tools", missing.to_string(), true)),
    }
    findings.push(analyser(config));
    findings.push(folder());
    findings.push(descriptors());
    findings.push(kernel());
    findings.push(memory_limits());
    findings.extend(devices());
    let mut missing = Vec::new();
    for finding in &findings {
        let sign = match (&finding.trouble, finding.needed) {
            (None, _) => "ok     ",
            (Some(_), true) => "MISSING",
            (Some(_), false) => "without",
        };
        print(&format!("{sign}  {}\n", finding.what));
        if let Some(trouble) = &finding.trouble {
            print(&format!("         {}\n", trouble.replace('\n', "\n         ")));
            if finding.needed {
                missing.push(finding.what.clone());
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Missing::Several(missing.join(", ")).into()) }
}

fn gstreamer() -> Finding {
    let (major, minor, micro, _) = gst::version();
    let what = format!("GStreamer {major}.{minor}.{micro}");
    if (major, minor) >= OLDEST {
        return Finding::fine(what);
    }
    let advice = format!("{}.{} or newer is needed: Debian 12, Ubuntu 23.04 and later have it", OLDEST.0, OLDEST.1);
    Finding::trouble(what, advice, true)
}

fn elements(present: &std::collections::BTreeSet<String>, config: Option<&Config>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut look = |what: &str, wanted: &[&str], needed: bool| {
        let missing: Vec<_> = wanted.iter().copied().filter(|element| !present.contains(*element)).collect();
        let what = what.to_owned();
        findings.push(match missing[..] {
            [] => Finding::fine(what),
            _ => Finding::trouble(what, requirements::advice(&missing), needed),
        });
    };
    let basics = [
        "valkkashmsink",
        "valkkashmsrc",
        "fmp4wssink",
        "rtspsrc",
        "rtph264depay",
        "h264parse",
        "avdec_h264",
        "decodebin3",
        "videorate",
        "videoconvertscale",
        "tee",
        "queue",
        "valve",
    ];
    look("cameras, channels and browsers", &basics, true);
    look("files, test pictures and the demo", &["x264enc", "videotestsrc", "decodebin", "clocksync"], false);
    if let Some(config) = config {
        let plan = Plan::new(config, Path::new("/run"))?;
        look("the pipelines of the configuration", &plan.elements().into_iter().collect::<Vec<_>>(), true);
    }
    for (what, wanted) in EXTRAS {
        look(what, wanted, false);
    }
    let hardware: Vec<_> = HARDWARE.into_iter().filter(|element| present.contains(*element)).collect();
    findings.push(match &hardware[..] {
        [] => Finding::trouble(
            "decoding in hardware",
            "no decoder for this machine's graphics is installed: the processors decode\n\
             Debian and Ubuntu: apt install gstreamer1.0-plugins-bad, and the driver (intel-media-va-driver, mesa-va-drivers)",
            false,
        ),
        some => Finding::fine(format!("decoding in hardware: {}", some.join(", "))),
    });
    Ok(findings)
}

fn analyser(config: Option<&Config>) -> Finding {
    let program = config.map_or("valkka-analyse", |config| config.analyser.program.as_str());
    match requirements::find_program(program) {
        Some(path) => Finding::fine(format!("analyser {}", path.display())),
        None => Finding::trouble(
            format!("analyser {program}"),
            "it is neither beside valkka nor in PATH: cameras are shown, but not analysed\ncargo build -p valkka-analyse",
            false,
        ),
    }
}

fn folder() -> Finding {
    match crate::runtime_dir::RuntimeDir::new() {
        Ok(run) => Finding::fine(format!("a folder for sockets below {}", frame_ring::runtime_folder().display()))
            .also(|| drop(run)),
        Err(error) => Finding::trouble("a folder for sockets", error.to_string(), true),
    }
}

impl Finding {
    fn also(self, what: impl FnOnce()) -> Self {
        what();
        self
    }
}

fn descriptors() -> Finding {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let what = format!("{hard} descriptors for a process");
    if hard >= DESCRIPTORS {
        return Finding::fine(what);
    }
    let advice = format!(
        "{soft} now: enough for a few dozen cameras. `ulimit -n {DESCRIPTORS}`, or LimitNOFILE= of the service"
    );
    Finding::trouble(what, advice, false)
}

/// Sealed memory that readers can map read-only needs Linux 5.1; landlock 5.13.
fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let what = format!("Linux {}", release.trim());
    match version {
        (0..=4, _) | (5, 0) => {
            Finding::trouble(what, "5.1 or newer is needed for memory that readers cannot write to", true)
        }
        (5, ..13) => Finding::trouble(what, "from 5.13 on processes can be kept from other files (landlock)", false),
        _ => Finding::fine(what),
    }
}

/// Without a control group of our own, memory is looked at every few seconds only.
fn memory_limits() -> Finding {
    let what = "memory limits by the kernel";
    let without = |why: String| {
        let advice = format!(
            "{why}: what is run from here has its limits ([limits.KIND] memory) looked after every few seconds\n\
             In the unit of a service: Delegate=yes. By hand: systemd-run --user --scope -p Delegate=yes valkka run"
        );
        Finding::trouble(what, advice, false)
    };
    match cgroup::find() {
        Ok(place) if place.is_shared() => {
            without(format!("others are in the control group {}, too", place.folder.display()))
        }
        Ok(place) => Finding::fine(format!("{what}, below {}", place.folder.display())),
        Err(error) => without(error.to_string()),
    }
}

/// Cameras of this machine that this user may not open.
fn devices() -> Vec<Finding> {
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let video = devices.filter(|path| path.to_string_lossy().starts_with("/dev/video"));
    let finding = |path: std::path::PathBuf| match fs::File::open(&path) {
        Ok(_) => Finding::fine(format!("camera {}", path.display())),
        Err(error) => {
            let advice =
                format!("{error}: add yourself to the group that owns it (usermod -aG video USER), and log in again");
            Finding::trouble(format!("camera {}", path.display()), advice, false)
        }
    };
    video.map(finding).collect()
}
