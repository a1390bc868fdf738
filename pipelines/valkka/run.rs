//! A run, from the first check to the last process that has ended.
//!
//! ```text
//! check what is installed ─► listen ─► make the runtime folder ─► start processes ─► serve
//!                                                                                      │ Ctrl-C, SIGTERM, SIGHUP
//!                remove the folder ◄─ stop captures ◄─ stop web processes, analyser ◄──┘
//! ```

use std::{ffi::OsString, future::pending, io::Write as _, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpListener,
    process::Command,
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::{
    camera::{Camera, Source},
    cli,
    desk::Desk,
    mask,
    process::{Kind, LineReader, Spec, spawner::Spawner},
    requirements::{self, GST_LAUNCH},
    runtime_dir::{self, RuntimeDir},
    status::Board,
    supervisor::Supervisor,
    template::{self, Analysis},
    watch::watch,
    web::{
        self,
        access::{Access, Token},
    },
};

const ANALYSER: &str = "valkka-analyse";

/// `valkka run`.
pub async fn run(options: cli::Run, cameras: Vec<Camera>) -> Result<()> {
    for camera in &cameras {
        if matches!(&camera.source, Source::Rtsp(uri) if mask::has_password(uri)) {
            warn!(
                "{}: the password in its URI stands in argument lists, where every user of this machine can read it",
                camera.name
            );
        }
    }
    let elements = cameras.iter().flat_map(|camera| template::for_camera(camera).elements());
    let elements: Vec<_> = elements.chain(template::WEB.elements()).collect();
    requirements::check(&elements).await?;
    let analysis = Analysis { width: options.analysis.width, fps: options.analysis.fps };
    let latency_ms = options.latency;
    Session::open(options.page).await?.live(async move |session| session.start(&cameras, latency_ms, analysis)).await
}

/// Everything that exists only while cameras run.
pub struct Session {
    pub runtime: RuntimeDir,
    pub board: Arc<Board>,
    supervisor: Supervisor,
    signals: Signals,
    page: cli::Page,
    address: SocketAddr,
    ending: watch::Sender<bool>,
    serving: JoinSet<()>,
}

impl Session {
    /// Takes the port and the folder; starts no process yet.
    pub async fn open(page: cli::Page) -> Result<Self> {
        let signals = Signals::new().context("signals cannot be received")?;
        let (access, tls) = access(&page)?;
        let listener = listen(page.listen).await?;
        let address = listener.local_addr().context("the listening socket has no address")?;
        let runtime = RuntimeDir::new()?;
        let board = Arc::new(Board::default());
        let spawner = Spawner::new(Handle::current()).context("no thread can be started")?;
        let photographer = web::Photographer::new(spawner.clone(), runtime.path().to_owned());
        let supervisor = Supervisor::new(spawner, board.clone());
        let ending = watch::Sender::new(false);
        let control = Arc::new(Desk::new(board.clone(), supervisor.restarter()));
        let app = web::App::new(board.clone(), control, photographer, web_socket_of(&runtime), ending.subscribe());
        let path = runtime.path().join(web::CONTROL_SOCKET);
        let socket =
            web::server::ControlSocket::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        let mut serving = JoinSet::new();
        let socket = web::server::Entrance::Socket(socket);
        serving.spawn(web::server::serve(socket, web::on_socket(app.clone()), ending.subscribe()));
        let port = web::server::Entrance::Port(listener, tls);
        serving.spawn(web::server::serve(port, web::on_port(app, access), ending.subscribe()));
        Ok(Self { runtime, board, supervisor, signals, page, address, ending, serving })
    }

    /// Starts processes by `start`, says where the page is, and lives until it is told to end. Stops everything in
    /// the end, also if something has failed.
    pub async fn live(mut self, start: impl AsyncFnOnce(&mut Session) -> Result<()>) -> Result<()> {
        // Taken out, so that `start` and the wait for a signal do not both need the session.
        let mut signals = std::mem::replace(&mut self.signals, Signals::new()?);
        let outcome = tokio::select! {
            started = start(&mut self) => match started {
                Ok(()) => self.wait_for_the_end(&mut signals).await,
                Err(error) => Err(error),
            },
            () = signals.next() => Ok(()),
        };
        self.stop(signals).await;
        outcome
    }

    async fn wait_for_the_end(&mut self, signals: &mut Signals) -> Result<()> {
        // Whoever reads this may have closed its end: no reason to stop.
        let folder = self.runtime.path().display();
        let _ = writeln!(std::io::stdout(), "Channels are in {folder}\nValkka is at {}", self.url());
        if !self.address.ip().is_loopback() && self.page.token_file.is_none() {
            warn!("{} is not this machine alone: everybody who can reach it sees the cameras", self.address);
        }
        if self.page.open {
            open_in_browser(self.url());
        }
        let restart = |name: &str, reason| self.supervisor.restart(name, reason);
        tokio::select! {
            () = signals.next() => Ok(()),
            () = watch(self.board.clone(), web_socket_of(&self.runtime), restart) => Ok(()),
            ended = self.serving.join_next() => bail!("the web server has failed: {ended:?}"),
        }
    }

    fn url(&self) -> String {
        let scheme = if self.page.tls_certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }

    /// Starts the processes of these cameras, and the analyser that looks at all of them.
    pub fn start(&mut self, cameras: &[Camera], latency_ms: u32, analysis: Analysis) -> Result<()> {
        for camera in cameras {
            self.board.add_camera(camera);
            let socket = self.runtime.web_socket(&camera.name);
            let socket = socket.to_str().context("the runtime folder's path is not UTF-8")?;
            let capture = template::capture(camera, latency_ms, analysis)?;
            let web = template::web(&camera.name, socket)?;
            for (kind, name, description) in [(Kind::Capture, "capture", capture), (Kind::Web, "web", web)] {
                let args = std::iter::once("--no-position".to_owned()).chain(description).collect();
                self.start_process(Spec {
                    name: format!("{}.{name}", camera.name),
                    camera: Some(camera.name.clone()),
                    kind,
                    program: GST_LAUNCH.into(),
                    args,
                    env: Vec::new(),
                    on_line: None,
                    may_end: kind == Kind::Capture && matches!(camera.source, Source::File(_)),
                });
            }
        }
        let Some(program) = requirements::find_beside_or_in_path(ANALYSER) else {
            warn!("{ANALYSER} is neither beside valkka nor in PATH: the cameras are shown, but not analysed");
            return Ok(());
        };
        let channels = cameras.iter().flat_map(|camera| ["--channel".to_owned(), format!("{}.rgb", camera.name)]);
        let board = self.board.clone();
        let on_line: LineReader = Arc::new(move |line| board.analysed(line));
        self.start_process(Spec {
            name: "analyse".into(),
            camera: None,
            kind: Kind::Analyse,
            program,
            args: channels.collect(),
            env: Vec::new(),
            on_line: Some(on_line),
            may_end: false,
        });
        Ok(())
    }

    /// Starts a process that lives in this run's folder.
    pub fn start_process(&mut self, mut spec: Spec) {
        spec.env.push(("VALKKA_RUNTIME_DIR", OsString::from(self.runtime.path())));
        self.supervisor.start(spec);
    }

    /// Goes on when a process says what `understand` makes something of; fails if it ends before.
    pub async fn start_and_hear<T: Send + 'static>(
        &mut self,
        mut spec: Spec,
        understand: impl Fn(&str) -> Option<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let (said, mut heard) = mpsc::unbounded_channel();
        spec.on_line = Some(Arc::new(move |line| understand(line).is_some_and(|what| said.send(what).is_ok())));
        let name = spec.name.clone();
        let mut events = self.board.events();
        self.start_process(spec);
        loop {
            tokio::select! {
                what = heard.recv() => return what.context("the process is kept for the whole run"),
                // Whatever has happened: perhaps it was this process that failed.
                _ = events.recv() => if let Some(reason) = self.board.failure_of(&name) { bail!("{name}: {reason}") },
            }
        }
    }

    async fn stop(self, mut signals: Signals) {
        debug!("stopping");
        let hurry = self.supervisor.hurry();
        let impatient = async {
            signals.next().await;
            hurry();
            pending::<()>().await;
        };
        tokio::select! {
            () = self.supervisor.stop() => {}
            () = impatient => {}
        }
        self.ending.send_replace(true);
        // An answer that takes longer than this is not waited for.
        let _ = timeout(Duration::from_secs(2), self.serving.join_all()).await;
    }
}

