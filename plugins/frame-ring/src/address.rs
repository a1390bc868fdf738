//! Where a channel is found: names, the runtime folder, socket paths.

use std::fmt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use rustix::process::geteuid;

/// Longest path that fits into `sockaddr_un` with its final zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// Longest channel name.
const MAX_CHANNEL_NAME: usize = 64;

/// The place where a writer and its readers meet: a Unix socket, found by channel name or by path.
///
/// ```
/// let by_name = frame_ring::ChannelAddress::channel("lobby.rgb")?;
/// assert!(by_name.path().ends_with("lobby.rgb"));
/// assert!(frame_ring::ChannelAddress::channel("../lobby").is_err());
/// # Ok::<(), frame_ring::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelAddress {
    path: PathBuf,
    /// The folder is Valkka's own: it is made when it is missing, and must belong to this user.
    in_runtime_folder: bool,
}

/// Why a channel cannot be addressed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The name has other characters or another length.
    #[error(
        "“{name}” is not a channel name: use 1 to {MAX_CHANNEL_NAME} of the characters a-z 0-9 . _ - \
         (by convention camera.kind, for example lobby.rgb), not beginning with a dot"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// The socket's path is empty or does not fit into a socket address.
    #[error("“{}” cannot be a socket's path: it must have 1 to {MAX_SOCKET_PATH} bytes; choose a shorter one", .path.display())]
    Path {
        /// What was given.
        path: PathBuf,
    },
    /// The runtime folder cannot be made or looked at.
    #[error("cannot make the runtime folder {}: {source}; set VALKKA_RUNTIME_DIR to a folder that you may write to", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The folder of a socket-path cannot be looked at.
    #[error("the folder {} of the socket cannot be used: {source}; make it, or choose another socket-path", .path.display())]
    SocketFolder {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The runtime folder belongs to somebody else, or is open to others.
    #[error(
        "the runtime folder {} is not safe: {why}; set VALKKA_RUNTIME_DIR to a folder of your own", .path.display()
    )]
    Unsafe {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl ChannelAddress {
    /// The socket of that name in the runtime folder: `$VALKKA_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/valkka`, else `/tmp/valkka-UID`.
    pub fn channel(name: &str) -> Result<Self, AddressError> {
        let valid = (1..=MAX_CHANNEL_NAME).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if !valid {
            return Err(AddressError::Name { name: name.into() });
        }
        Self::checked(runtime_folder().join(name), true)
    }

    /// A socket at any other place.
    pub fn socket(path: impl Into<PathBuf>) -> Result<Self, AddressError> {
        Self::checked(path.into(), false)
    }

    fn checked(path: PathBuf, in_runtime_folder: bool) -> Result<Self, AddressError> {
        let length = path.as_os_str().len();
        if !(1..=MAX_SOCKET_PATH).contains(&length) || path.file_name().is_none() {
            return Err(AddressError::Path { path });
        }
        Ok(Self { path, in_runtime_folder })
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that the socket is in.
    pub(crate) fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Makes the runtime folder if this address is in it, and checks that it is ours alone.
    pub(crate) fn prepare_folder(&self) -> Result<(), AddressError> {
        let path = self.folder();
        let error = |source| AddressError::Folder { path: path.into(), source };
        if self.in_runtime_folder {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error)?;
            check_ours(path)
        } else {
            fs::metadata(path).map(|_| ()).map_err(|source| AddressError::SocketFolder { path: path.into(), source })
        }
    }
}

impl fmt::Display for ChannelAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

/// Somebody else's folder under a name of ours in /tmp would let them answer for our channels.
fn check_ours(path: &Path) -> Result<(), AddressError> {
    let refused = |why: String| AddressError::Unsafe { path: path.into(), why };
    let metadata = fs::symlink_metadata(path).map_err(|source| AddressError::Folder { path: path.into(), source })?;
    let me = geteuid().as_raw();
    if metadata.is_symlink() && is_default(path) {
        return Err(refused("it is a symbolic link".into()));
    }
    let metadata = fs::metadata(path).map_err(|source| AddressError::Folder { path: path.into(), source })?;
    if metadata.uid() != me && me != 0 {
        return Err(refused(format!("it belongs to user {}, not to you ({me})", metadata.uid())));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(refused(format!("others may write to it (mode {:o})", metadata.mode() & 0o7777)));
    }
    Ok(())
}

fn is_default(path: &Path) -> bool {
    path == default_folder()
}

fn default_folder() -> PathBuf {
    PathBuf::from(format!("/tmp/valkka-{}", geteuid().as_raw()))
}

/// `$VALKKA_RUNTIME_DIR`, else `$XDG_RUNTIME_DIR/valkka`, else `/tmp/valkka-UID`.
pub fn runtime_folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("VALKKA_RUNTIME_DIR")
        .or_else(|| set("XDG_RUNTIME_DIR").map(|folder| folder.join("valkka")))
        .unwrap_or_else(default_folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "lobby.rgb", "cam-1_x.h264", &"x".repeat(64)] {
            assert!(ChannelAddress::channel(good).is_ok(), "{good}");
        }
        for bad in ["", "Lobby", "a/b", "..", ".hidden", "a b", "ä", &"x".repeat(65)] {
            assert!(ChannelAddress::channel(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused_and_not_cut() {
        assert!(ChannelAddress::socket("/tmp/".to_owned() + &"x".repeat(102)).is_ok());
        assert!(ChannelAddress::socket("/tmp/".to_owned() + &"x".repeat(103)).is_err());
        assert!(ChannelAddress::socket("").is_err());
        assert!(ChannelAddress::socket("/").is_err());
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let address = ChannelAddress { path: folder.path().join("a"), in_runtime_folder: true };
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(address.prepare_folder(), Err(AddressError::Unsafe { .. })));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        address.prepare_folder().unwrap();
    }
}
