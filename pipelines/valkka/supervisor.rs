//! All processes of the orchestrator: starts them, passes orders on, stops them in the right order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use valkka_command::{CallError, asynchronous::Frontend};

use crate::{
    mask::mask,
    process::{Afterwards, Keeper, Kind, Order, Spec, cgroup::Groups, spawner::Spawner},
    status::Board,
};

/// Owns a task for each process. [`Supervisor::stop_all`] them: dropping it kills at once.
#[derive(Debug)]
pub struct Supervisor {
    spawner: Spawner,
    board: Arc<Board>,
    hurry: watch::Sender<bool>,
    kept: BTreeMap<String, Kept>,
    reach: Reach,
    groups: Arc<Groups>,
}

/// Has something done by processes, for those who are not the supervisor's owner. Clones are equal.
#[derive(Clone, Debug, Default)]
pub struct Reach(Arc<Mutex<BTreeMap<String, Ends>>>);

/// How a process is reached.
#[derive(Clone, Debug)]
struct Ends {
    orders: mpsc::Sender<Order>,
    takes_commands: bool,
    frontend: watch::Receiver<Option<Frontend>>,
}

/// Why a command was not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    #[error("there is no process {0:?}: `valkka status` lists them")]
    Unknown(String),
    #[error("{0} does not run at the moment, or takes no commands")]
    NotNow(String),
    #[error("{0}: {1}")]
    Failed(String, CallError),
}

impl Reach {
    /// Has a process stopped and started anew, also one that was given up. `false` if there is no such process.
    pub fn restart(&self, name: &str, reason: String) -> bool {
        self.order(name, Order::Restart(reason))
    }

    /// Has a process stopped until it is woken. `false` if there is no such process.
    pub fn rest(&self, name: &str) -> bool {
        self.order(name, Order::Rest)
    }

    /// Has a process started that rests. `false` if there is no such process.
    pub fn wake(&self, name: &str) -> bool {
        self.order(name, Order::Wake)
    }

    /// Calls a command of a process. Its answer holds no credentials.
    pub async fn call(&self, name: &str, command: &str, params: &Value, limit: Duration) -> Result<Value, Unreached> {
        let ends = self.ends(name).ok_or_else(|| Unreached::Unknown(name.to_owned()))?;
        let frontend = ends.frontend.borrow().clone().ok_or_else(|| Unreached::NotNow(name.to_owned()))?;
        let mut answer = frontend.call_as(command, params, limit).await.map_err(|error| {
            let masked = match error {
                CallError::Refused(why) => CallError::Refused(mask(&why)),
                other => other,
            };
            Unreached::Failed(name.to_owned(), masked)
        })?;
        mask_all(&mut answer);
        Ok(answer)
    }

    /// Waits until a process can be called; not for one that never can.
    pub async fn answers(&self, name: &str) -> bool {
        let Some(mut ends) = self.ends(name) else { return false };
        !ends.takes_commands || ends.frontend.wait_for(Option::is_some).await.is_ok()
    }

    fn order(&self, name: &str, order: Order) -> bool {
        // Who has orders enough already is under way to one of them.
        self.ends(name).is_some_and(|ends| ends.orders.try_send(order).is_ok() || !ends.orders.is_closed())
    }

    fn ends(&self, name: &str) -> Option<Ends> {
        self.lock().get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Ends>> {
        self.0.lock().expect("nothing panics under this lock")
    }
}

/// Takes the credentials out of every text in a value.
fn mask_all(value: &mut Value) {
    match value {
        Value::String(text) => *text = mask(text),
        Value::Array(values) => values.iter_mut().for_each(mask_all),
        Value::Object(fields) => fields.values_mut().for_each(mask_all),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[derive(Debug)]
struct Kept {
    kind: Kind,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Supervisor {
    pub fn new(spawner: Spawner, board: Arc<Board>) -> Self {
        let (hurry, kept) = (watch::Sender::new(false), BTreeMap::new());
        Self { spawner, board, hurry, kept, reach: Reach::default(), groups: Arc::default() }
    }

    /// Starts a process, and from now on keeps it running.
    pub fn start(&mut self, spec: Spec) {
        let (orders, received) = mpsc::channel(4);
        let (frontend, reached) = watch::channel(None);
        let (name, kind, takes_commands) = (spec.name.clone(), spec.kind, spec.takes_commands());
        self.board.add_process(&spec);
        let keeper = Keeper {
            spec,
            spawner: self.spawner.clone(),
            board: self.board.clone(),
            groups: self.groups.clone(),
            orders: received,
            frontend,
            hurry: self.hurry.subscribe(),
        };
        self.reach.lock().insert(name.clone(), Ends { orders: orders.clone(), takes_commands, frontend: reached });
        self.kept.insert(name, Kept { kind, orders, task: tokio::spawn(keeper.keep()) });
    }

    /// For those who are not its owner.
    pub fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// [`Reach::restart`], as a function.
    pub fn restarter(&self) -> impl Fn(&str, String) -> bool + Send + Sync + use<> {
        let reach = self.reach.clone();
        move |name, reason| reach.restart(name, reason)
    }

    /// From now on stopping is killing. May be called while [`Supervisor::stop_all`] runs.
    pub fn hurry(&self) -> impl Fn() + Send + Sync + use<> {
        let hurry = self.hurry.clone();
        move || {
            hurry.send_replace(true);
        }
    }

    /// Stops a process for good and forgets it. Nothing happens if there is none of that name.
    pub async fn remove(&mut self, name: &str, afterwards: Afterwards) {
        let Some(kept) = self.kept.remove(name) else { return };
        self.reach.lock().remove(name);
        let _ = kept.orders.send(Order::Stop(afterwards)).await;
        let _ = kept.task.await;
        self.board.remove_process(name);
    }

    /// Stops all processes, those first that depend on others. When this returns, none is left.
    pub async fn stop_all(&mut self) {
        self.reach.lock().clear();
        let mut kept: Vec<_> = std::mem::take(&mut self.kept).into_values().collect();
        for stage in 0..Kind::STOP_STAGES {
            let (now, later) = kept.into_iter().partition(|kept| kept.kind.stop_stage() == stage);
            kept = later;
            let now: Vec<Kept> = now;
            for kept in &now {
                let _ = kept.orders.send(Order::Stop(Afterwards::Nothing)).await;
            }
            for kept in now {
                // A task that panicked has dropped its child, which killed it.
                let _ = kept.task.await;
            }
        }
        self.groups.leave();
    }
}
