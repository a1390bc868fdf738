//! Memory limits by the kernel: a control group of its own for each process that has one.
//!
//! The kernel lets a user make groups below a group that was *delegated* to them: by systemd (`Delegate=yes`), by a
//! container's runtime, or because they are root. Both versions of control groups are known:
//!
//! ```text
//! version 2     ours ─┬─ valkka-PID               the orchestrator: a group whose children are limited has no
//!                     ├─ valkka-PID.a.capture     processes of its own
//!                     └─ valkka-PID.worker
//! version 1     ours (the orchestrator) ─┬─ valkka-PID.a.capture
//!                                        └─ valkka-PID.worker
//! ```
//!
//! Nothing is touched before the first process with a limit starts. Where no group can be made, that is said once, and
//! [`super::watchdog`] looks at the memory from time to time. A process joins its group by itself ([`super::exec`]). Groups
//! are removed with their processes; those of an orchestrator that was killed, by the next one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{AccessFlags, Pid, access},
};
use tracing::{debug, info, warn};

const PREFIX: &str = "valkka-";
const PROCESSES: &str = "cgroup.procs";
const CONTROLLERS: &str = "cgroup.subtree_control";
const MEMORY: &str = "memory";
/// So often, and after such a pause, a group is asked to go whose processes are about to end. Tests can wait: on a busy machine
/// these may need more than a second for it.
const REMOVALS: u32 = if cfg!(test) { 1200 } else { 40 };
const PAUSE: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// The group that this process is in, below which others can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub folder: PathBuf,
    pub version: Version,
}

impl Place {
    /// Whether others are in that group as well. Of version 2 nothing can be made below it then.
    pub fn is_shared(&self) -> bool {
        let own = std::process::id().to_string();
        let others = || words(&self.folder.join(PROCESSES)).iter().any(|pid| *pid != own);
        self.version == Version::Two && self.folder.join("cgroup.type").exists() && others()
    }
}

/// Why no group can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("this system has no control groups for memory")]
    None,
    #[error("the control group {0} is not this user's")]
    NotOurs(PathBuf),
    #[error("control group {path}: {source}")]
    Refused { path: PathBuf, source: io::Error },
}

/// Finds the group that this process is in. Changes nothing.
pub fn find() -> Result<Place, Unavailable> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (own, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"));
    let has_memory = |place: &Place| match place.version {
        Version::One => true,
        Version::Two => words(&place.folder.join("cgroup.controllers")).iter().any(|word| word == MEMORY),
    };
    let place = places(&own, &mounts).into_iter().find(has_memory).ok_or(Unavailable::None)?;
    let mut wanted = vec![place.folder.clone(), place.folder.join(PROCESSES)];
    wanted.extend((place.version == Version::Two).then(|| place.folder.join(CONTROLLERS)));
    if wanted.iter().all(|path| access(path, AccessFlags::W_OK).is_ok()) {
        Ok(place)
    } else {
        Err(Unavailable::NotOurs(place.folder))
    }
}

/// Where the groups of a process are that could limit memory, the newer version first. `own` is its `/proc/self/cgroup`,
/// `mounts` its `/proc/self/mountinfo`.
fn places(own: &str, mounts: &str) -> Vec<Place> {
    let mut places: Vec<_> = mounts.lines().filter_map(|mount| place_in(own, mount)).collect();
    places.sort_by_key(|place| place.version == Version::One);
    places
}

fn place_in(own: &str, mount: &str) -> Option<Place> {
    // `36 35 0:31 ROOT MOUNTPOINT rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate`
    let (where_, what) = mount.split_once(" - ")?;
    let mut fields = where_.split(' ').skip(3);
    let (root, folder) = (fields.next()?, fields.next()?);
    let mut fields = what.split(' ');
    let (kind, options) = (fields.next()?, fields.nth(1)?);
    let listed = |list: &str| list.split(',').any(|controller| controller == MEMORY);
    let version = match kind {
        "cgroup2" => Version::Two,
        "cgroup" if listed(options) => Version::One,
        _ => return None,
    };
    // `4:memory:/path`, and `0::/path` of version 2.
    let path = own.lines().find_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let wanted = if version == Version::Two { number == "0" } else { listed(controllers) };
        wanted.then_some(path)
    })?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    // A group outside of what is mounted here shows as `/../...`.
    let inside = !below.components().any(|part| part == std::path::Component::ParentDir);
    inside.then(|| Place { folder: Path::new(folder).join(below), version })
}