fn web_socket_of(runtime: &RuntimeDir) -> Arc<dyn Fn(&str) -> PathBuf + Send + Sync> {
    let folder = runtime.path().to_owned();
    Arc::new(move |camera| runtime_dir::web_socket(&folder, camera))
}

/// Who may use the port, and how it is encrypted.
fn access(page: &cli::Page) -> Result<(Access, Option<TlsAcceptor>)> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| format!("token file {}", path.display()))?;
        Token::new(text.trim()).with_context(|| format!("token file {}", path.display()))
    };
    let token = page.token_file.as_ref().map(read).transpose()?;
    let pair = page.tls_certificate.as_ref().zip(page.tls_key.as_ref());
    let tls = pair.map(|(certificate, key)| web::tls::acceptor(certificate, key)).transpose()?;
    Ok((Access { token, allowed_origins: page.allow_origin.clone(), secure: tls.is_some() }, tls))
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => ": another program uses this port. Take another one by --listen",
            std::io::ErrorKind::PermissionDenied => ": ports below 1024 are for root. Take another one by --listen",
            _ => "",
        };
        anyhow::anyhow!("cannot listen on {address}: {error}{advice}")
    })
}

/// The desktop's own opener; that there is none is no reason to fail.
fn open_in_browser(page: String) {
    tokio::spawn(async move {
        if let Err(error) = Command::new("xdg-open").arg(&page).kill_on_drop(false).status().await {
            warn!("the browser cannot be opened: xdg-open: {error}");
        }
    });
}

/// What a user or the system sends to end a program.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let of = |kind| signal(kind);
        Ok(Self([of(SignalKind::interrupt())?, of(SignalKind::terminate())?, of(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
