//! The listeners of this process: one for each address, shared by all elements that name it.
//!
//! An element [opens](open) its stream at an address and holds the [`Place`]; the first one binds, the last one to leave
//! closes. Encryption, token and allowed origins belong to the listener: elements that share it must agree about them, because
//! page, player and figures are everybody's. One worker thread serves them all: it only moves bytes.

use crate::access::{Access, Origins};
use crate::connection::{self, Listening};
use crate::directory::Directory;
use crate::routes;
use crate::socket::{self, SocketFile};
use crate::stream::Stream;
use crate::tls;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().worker_threads(1).thread_name("fmp4ws").build().expect("a thread can be started")
});

static SERVERS: Mutex<Option<HashMap<Address, Server>>> = Mutex::new(None);

/// A listener that was told to stop is closed within this time.
const CLOSING: Duration = Duration::from_secs(2);

/// Where and how to listen, as the user says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub place: WishedPlace,
    pub policy: Policy,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WishedPlace {
    /// Port 0 for any free one.
    Tcp { host: String, port: u16 },
    /// A Unix socket.
    Unix(PathBuf),
}

/// What holds for all streams of a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Encrypted, as this server.
    pub tls: Option<tls::Identity>,
    /// What everybody must know.
    pub token: Option<String>,
    /// Pages of other sites that may connect.
    pub origins: Origins,
}

impl Policy {
    /// The properties in which two elements differ.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        if self.tls != other.tls {
            Some("tls-certificate and tls-key")
        } else if self.token != other.token {
            Some("token")
        } else if self.origins != other.origins {
            Some("allowed-origins")
        } else {
            None
        }
    }
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
            Self::Tcp(address) => write!(f, "{address}"),
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
    Bind { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Socket(#[from] socket::Error),
    #[error(transparent)]
    Tls(#[from] tls::Error),
    #[error("a stream '{name}' is served at {address} already. Give each fmp4wssink a stream-name of its own")]
    NameTaken { name: String, address: Address },
    #[error(
        "another fmp4wssink listens on {address} with other {properties}. Those that share a listener share these too: set \
         them alike, or choose another port"
    )]
    Disagree { address: Address, properties: &'static str },
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
    // Before the lock: a name may take its time to be found.
    let candidates = candidates(&wish.place)?;
    let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let servers = servers.get_or_insert_default();
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
    if let Some(properties) = server.policy.difference(&wish.policy) {
        return Err(Error::Disagree { address, properties });
    }
    if !server.directory.add(stream.clone()) {
        return Err(Error::NameTaken { name: stream.name().into(), address });
    }
    Ok(Place { address, stream })
}

fn candidates(place: &WishedPlace) -> Result<Vec<Address>, Error> {
    match place {
        WishedPlace::Unix(path) => {
            let failed = |source| socket::Error::Failed { path: path.clone(), source };
            Ok(vec![Address::Unix(std::path::absolute(path).map_err(failed)?)])
        }
        WishedPlace::Tcp { host, port } => {
            let failed = |source| Error::Host { host: host.clone(), source };
            let addresses: Vec<_> =
                (host.as_str(), *port).to_socket_addrs().map_err(failed)?.map(Address::Tcp).collect();
            if addresses.is_empty() { Err(failed(io::ErrorKind::AddrNotAvailable.into())) } else { Ok(addresses) }
        }
    }
}

/// Listens on the first candidate that can be had.
fn bind(candidates: &[Address], wish: &Wish) -> Result<(Address, Server), Error> {
    let _context = RUNTIME.enter();
    let mut refused = None;
    for candidate in candidates {
        match candidate {
            Address::Unix(path) => return Ok((candidate.clone(), Server::unix(path, &wish.policy)?)),
            Address::Tcp(address) => match listen(*address) {
                Ok((bound, listener)) => {
                    return Ok((Address::Tcp(bound), Server::start(listener, None, &wish.policy)?));
                }
                Err(source) => refused = Some(Error::Bind { address: *address, source }),
            },
        }
    }
    Err(refused.expect("there is a candidate, and it was tried"))
}

fn listen(address: SocketAddr) -> io::Result<(SocketAddr, TcpListener)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Ok((listener.local_addr()?, listener))
}

/// A listener and the streams behind it.
struct Server {
    directory: Arc<Directory>,
    policy: Policy,
    /// Dropped to stop.
    stop: watch::Sender<()>,
    /// Disconnected when the listener is closed.
    closed: mpsc::Receiver<()>,
    _file: Option<SocketFile>,
}

impl Server {
    fn unix(path: &Path, policy: &Policy) -> Result<Self, Error> {
        let failed = |source| socket::Error::Failed { path: path.into(), source };
        let (listener, file) = socket::bind(path)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        Self::start(listener, Some(file), policy)
    }

    fn start(listener: impl Listening, file: Option<SocketFile>, policy: &Policy) -> Result<Self, Error> {
        let directory = Arc::new(Directory::default());
        let told = Arc::downgrade(&directory);
        let trouble = move |words: String| {
            if let Some(stream) = told.upgrade().and_then(|directory| directory.streams().into_iter().next()) {
                stream.warn(words);
            }
        };
        let tls = policy.tls.as_ref().map(|identity| identity.acceptor(trouble)).transpose()?;
        let access = Access::new(policy.token.clone(), policy.origins.clone(), tls.is_some());
        let router = routes::router(directory.clone(), access);
        let (stop, stopped) = watch::channel(());
        let (open, closed) = mpsc::channel();
        RUNTIME.spawn(async move {
            connection::accept(listener, tls, router, stopped).await;
            drop(open);
        });
        Ok(Self { directory, policy: policy.clone(), stop, closed, _file: file })
    }

    fn close(self) {
        drop(self.stop);
        let _ = self.closed.recv_timeout(CLOSING);
    }
}
