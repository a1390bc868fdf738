//! The meeting place: a writer's listening socket, a reader's way to it, and a watch for the writer that is not there yet.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock, inotify};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};

use crate::address::{AddressError, ChannelAddress};

/// How long a writer that starts waits for the lock of the folder; who has it needs microseconds, if the machine has time for it.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long one that ends does.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
const BACKLOG: i32 = 128;

/// Why a channel cannot be opened for writing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is wrong, or its folder.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Somebody writes to it.
    #[error("the channel {path} has a writer already; stop that one, or choose another channel")]
    Busy {
        /// The socket.
        path: ChannelAddress,
    },
    /// The path is taken by something that is not a socket.
    #[error("{path} exists and is not a socket; remove it, or choose another channel or socket-path")]
    NotASocket {
        /// The path.
        path: ChannelAddress,
    },
    /// The socket or its folder belongs to another user.
    #[error("no right to use {path} ({source}): it belongs to another user; choose another channel or socket-path")]
    NotAllowed {
        /// The socket.
        path: ChannelAddress,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else.
    #[error("cannot listen on {path}: {doing}: {source}")]
    System {
        /// The socket.
        path: ChannelAddress,
        /// Which step failed.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// A writer's listening socket. Drop removes it from the file system, unless another writer has taken the place.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    address: ChannelAddress,
    /// Device and inode of the socket's name.
    identity: (u64, u64),
}

impl Listener {
    /// Takes the place. A socket that nobody serves any more is replaced.
    pub fn open(address: &ChannelAddress) -> Result<Self, OpenError> {
        address.prepare_folder()?;
        let path = address.path();
        let system = |doing| {
            let path = address.clone();
            move |source: io::Error| match source.kind() {
                io::ErrorKind::PermissionDenied => OpenError::NotAllowed { path, source },
                _ => OpenError::System { path, doing, source },
            }
        };
        let _lock = lock(address.folder(), LOCK_PATIENCE).map_err(system("locking its folder"))?;
        remove_if_dead(address)?;
        let socket = new_socket().map_err(|e| system("socket")(e.into()))?;
        let name = SocketAddrUnix::new(path).map_err(|e| system("its address")(e.into()))?;
        bind(&socket, &name).map_err(|e| system("bind")(e.into()))?;
        listen(&socket, BACKLOG).map_err(|e| system("listen")(e.into()))?;
        // Waiting readers watch for this change: from here on they are answered.
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(system("chmod"))?;
        let identity = identity(path).ok_or_else(|| system("stat")(io::Error::from(Errno::NOENT)))?;
        Ok(Self { socket, address: address.clone(), identity })
    }

    /// The next reader that knocks; None when there is none now. An error for lack of descriptors or memory: it still knocks.
    pub fn accept(&self) -> Result<Option<OwnedFd>, Errno> {
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => return Ok(Some(socket)),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Without the lock a successor could be between its probe and its bind. If it cannot be had, leave the file: it is replaced then.
        let Ok(_lock) = lock(self.address.folder(), LAST_PATIENCE) else { return };
        if identity(self.address.path()) == Some(self.identity) {
            let _ = fs::remove_file(self.address.path());
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// The lock of a folder, held as long as the file is open. There is no way to wait for flock(2) with a limit but to ask again.
fn lock(folder: &Path, patience: Duration) -> io::Result<File> {
    let file = File::open(folder)?;
    let deadline = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn remove_if_dead(address: &ChannelAddress) -> Result<(), OpenError> {
    let path = address.clone();
    let Ok(metadata) = fs::symlink_metadata(address.path()) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(OpenError::NotASocket { path });
    }
    match Attempt::to(address) {
        Ok(Attempt::Connected(_) | Attempt::Crowded) => Err(OpenError::Busy { path }),
        Ok(Attempt::NobodyThere) => match fs::remove_file(address.path()) {
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(OpenError::NotAllowed { path, source })
            }
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(OpenError::System { path, doing: "removing the dead socket", source })
            }
            _ => Ok(()),
        },
        Err(Errno::ACCESS | Errno::PERM) => {
            Err(OpenError::NotAllowed { path, source: io::ErrorKind::PermissionDenied.into() })
        }
        Err(Errno::PROTOTYPE) => Err(OpenError::NotASocket { path }),
        Err(error) => Err(OpenError::System { path, doing: "probing the socket", source: error.into() }),
    }
}

/// What a try to connect came to.
#[derive(Debug)]
pub(crate) enum Attempt {
    Connected(OwnedFd),
    /// No socket, or one that nobody serves.
    NobodyThere,
    /// The writer has more knocks to answer than the kernel keeps.
    Crowded,
}

impl Attempt {
    pub fn to(address: &ChannelAddress) -> Result<Self, Errno> {
        let socket = new_socket()?;
        let name = SocketAddrUnix::new(address.path())?;
        match connect(&socket, &name) {
            Ok(()) => Ok(Self::Connected(socket)),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(Self::NobodyThere),
            Err(Errno::AGAIN) => Ok(Self::Crowded),
            Err(error) => Err(error),
        }
    }
}

/// Watches a folder for a socket that appears or begins to answer. Readable when it is worth another try.
pub(crate) struct Watch {
    inotify: OwnedFd,
    name: PathBuf,
}

impl Watch {
    pub fn new(address: &ChannelAddress) -> io::Result<Self> {
        use inotify::WatchFlags as On;
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events = On::CREATE | On::MOVED_TO | On::ATTRIB | On::DELETE_SELF | On::MOVE_SELF | On::ONLYDIR;
        inotify::add_watch(&inotify, address.folder(), events)?;
        Ok(Self { inotify, name: address.path().file_name().map(PathBuf::from).unwrap_or_default() })
    }

    /// Reads what has happened: is it about our socket, or has the folder itself gone (None)?
    pub fn happened(&self) -> Option<bool> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        let mut ours = false;
        while let Ok(event) = reader.next() {
            use inotify::ReadFlags as Was;
            if event.events().intersects(Was::IGNORED | Was::DELETE_SELF | Was::MOVE_SELF) {
                return None;
            }
            // A queue that has overflowed has no name: look, to be sure.
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            ours |= name.is_none_or(|name| name == self.name.as_os_str());
        }
        Some(ours)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> (tempfile::TempDir, ChannelAddress) {
        let folder = tempfile::tempdir().unwrap();
        let address = ChannelAddress::socket(folder.path().join("a")).unwrap();
        (folder, address)
    }

    #[test]
    fn a_channel_has_one_writer_and_leaves_no_file() {
        let (_folder, address) = address();
        let first = Listener::open(&address).unwrap();
        assert!(matches!(Listener::open(&address), Err(OpenError::Busy { .. })));
        drop(first);
        assert!(!address.path().exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_other_files_are_not() {
        let (_folder, address) = address();
        let dead = new_socket().unwrap();
        bind(&dead, &SocketAddrUnix::new(address.path()).unwrap()).unwrap();
        drop(dead);
        drop(Listener::open(&address).unwrap());
        fs::write(address.path(), "precious").unwrap();
        assert!(matches!(Listener::open(&address), Err(OpenError::NotASocket { .. })));
        assert_eq!(fs::read(address.path()).unwrap(), b"precious");
    }

    #[test]
    fn the_place_of_a_successor_is_left_alone() {
        let (_folder, address) = address();
        let first = Listener::open(&address).unwrap();
        fs::remove_file(address.path()).unwrap();
        let _second = Listener::open(&address).unwrap();
        drop(first);
        assert!(address.path().exists());
    }

    #[test]
    fn a_watch_tells_when_a_writer_begins_to_answer() {
        let (folder, address) = address();
        let watch = Watch::new(&address).unwrap();
        fs::write(folder.path().join("other"), "").unwrap();
        assert_eq!(watch.happened(), Some(false));
        let listener = Listener::open(&address).unwrap();
        assert_eq!(watch.happened(), Some(true));
        assert!(matches!(Attempt::to(&address), Ok(Attempt::Connected(_))));
        drop(listener);
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(watch.happened(), None);
    }
}
