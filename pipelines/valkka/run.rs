//! A run, from the first check to the last process that has ended.
//!
//! ```text
//! check what is installed ─► listen ─► make the runtime folder ─► start processes ─► serve
//!                                                                                      │ Ctrl-C, SIGTERM
//!                remove the folder ◄─ stop captures ◄─ stop web processes, analyser ◄──┘
//! ```

use std::{
    future::pending,
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    process::Command,
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Mutex, mpsc, watch},
    task::{JoinSet, spawn_blocking},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

use crate::{
    camera::Source,
    config::{self, Config, Runner},
    crew::{Configured, Crew},
    demand,
    desk::{Desk, Restart},
    mask,
    plan::Plan,
    process::{Spec, spawner::Spawner},
    recording, requirements,
    runtime_dir::{self, RuntimeDir},
    status::Board,
    supervisor::{Reach, Supervisor},
    watch::watch,
    web::{
        self,
        access::{Access, Token},
        control::Control,
        tls::Identity,
    },
};

/// `valkka run`.
pub async fn run(config: Config, open: bool) -> Result<()> {
    // Ours when it was typed, gst-launch's when that runs; our own runner gets its description in another way.
    let shown = config.file.is_none() || config.runner == Runner::GstLaunch;
    for camera in config.cameras.iter().filter(|_| shown) {
        if matches!(&camera.source, Source::Rtsp(uri) if mask::has_password(uri)) {
            warn!(
                "{}: the password in its URI stands in argument lists, where every user of this machine can read it",
                camera.name
            );
        }
    }
    raise_descriptors();
    // Before anything is listened on: what is missing is told first.
    let plan = Plan::new(&config, &std::env::temp_dir())?;
    requirements::check(&plan.elements().into_iter().collect::<Vec<_>>()).await?;
    let session = Session::open(&config.server, open).await?;
    session.live(async move |session| session.start(config).await).await
}

/// As many descriptors as hundreds of cameras need, here and in all processes, if this user may have so many: the usual
/// 1024 are a few dozen cameras.
fn raise_descriptors() {
    const ENOUGH: u64 = 65_536;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(ENOUGH)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard)
    {
        debug!("the limit of descriptors stays at {soft}: {error}");
    }
}

/// Everything that exists only while cameras run.
pub struct Session {
    pub runtime: RuntimeDir,
    pub board: Arc<Board>,
    crew: Arc<Mutex<Crew>>,
    desk: Arc<Desk>,
    reach: Reach,
    hurry: Box<dyn Fn() + Send + Sync>,
    restart: Restart,
    signals: Signals,
    open: bool,
    guarded: bool,
    url: String,
    address: SocketAddr,
    ending: watch::Sender<bool>,
    serving: JoinSet<()>,
}

