//! The listeners of this process: one for each address, shared by all elements that name it.
//!
//! An element [opens](open) its stream at an address and holds the [`Place`]; the first one binds, the last one to leave
//! closes. One worker thread serves them all: it only moves bytes.

use crate::routes;
use crate::stream::Stream;
use axum::serve::{Listener, ListenerExt};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock, mpsc};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().worker_threads(1).thread_name("fmp4ws").build().expect("a thread can be started")
});

static SERVERS: Mutex<Option<HashMap<Address, Server>>> = Mutex::new(None);

/// A connection keeps no more than this unsent in the kernel: what waits, waits in the viewer's queue, where it can be dropped.
const UNSENT_BYTES: u32 = 128 << 10;

/// A listener that was told to stop is closed within this time.
const CLOSING: Duration = Duration::from_secs(2);

/// Where to listen, as the user says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Port 0 for any free one.
    Tcp { host: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}/"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a stream is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("host '{host}' has no address: {source}")]
    Host { host: String, source: io::Error },
    #[error("cannot listen on {address}: {source}. Choose another port, or 0 for any free one")]
    Bind { address: String, source: io::Error },
    #[error("socket-path {0} is in use by another process. Stop it, or choose another path")]
    InUse(String),
    #[error("socket-path {0} exists and is not a socket. Choose another path")]
    NotASocket(String),
    #[error("cannot listen on socket-path {path}: {source}")]
    Socket { path: String, source: io::Error },
    #[error("a stream '{name}' is served at {address} already. Give each fmp4wssink a stream-name of its own")]
    NameTaken { name: String, address: Address },
}

/// A stream's place on a server; dropping it leaves, and closes the listener when nobody else uses it.
pub struct Place {
    address: Address,
    stream: Arc<Stream>,
}

impl Place {
    /// Where it is served.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(servers) = servers.as_mut() else { return };
        let Some(server) = servers.get(&self.address) else { return };
        if server.directory.remove(self.stream.name())
            && let Some(server) = servers.remove(&self.address)
        {
            // With the lock held: whoever opens the same address next finds it free.
            server.close();
        }
    }
}

/// Serves `stream` where the user wishes, on a listener that may exist already.
pub fn open(wish: &Wish, stream: Arc<Stream>) -> Result<Place, Error> {
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let servers = servers.get_or_insert_default();
    let candidates = match wish {
        Wish::Unix(path) => {
            let path = std::path::absolute(path).map_err(|source| Error::Socket { path: shown(path), source })?;
            vec![Address::Unix(path)]
        }
        Wish::Tcp { host, port } => (host.as_str(), *port)
            .to_socket_addrs()
            .map_err(|source| Error::Host { host: host.clone(), source })?
            .map(Address::Tcp)
            .collect(),
    };
    let known = candidates.iter().find(|address| servers.contains_key(address));
    let address = match known {
        Some(address) => address.clone(),
        None => {
            let (address, server) = bind(&candidates, wish)?;
            servers.insert(address.clone(), server);
            address
        }
    };
    let server = servers.get(&address).expect("it was found or made just now");
    if !server.directory.add(stream.clone()) {
        return Err(Error::NameTaken { name: stream.name().into(), address });
    }
    Ok(Place { address, stream })
}

/// Listens on the first candidate that can be had.
fn bind(candidates: &[Address], wish: &Wish) -> Result<(Address, Server), Error> {
    let _context = RUNTIME.enter();
    let mut error = None;
    for candidate in candidates {
        match candidate {
            Address::Unix(path) => return Ok((candidate.clone(), Server::unix(path)?)),
            Address::Tcp(address) => match Server::tcp(*address) {
                Ok((bound, server)) => return Ok((Address::Tcp(bound), server)),
                Err(source) => error = Some(Error::Bind { address: address.to_string(), source }),
            },
        }
    }
    Err(error.unwrap_or_else(|| Error::Host {
        host: format!("{wish:?}"),
        source: io::Error::from(io::ErrorKind::AddrNotAvailable),
    }))
}

/// A listener and the streams behind it.
struct Server {
    directory: Arc<Directory>,
    stop: oneshot::Sender<()>,
    /// Disconnected when the listener is closed.
    closed: mpsc::Receiver<()>,
    _file: Option<SocketFile>,
}

impl Server {
    fn tcp(address: SocketAddr) -> io::Result<(SocketAddr, Self)> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let bound = listener.local_addr()?;
        Ok((bound, Self::start(listener.tap_io(hurry), None)))
    }

    fn unix(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Socket { path: shown(path), source };
        let (listener, file) = bind_unix(path)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Ok(Self::start(listener, Some(file)))
    }

    fn start<L>(listener: L, file: Option<SocketFile>) -> Self
    where
        L: Listener,
        L::Addr: std::fmt::Debug,
    {
        let directory = Arc::new(Directory::default());
        let (stop, stopped) = oneshot::channel();
        let (open, closed) = mpsc::channel();
        let router = routes::router(directory.clone());
        let serving = axum::serve(Watched { listener, _open: open }, router).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        RUNTIME.spawn(serving.into_future());
        Self { directory, stop, closed, _file: file }
    }

    fn close(self) {
        let _ = self.stop.send(());
        let _ = self.closed.recv_timeout(CLOSING);
    }
}

/// Each fragment goes out at once, and not more than needed waits in the kernel.
fn hurry(connection: &mut TcpStream) {
    let _ = connection.set_nodelay(true);
    let _ = socket2::SockRef::from(&*connection).set_tcp_notsent_lowat(UNSENT_BYTES);
}

/// A listener that lets know when it is dropped: only then is its address free again.
struct Watched<L> {
    listener: L,
    _open: mpsc::Sender<()>,
}

impl<L: Listener> Listener for Watched<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        self.listener.accept().await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// The name of a listening socket in the file system, which goes when the listener goes.
struct SocketFile {
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
fn bind_unix(path: &Path) -> Result<(std::os::unix::net::UnixListener, SocketFile), Error> {
    let failed = |source| Error::Socket { path: shown(path), source };
    // Two processes that find the same dead socket take turns.
    let folder = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
    folder.lock().map_err(failed)?;
    if let Ok(file) = std::fs::symlink_metadata(path) {
        if !file.file_type().is_socket() {
            return Err(Error::NotASocket(shown(path)));
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(Error::InUse(shown(path))),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        }
    }
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
    let file = SocketFile { path: path.into(), inode: inode(path) };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok((listener, file))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The streams of one server, by name.
#[derive(Default)]
pub struct Directory(RwLock<BTreeMap<String, Arc<Stream>>>);

/// What to tell a viewer that asks for a stream that is not there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("stream not found: {0}")]
    Name(String),
    #[error("there are several streams: choose one with ?src=NAME")]
    Unnamed,
}

impl Directory {
    /// The stream of that name; without a name the only one.
    pub fn find(&self, name: Option<&str>) -> Result<Arc<Stream>, Unknown> {
        let streams = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) => streams.get(name).cloned().ok_or_else(|| Unknown::Name(name.into())),
            None if streams.len() == 1 => Ok(streams.values().next().expect("there is one").clone()),
            None => Err(Unknown::Unnamed),
        }
    }

    /// All of them.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether the name was free.
    fn add(&self, stream: Arc<Stream>) -> bool {
        let mut streams = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if streams.contains_key(stream.name()) {
            return false;
        }
        streams.insert(stream.name().into(), stream);
        true
    }

    /// Whether it was the last one.
    fn remove(&self, name: &str) -> bool {
        let mut streams = self.0.write().unwrap_or_else(PoisonError::into_inner);
        streams.remove(name);
        streams.is_empty()
    }
}
