//! All processes of the orchestrator: starts them, passes orders on, stops them in the right order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    process::{Keeper, Kind, Order, Spec, spawner::Spawner},
    status::Board,
};

/// Owns a task for each process. [`Supervisor::stop_all`] them: dropping it kills at once.
#[derive(Debug)]
pub struct Supervisor {
    spawner: Spawner,
    board: Arc<Board>,
    hurry: watch::Sender<bool>,
    kept: BTreeMap<String, Kept>,
    /// Those of `kept`, for others.
    orders: Arc<Mutex<BTreeMap<String, mpsc::Sender<Order>>>>,
}

#[derive(Debug)]
struct Kept {
    kind: Kind,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Supervisor {
    pub fn new(spawner: Spawner, board: Arc<Board>) -> Self {
        Self { spawner, board, hurry: watch::Sender::new(false), kept: BTreeMap::new(), orders: Arc::default() }
    }

    /// Starts a process, and from now on keeps it running.
    pub fn start(&mut self, spec: Spec) {
        let (orders, received) = mpsc::channel(4);
        let (name, kind) = (spec.name.clone(), spec.kind);
        self.board.add_process(&spec);
        let keeper = Keeper {
            spec,
            spawner: self.spawner.clone(),
            board: self.board.clone(),
            orders: received,
            hurry: self.hurry.subscribe(),
        };
        self.orders.lock().expect("nothing panics under this lock").insert(name.clone(), orders.clone());
        self.kept.insert(name, Kept { kind, orders, task: tokio::spawn(keeper.keep()) });
    }

    /// Has a process stopped and started anew, for those who are not the supervisor's owner. `false` if there is no such process.
    pub fn restarter(&self) -> impl Fn(&str, String) -> bool + Send + Sync + use<> {
        let orders = self.orders.clone();
        move |name, reason| {
            let orders = orders.lock().expect("nothing panics under this lock");
            let known = orders.get(name);
            known.is_some_and(|orders| orders.try_send(Order::Restart(reason)).is_ok() || !orders.is_closed())
        }
    }

    /// From now on stopping is killing. May be called while [`Supervisor::stop_all`] runs.
    pub fn hurry(&self) -> impl Fn() + Send + Sync + use<> {
        let hurry = self.hurry.clone();
        move || {
            hurry.send_replace(true);
        }
    }

    /// Stops a process for good and forgets it. Nothing happens if there is none of that name.
    pub async fn remove(&mut self, name: &str) {
        let Some(kept) = self.kept.remove(name) else { return };
        self.orders.lock().expect("nothing panics under this lock").remove(name);
        let _ = kept.orders.send(Order::Stop).await;
        let _ = kept.task.await;
        self.board.remove_process(name);
    }

    /// Stops all processes, those first that depend on others. When this returns, none is left.
    pub async fn stop_all(&mut self) {
        let mut kept: Vec<_> = std::mem::take(&mut self.kept).into_values().collect();
        for stage in 0..Kind::STOP_STAGES {
            let (now, later) = kept.into_iter().partition(|kept| kept.kind.stop_stage() == stage);
            kept = later;
            let now: Vec<Kept> = now;
            for kept in &now {
                let _ = kept.orders.send(Order::Stop).await;
            }
            for kept in now {
                // A task that panicked has dropped its child, which killed it.
                let _ = kept.task.await;
            }
        }
    }
}