/// The groups of one run. Made when the first is needed, gone with it.
#[derive(Debug, Default)]
pub struct Groups(Mutex<Home>);

#[derive(Debug, Default)]
enum Home {
    /// Nobody has needed a group yet.
    #[default]
    Unknown,
    Nowhere,
    At(Settled),
}

impl Groups {
    /// A group for a process that may have so much memory; `None` if there cannot be one.
    pub fn make(&self, process: &str, memory_bytes: u64) -> Option<Group> {
        let mut home = self.lock();
        if let Home::Unknown = *home {
            let settled = find().and_then(|place| Settled::at(place, MEMORY, std::process::id()));
            *home = match settled {
                Ok(settled) => Home::At(settled),
                Err(why) => {
                    info!(
                        "memory limits are looked after every few seconds, not by the kernel: {why} (`valkka doctor`)"
                    );
                    Home::Nowhere
                }
            };
        }
        let Home::At(settled) = &*home else { return None };
        let made = settled.group(process, memory_bytes);
        made.inspect_err(|why| warn!("{process}: its memory limit is not the kernel's business: {why}")).ok()
    }

    /// Gives back what was taken, when no process is left.
    pub fn leave(&self) {
        *self.lock() = Home::Nowhere;
    }

    fn lock(&self) -> MutexGuard<'_, Home> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// A place that was made ready for groups. Dropped, it is as it was before.
#[derive(Debug)]
struct Settled {
    place: Place,
    controller: &'static str,
    /// The orchestrator.
    pid: u32,
    /// Where it has moved to (version 2).
    leaf: Option<PathBuf>,
    /// Whether the controller was handed down by us (version 2).
    handed_down: bool,
}

impl Settled {
    fn at(place: Place, controller: &'static str, pid: u32) -> Result<Self, Unavailable> {
        remove_leftovers(&place);
        let mut settled = Self { place, controller, pid, leaf: None, handed_down: false };
        if settled.place.version == Version::Two {
            settled.settle().map_err(|source| Unavailable::Refused { path: settled.place.folder.clone(), source })?;
        }
        Ok(settled)
    }

    fn settle(&mut self) -> io::Result<()> {
        let folder = &self.place.folder;
        // The very first group of a system may have both processes and children; it has no type.
        if folder.join("cgroup.type").exists() {
            let leaf = folder.join(format!("{PREFIX}{}", self.pid));
            fs::create_dir(&leaf)?;
            let moved = put(&leaf.join(PROCESSES), self.pid);
            self.leaf = Some(leaf);
            moved?;
        }
        let controllers = folder.join(CONTROLLERS);
        if !words(&controllers).iter().any(|word| word == self.controller) {
            // Busy: others are in this group, too.
            put(&controllers, format!("+{}", self.controller))?;
            self.handed_down = true;
        }
        Ok(())
    }

    fn group(&self, process: &str, memory_bytes: u64) -> Result<Group, Unavailable> {
        let path = self.place.folder.join(format!("{PREFIX}{}.{process}", self.pid));
        let refused = |source| Unavailable::Refused { path: path.clone(), source };
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(refused)?,
        }
        let group = Group { path: path.clone(), version: self.place.version, killed_before: 0 };
        if self.controller == MEMORY {
            let limit = if group.version == Version::Two { "memory.max" } else { "memory.limit_in_bytes" };
            put(&path.join(limit), memory_bytes).map_err(refused)?;
            // All of it or nothing: half a pipeline is of no use. Not every kernel has it.
            let _ = put(&path.join("memory.oom.group"), 1);
        }
        Ok(Group { killed_before: group.killed(), ..group })
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        let folder = &self.place.folder;
        for group in groups_of(folder, self.pid) {
            empty_and_remove(&group);
        }
        if self.handed_down {
            let _ = put(&folder.join(CONTROLLERS), format!("-{}", self.controller));
        }
        if let Some(leaf) = &self.leaf {
            let moved = put(&folder.join(PROCESSES), self.pid);
            if let Err(error) = moved.and_then(|()| fs::remove_dir(leaf)) {
                debug!("{} stays: {error}", leaf.display());
            }
        }
    }
}

/// A process's group.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
    version: Version,
    killed_before: u64,
}

impl Group {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the kernel has ended a process of it for its memory.
    pub fn killed_for_memory(&self) -> bool {
        self.killed() > self.killed_before
    }