impl Session {
    /// Takes the port and the folder; starts no process yet.
    pub async fn open(server: &config::Server, open: bool) -> Result<Self> {
        let signals = Signals::new().context("signals cannot be received")?;
        let (access, tls) = access(server)?;
        let listener = listen(server.listen).await?;
        let address = listener.local_addr().context("the listening socket has no address")?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let runtime = RuntimeDir::new()?;
        let board = Arc::new(Board::default());
        let spawner = Spawner::new(Handle::current()).context("no thread can be started")?;
        let photographer = web::Photographer::new(spawner.clone(), runtime.path().to_owned());
        let supervisor = Supervisor::new(spawner, board.clone());
        let (hurry, restart) = (Box::new(supervisor.hurry()), Box::new(supervisor.restarter()));
        let reach = supervisor.reach();
        let configured = Configured::default();
        let crew = Crew::new(board.clone(), supervisor, runtime.path().to_owned(), configured.clone());
        let crew = Arc::new(Mutex::new(crew));
        let folder = runtime.path().to_owned();
        let desk = Arc::new(Desk::new(board.clone(), crew.clone(), configured, reach.clone(), folder));
        let ending = watch::Sender::new(false);
        let app = web::App::new(board.clone(), desk.clone(), photographer, web_socket_of(&runtime), ending.subscribe());
        let path = runtime.path().join(web::CONTROL_SOCKET);
        let socket =
            web::server::ControlSocket::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        let mut serving = JoinSet::new();
        serving.spawn(web::usage::measure(board.clone(), ending.subscribe()));
        let socket = web::server::Entrance::Socket(socket);
        serving.spawn(web::server::serve(socket, web::on_socket(app.clone()), ending.subscribe()));
        let port = web::server::Entrance::Port(listener, tls);
        serving.spawn(web::server::serve(port, web::on_port(app, access), ending.subscribe()));
        let (guarded, url) = (server.token.is_some(), format!("{scheme}://{address}/"));
        Ok(Self {
            runtime,
            board,
            crew,
            desk,
            reach,
            hurry,
            restart,
            signals,
            open,
            guarded,
            url,
            address,
            ending,
            serving,
        })
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
            () = signals.end() => Ok(()),
        };
        self.stop(signals).await;
        outcome
    }

    async fn wait_for_the_end(&mut self, signals: &mut Signals) -> Result<()> {
        // Whoever reads this may have closed its end: no reason to stop.
        let folder = self.runtime.path().display();
        let _ = writeln!(std::io::stdout(), "Channels are in {folder}\nValkka is at {}", self.url);
        if !self.address.ip().is_loopback() && !self.guarded {
            warn!("{} is not this machine alone: everybody who can reach it sees the cameras", self.address);
        }
        if self.open {
            open_in_browser(self.url.clone());
        }
        let restart = |name: &str, reason| {
            (self.restart)(name, reason);
        };
        let (end, reload) = signals.both();
        tokio::select! {
            () = end => Ok(()),
            () = reload_at(reload, &self.desk) => Ok(()),
            () = prune_recordings(&self.crew) => Ok(()),
            () = demand::attend(self.board.clone(), self.reach.clone()) => Ok(()),
            () = watch(self.board.clone(), web_socket_of(&self.runtime), restart) => Ok(()),
            ended = self.serving.join_next() => bail!("the web server has failed: {ended:?}"),
        }
    }

    /// Starts what the configuration says.
    pub async fn start(&mut self, config: Config) -> Result<()> {
        self.crew.lock().await.become_what(config).await.map(drop)
    }

    /// Starts a process, and goes on when it says what `understand` makes something of; fails if it ends before.
    pub async fn start_and_hear<T: Send + 'static>(
        &mut self,
        mut spec: Spec,
        understand: impl Fn(&str) -> Option<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let (said, mut heard) = mpsc::unbounded_channel();
        spec.on_line = Some(Arc::new(move |line| understand(line).is_some_and(|what| said.send(what).is_ok())));
        let name = spec.name.clone();
        let mut events = self.board.events();
        self.crew.lock().await.start(spec);
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
        let impatient = async {
            signals.end().await;
            (self.hurry)();
            pending::<()>().await;
        };
        tokio::select! {
            () = async { self.crew.lock().await.stop().await } => {}
            () = impatient => {}
        }
        self.ending.send_replace(true);
        // An answer that takes longer than this is not waited for.
        let _ = timeout(Duration::from_secs(2), self.serving.join_all()).await;
    }
}

/// Removes old recordings, for ever.
async fn prune_recordings(crew: &Mutex<Crew>) {
    let mut turns = interval(recording::PERIOD);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let config = crew.lock().await.config.clone();
        // A disk may take its time.
        let _ = spawn_blocking(move || recording::prune(&config, SystemTime::now())).await;
    }
}

/// Reads the configuration again at each SIGHUP. A run without a file ends by it, as programs do.
async fn reload_at(hangup: &mut Signal, desk: &Desk) {
    while hangup.recv().await.is_some() {
        if !desk.has_file().await {
            return;
        }
        match desk.reload().await {
            Ok(changes) => {
                let names = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let (added, removed) = (names(&changes.added), names(&changes.removed));
                info!("read again: added {added}; removed {removed}; changed {}", names(&changes.changed));
                if !changes.next_start.is_empty() {
                    warn!("holds from the next start on: {}", changes.next_start.join(", "));
                }
            }
            Err(refusal) => error!("everything stays as it was: {refusal}"),
        }
    }
}

fn web_socket_of(runtime: &RuntimeDir) -> Arc<dyn Fn(&str) -> PathBuf + Send + Sync> {
    let folder = runtime.path().to_owned();
    Arc::new(move |camera| runtime_dir::web_socket(&folder, camera))
}

/// Who may use the port, and how it is encrypted.
fn access(server: &config::Server) -> Result<(Access, Option<TlsAcceptor>)> {
    let token = server.token.as_ref().map(|token| Token::new(token.reveal())).transpose()?;
    let identity = server.tls.clone().map(|config::Tls { certificate, key }| Identity { certificate, key });
    let tls = identity.map(|identity| identity.acceptor(|trouble| warn!("{trouble}"))).transpose()?;
    let allowed_origins = server.allowed_origins.clone();
    Ok((Access { token, allowed_origins, secure: tls.is_some(), private: false }, tls))
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

/// What a user or the system sends: two to end, one to read the configuration again.
struct Signals {
    ends: [Signal; 2],
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let ends = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
        Ok(Self { ends, hangup: signal(SignalKind::hangup())? })
    }

    async fn end(&mut self) {
        either(&mut self.ends).await;
    }

    /// The end, and the signal to read again, for whoever waits for both.
    fn both(&mut self) -> (impl Future<Output = ()>, &mut Signal) {
        (either(&mut self.ends), &mut self.hangup)
    }
}

async fn either([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
