//! The folder of one run: the channels' and the web processes' sockets live in it, and go with it.
//!
//! `$XDG_RUNTIME_DIR/valkka/runs/PID` (or below `$VALKKA_RUNTIME_DIR`, or `/tmp/valkka-UID`), for this user only.
//! Its lock file is held while the run lives; a folder whose lock can be had belongs to a run that was killed, and
//! the next run clears it away.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

const LOCK: &str = "run.lock";

/// Socket paths have 108 bytes; a name of 48 bytes and `.h264` must fit in.
const LONGEST_FOLDER: usize = 108 - 1 - 48 - "/.h264".len();

/// A fresh folder, removed with everything in it on drop.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    _lock: File,
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    #[error("runtime folder {path}: {source}. Set XDG_RUNTIME_DIR to a folder that is yours")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "runtime folder {path} belongs to user {owner}: remove it, or set XDG_RUNTIME_DIR to a folder that is yours"
    )]
    NotOurs { path: PathBuf, owner: u32 },
    #[error("runtime folder {0}: the path is too long for sockets. Set XDG_RUNTIME_DIR to a shorter one")]
    TooLong(PathBuf),
}

impl RuntimeDir {
    /// Makes the folder where the environment says, and removes those of runs that were killed.
    pub fn new() -> Result<Self, RuntimeDirError> {
        Self::below(&frame_ring::runtime_folder())
    }

    fn below(base: &Path) -> Result<Self, RuntimeDirError> {
        let runs = base.join("runs");
        make_private(base)?;
        make_private(&runs)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RuntimeDirError::Io { path, source }
        };
        // Held while folders come and go, so that nobody takes a folder for a dead one whose lock is not yet taken.
        let creating = File::open(&runs).and_then(|folder| folder.lock().map(|()| folder)).map_err(failed(&runs))?;
        remove_dead_runs(&runs);
        let pid = std::process::id();
        let names = (1..).map(|n| if n == 1 { pid.to_string() } else { format!("{pid}-{n}") });
        // Taken only if another container with the same process id shares the folder.
        let path = names.map(|name| runs.join(name)).find(|path| !path.exists()).expect("there are numbers enough");
        if path.as_os_str().len() > LONGEST_FOLDER {
            return Err(RuntimeDirError::TooLong(path));
        }
        DirBuilder::new().mode(0o700).create(&path).map_err(failed(&path))?;
        let lock =
            File::create_new(path.join(LOCK)).and_then(|file| file.lock().map(|()| file)).map_err(failed(&path))?;
        drop(creating);
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The socket on which the web process of a camera serves, in the folder of a run.
pub fn web_socket(folder: &Path, camera: &str) -> PathBuf {
    folder.join(format!("{camera}.web"))
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        // There is nobody to tell, and the next run tries again.
        let _ = fs::remove_dir_all(&self.path);
        // Fails while there are other runs, as it should.
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

fn make_private(path: &Path) -> Result<(), RuntimeDirError> {
    let failed = |source| RuntimeDirError::Io { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if found.uid() != geteuid().as_raw() {
        return Err(RuntimeDirError::NotOurs { path: path.to_owned(), owner: found.uid() });
    }
    Ok(())
}

fn remove_dead_runs(runs: &Path) {
    for run in fs::read_dir(runs).into_iter().flatten().flatten() {
        if !lives(&run.path()) {
            let _ = fs::remove_dir_all(run.path());
        }
    }
}

fn lives(run: &Path) -> bool {
    File::open(run.join(LOCK)).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

/// The folders of runs that live, the newest last.
pub fn living_runs() -> Vec<PathBuf> {
    let runs = fs::read_dir(frame_ring::runtime_folder().join("runs"));
    let mut runs: Vec<_> =
        runs.into_iter().flatten().flatten().map(|run| run.path()).filter(|run| lives(run)).collect();
    runs.sort_by_key(|run| fs::metadata(run).and_then(|found| found.modified()).ok());
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_private_folder_and_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let run = RuntimeDir::below(base.path()).unwrap();
        assert_eq!(fs::metadata(run.path()).unwrap().mode() & 0o777, 0o700);
        fs::write(web_socket(run.path(), "lobby"), b"").unwrap();
        drop(run);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn two_runs_do_not_meet() {
        let base = tempfile::tempdir().unwrap();
        let first = RuntimeDir::below(base.path()).unwrap();
        let second = RuntimeDir::below(base.path()).unwrap();
        assert_ne!(first.path(), second.path());
        drop(second);
        assert!(first.path().exists());
    }

    #[test]
    fn what_killed_runs_have_left_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let dead = base.path().join("runs/4711");
        fs::create_dir_all(&dead).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        fs::write(dead.join("lobby.rgb"), b"").unwrap();
        let unfinished = base.path().join("runs/4712");
        fs::create_dir_all(&unfinished).unwrap();
        let run = RuntimeDir::below(base.path()).unwrap();
        assert!(!dead.exists() && !unfinished.exists() && run.path().exists());
    }

    #[test]
    fn a_folder_too_long_for_sockets_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let long = base.path().join("x".repeat(100));
        assert!(matches!(RuntimeDir::below(&long), Err(RuntimeDirError::TooLong(_))));
    }
}
