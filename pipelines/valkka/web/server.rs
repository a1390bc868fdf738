//! Listening and answering: a TCP port with or without TLS, and a Unix socket for the command line.
//!
//! A client that says nothing, or half of something, costs its own connection, for a limited time, and nobody else's.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::events::ended;

/// Connections at once that have not become WebSockets. A browser takes six.
const CONNECTIONS: usize = 512;
/// A TLS handshake, and a request's head, take no longer than this.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A request's head is no longer than this.
const HEAD_BYTES: usize = 32 * 1024;
/// A client that takes nothing for so long, or is not there any more, is hung up on; a silent one is asked this often.
const UNANSWERED: Duration = Duration::from_secs(30);
/// At the end an answer that takes longer than this is not waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where clients come in.
pub enum Entrance {
    Port(TcpListener, Option<TlsAcceptor>),
    Socket(ControlSocket),
}

/// The command line's way in: a Unix socket of this user alone, gone with its owner.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens at `path`, in a folder that is this user's alone. Takes the place of a dead predecessor.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let socket = Self { listener, path: path.to_owned() };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // The folder may be gone already.
        let _ = fs::remove_file(&self.path);
    }
}

enum Accepted {
    Tcp(TcpStream, Option<TlsAcceptor>),
    Unix(UnixStream),
}

impl Entrance {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Port(listener, tls) => {
                let (stream, _) = listener.accept().await?;
                let socket = SockRef::from(&stream);
                // What fails here makes a connection slower to react, not wrong. A fragment of video goes out when it is
                // there, not when the next one has come.
                let _ = socket.set_tcp_nodelay(true);
                let _ = socket.set_tcp_user_timeout(Some(UNANSWERED));
                let _ =
                    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNANSWERED).with_interval(UNANSWERED / 3));
                Ok(Accepted::Tcp(stream, tls.clone()))
            }
            Self::Socket(socket) => loop {
                let (stream, _) = socket.listener.accept().await?;
                let user = nix::unistd::geteuid().as_raw();
                if stream.peer_cred().is_ok_and(|peer| peer.uid() == user || peer.uid() == 0) {
                    return Ok(Accepted::Unix(stream));
                }
            },
        }
    }
}

/// Answers until `ending` turns true, and a moment longer for those who are being answered.
pub async fn serve(entrance: Entrance, routes: Router, ending: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut end = pin!(ended(ending.clone()));
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = next(&entrance, &places) => match accepted {
                Ok(stream) => {
                    connections.spawn(connection(stream, routes.clone(), ending.clone(), place));
                }
                // It was there, and went away before its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of descriptors, most likely: they come back when connections end.
                Err(error) => {
                    debug!("a connection cannot be taken: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    let farewell = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(FAREWELL, farewell).await;
}

async fn next(entrance: &Entrance, places: &Arc<Semaphore>) -> (OwnedSemaphorePermit, io::Result<Accepted>) {
    let place = places.clone().acquire_owned().await.expect("nobody closes this semaphore");
    (place, entrance.accept().await)
}

async fn connection(accepted: Accepted, routes: Router, ending: watch::Receiver<bool>, _place: OwnedSemaphorePermit) {
    match accepted {
        Accepted::Unix(stream) => answer(stream, routes, ending).await,
        Accepted::Tcp(stream, None) => answer(stream, routes, ending).await,
        Accepted::Tcp(stream, Some(tls)) => match timeout(HANDSHAKE_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => answer(stream, routes, ending).await,
            Ok(Err(error)) => debug!("a client does not speak TLS: {error}"),
            Err(_) => debug!("a client did not finish its TLS handshake within {HANDSHAKE_LIMIT:?}"),
        },
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    ending: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_LIMIT).max_buf_size(HEAD_BYTES);
    let service = TowerToHyperService::new(routes);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = ended(ending) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        debug!("a connection ended early: {error}");
    }
}
