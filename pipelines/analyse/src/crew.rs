//! Threads that look at pictures, or load models. Whoever waits gives them work, and hears by a descriptor that some of it is done.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::eventfd::{EfdFlags, EventFd};

type Task<T> = Box<dyn FnOnce() -> T + Send>;

/// Threads that work. They end, with what they are at, when this is dropped.
pub struct Crew<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
    /// Tasks that were given and whose results were not taken.
    out: usize,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    work: Condvar,
    bell: EventFd,
}

struct State<T> {
    tasks: VecDeque<Task<T>>,
    done: Vec<T>,
    closing: bool,
    /// A task has panicked.
    broken: bool,
}

/// A bug has ended an analysis thread.
#[derive(Debug, thiserror::Error)]
#[error("an analysis thread has panicked")]
pub struct Broken;

impl<T: Send + 'static> Crew<T> {
    /// Starts so many threads, under that name and a number.
    pub fn new(name: &str, threads: usize) -> io::Result<Self> {
        let state = State { tasks: VecDeque::new(), done: Vec::new(), closing: false, broken: false };
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), bell });
        let mut crew = Self { shared, threads: Vec::with_capacity(threads), out: 0 };
        for number in 0..threads.max(1) {
            let shared = crew.shared.clone();
            let thread = thread::Builder::new().name(format!("{name}{number}"));
            crew.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(crew)
    }

    /// How many threads have nothing to do.
    pub fn idle(&self) -> usize {
        self.threads.len().saturating_sub(self.out)
    }

    /// Is nothing out?
    pub fn is_idle(&self) -> bool {
        self.out == 0
    }

    /// Gives work to the next thread that is idle.
    pub fn give(&mut self, task: impl FnOnce() -> T + Send + 'static) {
        self.out += 1;
        self.shared.lock().tasks.push_back(Box::new(task));
        self.shared.work.notify_one();
    }

    /// Takes what is done.
    pub fn take(&mut self) -> Result<Vec<T>, Broken> {
        // Empty is an error of an eventfd that does not block, and no error here.
        let _ = self.shared.bell.read();
        let mut state = self.shared.lock();
        if state.broken {
            return Err(Broken);
        }
        let done = std::mem::take(&mut state.done);
        drop(state);
        self.out -= done.len();
        Ok(done)
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let _guard = Guard(self);
        loop {
            let mut state = self.lock();
            let task = loop {
                if state.closing {
                    return;
                }
                match state.tasks.pop_front() {
                    Some(task) => break task,
                    None => state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            let done = task();
            self.lock().done.push(done);
            self.ring();
        }
    }

    fn ring(&self) {
        // Full: it rings already.
        let _ = self.bell.write(1);
    }
}

struct Guard<'a, T>(&'a Shared<T>);

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().broken = true;
            self.0.ring();
        }
    }
}

/// Readable when [`Crew::take`] has something.
impl<T> AsFd for Crew<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

impl<T> Crew<T> {
    /// Waits for what has been begun, and takes it. Nobody works any more; what had not been begun is dropped.
    pub fn finish(&mut self) -> Vec<T> {
        self.close();
        self.out = 0;
        std::mem::take(&mut self.shared.lock().done)
    }

    fn close(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // Its panic was told.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Crew<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn wait(crew: &Crew<u32>) {
        let mut fds = [PollFd::new(crew.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(30_000u16)).unwrap(), 1, "something is done within 30 seconds");
    }

    #[test]
    fn what_has_been_begun_is_taken_at_the_end() {
        let mut crew = Crew::new("work", 1).expect("a thread can be started");
        let (begun, wait) = std::sync::mpsc::channel();
        crew.give(move || {
            begun.send(()).expect("somebody waits");
            thread::yield_now();
            7
        });
        wait.recv().expect("it begins");
        assert_eq!((crew.finish(), crew.is_idle()), (vec![7], true));
    }

    #[test]
    fn work_is_done_and_told() {
        let mut crew = Crew::new("work", 2).unwrap();
        assert_eq!((crew.idle(), crew.take().unwrap()), (2, vec![]));
        (0..3).for_each(|number| crew.give(move || number * 10));
        assert!(!crew.is_idle() && crew.idle() == 0);
        let mut all = Vec::new();
        while all.len() < 3 {
            wait(&crew);
            all.extend(crew.take().unwrap());
        }
        all.sort();
        assert_eq!((all, crew.idle()), (vec![0, 10, 20], 2));
    }

    #[test]
    fn a_panic_is_told() {
        let mut crew: Crew<u32> = Crew::new("work", 1).unwrap();
        crew.give(|| panic!("as asked for"));
        wait(&crew);
        assert!(crew.take().is_err());
    }

    #[test]
    fn threads_end_with_the_crew_also_with_work_left() {
        let mut crew = Crew::new("work", 1).unwrap();
        (0..10).for_each(|number| crew.give(move || number));
        drop(crew);
    }
}
