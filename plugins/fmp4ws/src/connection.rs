//! Connections of a listener: accepted, perhaps encrypted, and then HTTP/1.1 until the end or a WebSocket.
//!
//! A client that is slow, silent or loud costs its own connection and nothing else: see [`crate::wire`] for its bytes,
//! [`crate::lobby`] for how many there are. Here are the limits of its requests.

use crate::lobby::{Guest, Lobby};
use crate::wire::Wire;
use axum::Router;
use axum::serve::Listener;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// A request's head comes within this time, counted from the connection or from the end of the previous request.
const HEAD: Duration = Duration::from_secs(10);
/// It is no larger than this; hyper keeps no more than this unsent either.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// An encrypted connection is agreed upon within this time.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection keeps no more than this unsent in the kernel: what waits, waits in the viewer's queue, where it can be dropped.
const UNSENT_BYTES: u32 = 128 << 10;

/// What was sent is acknowledged within this time, or the other end is gone; without anything to send, it is asked this often.
const UNANSWERED: Duration = Duration::from_secs(30);

/// TCP or a Unix socket.
pub trait Listening: Listener<Io: Sync> {
    /// Sets up a connection, and says where it comes from.
    fn welcome(connection: &Self::Io, address: &Self::Addr) -> String;
}

impl Listening for TcpListener {
    fn welcome(connection: &TcpStream, address: &SocketAddr) -> String {
        let socket = SockRef::from(connection);
        // What fails here makes a connection slower to react, not wrong.
        let _ = connection.set_nodelay(true);
        let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
        let _ = socket.set_tcp_user_timeout(Some(UNANSWERED));
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNANSWERED).with_interval(UNANSWERED / 3));
        address.to_string()
    }
}

impl Listening for UnixListener {
    fn welcome(connection: &UnixStream, _: &Self::Addr) -> String {
        match connection.peer_cred().ok().and_then(|peer| peer.pid()) {
            Some(process) => format!("process {process}"),
            None => "a process".into(),
        }
    }
}

/// Accepts until told to stop. Then what is being answered ends in order, and the address is free.
pub async fn accept<L: Listening>(
    mut listener: L,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut stopped: watch::Receiver<()>,
) {
    let lobby = Arc::new(Lobby::default());
    loop {
        // Out of descriptors, it waits a second and tries again.
        let (connection, address) = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let guest = lobby.enter(L::welcome(&connection, &address));
        let wire = Wire::new(connection);
        let (tls, router, stopped) = (tls.clone(), router.clone(), stopped.clone());
        tokio::spawn(async move {
            let dismissed = guest.clone();
            tokio::select! {
                () = welcome(wire, tls, router, guest, stopped) => {}
                () = dismissed.dismissed() => {}
            }
        });
    }
}

async fn welcome(
    wire: Wire<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    tls: Option<TlsAcceptor>,
    router: Router,
    guest: Arc<Guest>,
    stopped: watch::Receiver<()>,
) {
    match tls {
        None => serve(wire, router, guest, stopped).await,
        Some(tls) => {
            if let Ok(Ok(wire)) = timeout(HANDSHAKE, tls.accept(wire)).await {
                serve(wire, router, guest, stopped).await;
            }
        }
    }
}

async fn serve(
    wire: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    guest: Arc<Guest>,
    mut stopped: watch::Receiver<()>,
) {
    let service = Guided { router: TowerToHyperService::new(router), guest };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(wire), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        // What went wrong is the client's to know.
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The routes, which find the [`Guest`] in each request.
struct Guided {
    router: TowerToHyperService<Router>,
    guest: Arc<Guest>,
}

impl Service<Request<Incoming>> for Guided {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.guest.clone());
        self.router.call(request)
    }
}