    fn killed(&self) -> u64 {
        let file = if self.version == Version::Two { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Ends whatever is in it still, and removes it.
    pub async fn remove(self) {
        let _ = tokio::task::spawn_blocking(move || empty_and_remove(&self.path)).await;
    }
}

/// Ends what is left in a group, and removes it: a process that has left its process group is found here.
fn empty_and_remove(group: &Path) {
    for _ in 0..REMOVALS {
        match fs::remove_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                for pid in words(&group.join(PROCESSES)).iter().filter_map(|pid| pid.parse().ok()) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                thread::sleep(PAUSE);
            }
            _ => return,
        }
    }
    debug!("control group {} stays: its processes do not end", group.display());
}

/// Groups of orchestrators that do not run any more.
fn remove_leftovers(place: &Place) {
    for entry in fs::read_dir(&place.folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            empty_and_remove(&entry.path());
        }
    }
}

fn groups_of(folder: &Path, pid: u32) -> Vec<PathBuf> {
    let prefix = format!("{PREFIX}{pid}.");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).map(|entry| entry.path()).collect()
}

fn words(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn put(file: &Path, value: impl ToString) -> io::Result<()> {
    fs::write(file, value.to_string())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn the_group_of_a_process_is_found_as_it_is_mounted() {
        let unified = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let own = "0::/user.slice/user-1000.slice/app.slice/valkka.service\n";
        let folder = "/sys/fs/cgroup/user.slice/user-1000.slice/app.slice/valkka.service";
        assert_eq!(places(own, unified), [Place { folder: folder.into(), version: Version::Two }]);
        assert_eq!(places("0::/../other\n", unified), []);

        let hybrid = "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      32 23 0:28 /jail /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory";
        let own = "4:memory:/jail/a\n3:cpu:/b\n0::/c\n";
        let place = |folder: &str, version| Place { folder: folder.into(), version };
        let both = [place("/sys/fs/cgroup/unified/c", Version::Two), place("/sys/fs/cgroup/memory/a", Version::One)];
        assert_eq!(places(own, hybrid), both);
        assert_eq!(places("", ""), []);
    }

    /// A sleeping process in place of an orchestrator.
    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().expect("sleep is installed")
    }

    /// With the real version 2 of this machine, and whatever controller it has there: the orchestrator moves into a leaf,
    /// children get groups, and all is as before in the end. Machines that let nobody make groups have nothing to test.
    #[test]
    fn a_place_is_made_ready_and_left_as_it_was() {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let places = places(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let Some(ours) = places.into_iter().find(|place| place.version == Version::Two) else { return };
        let folder = ours.folder.join(format!("test-of-valkka-{}", std::process::id()));
        if fs::create_dir(&folder).is_err() {
            return;
        }
        let controllers = words(&folder.join("cgroup.controllers"));
        let (mut orchestrator, mut child) = (sleeper(), sleeper());
        let tested = controllers.first().cloned().map(|controller| {
            let controller: &'static str = Box::leak(controller.into_boxed_str());
            put(&folder.join(PROCESSES), orchestrator.id()).expect("a new group takes processes");
            let leftover = folder.join("valkka-4194304.dead");
            fs::create_dir(&leftover).expect("groups can be made");
            let place = Place { folder: folder.clone(), version: Version::Two };
            let settled = Settled::at(place, controller, orchestrator.id()).expect("it is delegated to us");
            assert!(!leftover.exists(), "what was left behind stays");
            let leaf = folder.join(format!("valkka-{}", orchestrator.id()));
            assert_eq!(words(&leaf.join(PROCESSES)), [orchestrator.id().to_string()]);
            let group = settled.group("a.capture", 1 << 30).expect("a group can be made");
            put(&group.path().join(PROCESSES), child.id()).expect("it takes processes");
            assert!(!group.killed_for_memory());
            drop(settled);
            assert_eq!(words(&folder.join(PROCESSES)), [orchestrator.id().to_string()]);
            assert!(!group.path().exists() && !leaf.exists());
            // What was in the group is gone with it.
            assert!(!child.wait().expect("it is our child").success());
        });
        for left in [&mut orchestrator, &mut child] {
            let _ = left.kill();
            let _ = left.wait();
        }
        empty_and_remove(&folder);
        assert!(!folder.exists() && tested.is_none_or(|()| true));
    }
}
