//! A listening Unix socket and its name in the file system.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("socket-path {0} is in use by another process. Stop it, or choose another path")]
    InUse(PathBuf),
    #[error("socket-path {0} exists and is not a socket. Choose another path")]
    NotASocket(PathBuf),
    #[error("cannot listen on socket-path {path}: {source}")]
    Failed { path: PathBuf, source: io::Error },
}

/// The name of a listening socket in the file system, which goes when the listener goes.
pub struct SocketFile {
    path: PathBuf,
    inode: Option<u64>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not when somebody has put another one there.
        if self.inode.is_some() && inode(&self.path) == self.inode {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::symlink_metadata(path).ok().map(|file| file.ino())
}

/// Binds a socket for this user alone. A socket that a killed process left is replaced; one that is alive is not.
pub fn bind(path: &Path) -> Result<(UnixListener, SocketFile), Error> {
    let failed = |source| Error::Failed { path: path.into(), source };
    // Two processes that find the same dead socket take turns.
    let folder = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    folder.lock().map_err(failed)?;
    if let Ok(file) = std::fs::symlink_metadata(path) {
        if !file.file_type().is_socket() {
            return Err(Error::NotASocket(path.into()));
        }
        match UnixStream::connect(path) {
            Ok(_) => return Err(Error::InUse(path.into())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        }
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    let file = SocketFile { path: path.into(), inode: inode(path) };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok((listener, file))
}
