//! Recordings that are too old or too many are removed.
//!
//! `splitmuxsink` could keep a number of files, but neither an age nor a size. So each camera's folder is looked at from
//! time to time: what belongs to it by its name, and is older than the limit, goes; then the oldest, until the rest fits.
//! The newest file stays in any case: it is being written.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tracing::{debug, warn};

use crate::config::{Config, Recording};

/// How often folders are looked at.
pub const PERIOD: Duration = Duration::from_secs(60);
const EXTENSION: &str = "mkv";

/// Looks at the folders of all cameras that are recorded.
pub fn prune(config: &Config, now: SystemTime) {
    for camera in config.cameras.iter().filter(|camera| camera.record) {
        let folder = config.recording.folder.join(&camera.name);
        match prune_folder(&folder, &camera.name, &config.recording, now) {
            Ok(removed) if removed > 0 => debug!("{}: {removed} old recordings are removed", camera.name),
            Ok(_) => {}
            Err(error) => warn!("{}: old recordings in {} stay: {error}", camera.name, folder.display()),
        }
    }
}

struct Piece {
    path: PathBuf,
    written: SystemTime,
    bytes: u64,
}

fn prune_folder(folder: &Path, camera: &str, limits: &Recording, now: SystemTime) -> io::Result<usize> {
    let mut pieces = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let ours = name.strip_prefix(camera).is_some_and(|rest| rest.starts_with('-'));
        if !ours || path.extension().is_none_or(|extension| extension != EXTENSION) {
            continue;
        }
        // A file that has just gone is none to remove.
        if let Ok(found) = fs::symlink_metadata(&path).and_then(|found| Ok((found.modified()?, found))) {
            let (written, found) = found;
            if found.is_file() {
                pieces.push(Piece { path, written, bytes: found.len() });
            }
        }
    }
    // The newest first, and it stays.
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.written));
    let mut kept = pieces.first().map_or(0, |newest| newest.bytes);
    let (mut removed, mut problem) = (0, None);
    for piece in pieces.iter().skip(1) {
        let age = now.duration_since(piece.written).unwrap_or_default();
        kept = kept.saturating_add(piece.bytes);
        let too_many = limits.max_size_bytes.is_some_and(|most| kept > most);
        if age > Duration::from_secs(limits.max_age_s) || too_many {
            match fs::remove_file(&piece.path) {
                Ok(()) => removed += 1,
                // Somebody else was first.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    problem.get_or_insert(error);
                    continue;
                }
            }
            kept -= piece.bytes;
        }
    }
    problem.map_or(Ok(removed), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of the camera `lobby`, each with its age in hours and its size.
    fn folder(files: &[(&str, u64, usize)], now: SystemTime) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, hours, bytes) in files {
            let path = folder.path().join(name);
            fs::write(&path, vec![0; *bytes]).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(now - Duration::from_secs(hours * 3600)).unwrap();
        }
        folder
    }

    fn left(folder: &Path, max_size_bytes: Option<u64>, now: SystemTime) -> Vec<String> {
        let limits = Recording { folder: folder.into(), segment_s: 60, max_age_s: 24 * 3600, max_size_bytes };
        prune_folder(folder, "lobby", &limits, now).unwrap();
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_too_old_goes_but_never_the_newest_and_nothing_of_others() {
        let now = SystemTime::now();
        let files =
            [("lobby-1.mkv", 30, 5), ("lobby-2.mkv", 20, 5), ("lobby2-1.mkv", 90, 5), ("lobby-notes.txt", 90, 5)];
        let dir = folder(&files, now);
        assert_eq!(left(dir.path(), None, now), ["lobby-2.mkv", "lobby-notes.txt", "lobby2-1.mkv"]);
        let only = folder(&[("lobby-1.mkv", 90, 5)], now);
        assert_eq!(left(only.path(), Some(1), now), ["lobby-1.mkv"]);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let now = SystemTime::now();
        let dir = folder(&[("lobby-1.mkv", 3, 40), ("lobby-2.mkv", 2, 40), ("lobby-3.mkv", 1, 40)], now);
        assert_eq!(left(dir.path(), Some(100), now), ["lobby-2.mkv", "lobby-3.mkv"]);
    }
}
