//! The reader: finds the writer, takes frames, gives them back, answers.
//!
//! ```text
//!              socket appears, connect       attached                 generation, states, frames …
//!   ┌──► away ───────────────────────► asking ───────► attached ───────────────────────────────────┐
//!   │      ▲                              │ refused: error, asks again later                       │
//!   │      └──────────────────────────────┘                                                        │
//!   └────────────── the line hangs up, and queue and line are drained: Item::Lost ─────────────────┘
//! ```
//!
//! It has no thread of its own and never waits but in [`Reader::wait`]; [`Reader::next`] does what there is to do. All that may wake it
//! hangs on one epoll: the doorbell, the line, the watch for a socket, a timer, the canceller.

mod counters;
mod item;
mod line;
mod link;
mod port;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

pub use counters::{Counters, ReaderCounters};
pub use item::{Attachment, Item, LostReason, ReadError, ReaderOptions, Woken};
pub use line::{LineHandle, SendError};
pub use port::Frame;

use crate::cancel::Canceller;
use crate::frame::Integrity;
use crate::line::{Line, Sent};
use crate::message::{Attach, Attached, ReaderMessage, VERSIONS};
use crate::socket::{Attempt, Watch};
use link::{Broken, Link, Said, Turn};

/// After a refusal the reader asks again.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// The writer has more knocks than the kernel keeps, or was just going.
const AFTER_CROWD: Duration = Duration::from_millis(20);
/// The folder cannot be watched (limits of inotify): look now and then.
const WITHOUT_WATCH: Duration = Duration::from_millis(250);

const LINE: u64 = 0;
const READY: u64 = 1;
const WATCH: u64 = 2;
const TIMER: u64 = 3;
const CANCEL: u64 = 4;

enum State {
    /// There is no writer, or none that can be asked.
    Away {
        watch: Option<Watch>,
    },
    Linked {
        link: Box<Link>,
        attached: bool,
    },
}

/// What the epoll told since it was looked at last.
#[derive(Default, Clone, Copy)]
struct Told {
    line: bool,
    watch: bool,
    timer: bool,
}

/// One reader of a channel.
pub struct Reader {
    options: ReaderOptions,
    epoll: OwnedFd,
    timer: OwnedFd,
    canceller: Canceller,
    state: State,
    told: Told,
    /// next() found nothing, and nobody has looked at the epoll since.
    look: bool,
    line: LineHandle,
    counters: Arc<Counters>,
    /// Number of the last frame of this writer.
    last_seq: Option<u64>,
    first_of_writer: bool,
    /// A frame is missing that the next ones may need.
    needs_keyframe: bool,
}

impl Reader {
    /// Never waits, and needs no writer: it may come later.
    pub fn new(options: ReaderOptions) -> Result<Self, ReadError> {
        options.address.prepare_folder()?;
        let failed = |doing| {
            let address = options.address.clone();
            move |source: io::Error| ReadError::System { address, doing, source }
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| failed("epoll")(e.into()))?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(|e| failed("timerfd")(e.into()))?;
        let canceller = Canceller::new().map_err(failed("eventfd"))?;
        for (descriptor, data) in [(timer.as_fd(), TIMER), (canceller.as_fd(), CANCEL)] {
            epoll::add(&epoll, descriptor, epoll::EventData::new_u64(data), epoll::EventFlags::IN)
                .map_err(|e| failed("epoll")(e.into()))?;
        }
        let mut reader = Self {
            options,
            epoll,
            timer,
            canceller,
            state: State::Away { watch: None },
            told: Told::default(),
            look: false,
            line: LineHandle::default(),
            counters: Arc::default(),
            last_seq: None,
            first_of_writer: true,
            needs_keyframe: false,
        };
        reader.go_away();
        Ok(reader)
    }

    /// What comes next; None when there is nothing now. Then wait, by [`wait`](Self::wait) or for the reader's descriptor.
    #[allow(clippy::should_implement_trait, reason = "a reader is no iterator: None is not the end")]
    pub fn next(&mut self) -> Result<Option<Item>, ReadError> {
        if std::mem::take(&mut self.look) {
            self.look_at_epoll(Some(Duration::ZERO)).map_err(|source| self.system("epoll_wait", source))?;
        }
        loop {
            let progress = match &self.state {
                State::Away { .. } => self.seek()?,
                State::Linked { .. } => self.follow()?,
            };
            match progress {
                Progress::Item(item) => return Ok(Some(item)),
                Progress::Again => {}
                Progress::Nothing => {
                    self.look = true;
                    return Ok(None);
                }
            }
        }
    }

    /// Waits until [`next`](Self::next) may have something, the canceller is used or the time is over.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<Woken> {
        let woken = self.look_at_epoll(timeout)?;
        if woken == Woken::Ready {
            self.look = false;
        }
        Ok(woken)
    }

    /// Ends [`wait`](Self::wait), from any thread, until it is reset.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// What goes back to the writer, from any thread. It survives the writer.
    pub fn line(&self) -> LineHandle {
        self.line.clone()
    }

    /// What has been counted, from any thread.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// What has been counted so far.
    pub fn stats(&self) -> ReaderCounters {
        self.counters.now()
    }

    fn system(&self, doing: &'static str, source: io::Error) -> ReadError {
        ReadError::System { address: self.options.address.clone(), doing, source }
    }

    fn look_at_epoll(&mut self, timeout: Option<Duration>) -> io::Result<Woken> {
        let timeout = timeout
            .map(|timeout| Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) });
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 8];
        let (seen, _) = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok(count) => events.split_at(count),
            // A signal: the caller looks again.
            Err(Errno::INTR) => return Ok(Woken::Ready),
            Err(error) => return Err(error.into()),
        };
        let mut cancelled = false;
        for event in seen {
            match event.data.u64() {
                LINE => self.told.line = true,
                WATCH => self.told.watch = true,
                TIMER => self.told.timer = true,
                CANCEL => cancelled = true,
                _ => {}
            }
        }
        Ok(match seen {
            [] => Woken::TimedOut,
            _ if cancelled => Woken::Cancelled,
            _ => Woken::Ready,
        })
    }

    fn set_timer(&self, after: Duration) {
        let it_value = Timespec { tv_sec: after.as_secs() as i64, tv_nsec: i64::from(after.subsec_nanos()) };
        let it_interval = Timespec::default();
        // The timer is ours and the time is valid: there is nothing that could fail.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value });
    }

    /// There is no writer: watch for one, and look at once.
    fn go_away(&mut self) {
        self.line.disconnect();
        if let State::Linked { link, .. } = std::mem::replace(&mut self.state, State::Away { watch: None }) {
            link.leave(&self.epoll);
        }
        (self.last_seq, self.first_of_writer, self.needs_keyframe) = (None, true, false);
        self.counters.set_held(0);
        self.told = Told { watch: true, ..Told::default() };
    }

    /// Watches for a socket; without a watch a timer must do.
    fn watch(&mut self) {
        let State::Away { watch: watch @ None } = &mut self.state else { return };
        let made = self.options.address.prepare_folder().ok().and_then(|()| Watch::new(&self.options.address).ok());
        let event = epoll::EventData::new_u64(WATCH);
        *watch = made.filter(|watch| epoll::add(&self.epoll, watch, event, epoll::EventFlags::IN).is_ok());
    }

    /// Looks for the writer, if there is reason to.
    #[cold]
    fn seek(&mut self) -> Result<Progress, ReadError> {
        let told = std::mem::take(&mut self.told);
        if !told.watch && !told.timer {
            return Ok(Progress::Nothing);
        }
        self.set_timer(Duration::ZERO);
        if let State::Away { watch: Some(watch) } = &self.state {
            match watch.happened() {
                // The folder has gone; perhaps it comes again.
                None => self.state = State::Away { watch: None },
                Some(false) if !told.timer => return Ok(Progress::Nothing),
                Some(_) => {}
            }
        }
        // Watch first, then look: a socket that appears in between is seen.
        self.watch();
        match Attempt::to(&self.options.address) {
            Ok(Attempt::Connected(socket)) => self.ask(socket),
            Ok(Attempt::NobodyThere) => {
                if matches!(self.state, State::Away { watch: None }) {
                    self.set_timer(WITHOUT_WATCH);
                }
                Ok(Progress::Nothing)
            }
            Ok(Attempt::Crowded) => {
                self.set_timer(AFTER_CROWD);
                Ok(Progress::Nothing)
            }
            Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                let address = self.options.address.clone();
                Err(ReadError::NotAllowed { address, source: error.into() })
            }
            Err(Errno::PROTOTYPE | Errno::NOTSOCK) => Err(ReadError::NotAChannel(self.options.address.clone())),
            Err(error) => Err(self.system("connect", error.into())),
        }
    }

    fn ask(&mut self, socket: OwnedFd) -> Result<Progress, ReadError> {
        let line = Arc::new(Line::new(socket));
        let attach = ReaderMessage::Attach(Attach {
            version_min: *VERSIONS.start(),
            version_max: *VERSIONS.end(),
            policy: self.options.policy,
            initial: self.options.initial,
            queue_size: self.options.queue_size,
            max_held: self.options.max_held,
        });
        epoll::add(
            &self.epoll,
            line.as_fd(),
            epoll::EventData::new_u64(LINE),
            epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
        )
        .map_err(|error| self.system("epoll", error.into()))?;
        let heard = line.send(&attach.encode()) == Sent::Yes;
        let link = Box::new(Link::new(line, self.options.policy));
        self.state = State::Linked { link, attached: false };
        if !heard {
            // It was just going.
            self.go_away();
            self.told = Told::default();
            self.set_timer(AFTER_CROWD);
        }
        Ok(Progress::Again)
    }

    /// Goes on with the writer that there is.
    fn follow(&mut self) -> Result<Progress, ReadError> {
        let told = std::mem::take(&mut self.told);
        let State::Linked { link, .. } = &mut self.state else { return Ok(Progress::Again) };
        let result = if told.line { link.read_line().map_err(Broken::from) } else { Ok(()) };
        let turn = match result.and_then(|()| link.next()) {
            Ok(turn) => turn,
            Err(Broken::Lie(what)) => return Ok(self.lose(LostReason::Protocol(what))),
            Err(Broken::Memory(error)) => {
                self.go_away();
                return Err(error.into());
            }
        };
        self.counters.set_held(u64::from(link.held()));
        match turn {
            Turn::Nothing => Ok(Progress::Nothing),
            Turn::Frame(taken) => Ok(self.deliver(taken.frame)),
            Turn::Said(said) => self.hear(said),
        }
    }

    /// What is not a frame.
    #[cold]
    fn hear(&mut self, said: Said) -> Result<Progress, ReadError> {
        let State::Linked { link, attached } = &mut self.state else { return Ok(Progress::Again) };
        match said {
            Said::Attached(granted) => {
                *attached = true;
                link.max_held = granted.max_held;
                Ok(self.attached(granted))
            }
            Said::Refused(why) => {
                self.go_away();
                self.told = Told::default();
                self.set_timer(AFTER_REFUSAL);
                Err(ReadError::Refused(why))
            }
            Said::Generation(port, ready) => {
                if let Err(error) = link.switch(port, ready, &self.epoll, READY) {
                    return Ok(self.lose(LostReason::Protocol(format!("its doorbell cannot be watched: {error}"))));
                }
                Ok(Progress::Again)
            }
            Said::State { kind, bytes } => Ok(Progress::Item(Item::State { kind, bytes })),
            Said::Event { kind, bytes } => Ok(Progress::Item(Item::Event { kind, bytes })),
            Said::Eos => Ok(Progress::Item(Item::Eos)),
            Said::Lost(reason) => {
                let was_attached = *attached;
                if was_attached {
                    return Ok(self.lose(reason));
                }
                // It went before it answered, or it was no answer: the next one may come at any time.
                self.go_away();
                self.told = Told::default();
                self.set_timer(AFTER_CROWD);
                Ok(Progress::Again)
            }
        }
    }

    fn attached(&mut self, granted: Attached) -> Progress {
        if let State::Linked { link, .. } = &self.state {
            self.line.connect(link.line.clone());
        }
        self.counters.attached();
        Progress::Item(Item::Attached(Attachment {
            reader: granted.reader,
            writer_pid: granted.writer_pid as i32,
            queue_size: granted.queue_size,
            max_held: granted.max_held,
        }))
    }

    #[cold]
    fn lose(&mut self, reason: LostReason) -> Progress {
        self.go_away();
        Progress::Item(Item::Lost(reason))
    }

    /// Notes what is missing before a frame, and keeps back what cannot be decoded.
    fn deliver(&mut self, mut frame: Frame) -> Progress {
        let seq = frame.id().seq;
        let missing = self.last_seq.map_or(0, |last| seq.saturating_sub(last.saturating_add(1)));
        // The writer sees to it that nothing undecodable is sent. If it is all the same, a decoder is not the place to find out.
        if frame.info().delta && (missing > 0 || self.first_of_writer || self.needs_keyframe) {
            self.needs_keyframe = true;
            self.counters.kept_back();
            let _ = self.line.force_key_unit();
            return Progress::Again;
        }
        self.needs_keyframe = false;
        frame.lost_before = missing;
        frame.first_of_writer = std::mem::take(&mut self.first_of_writer);
        self.last_seq = Some(seq);
        let torn = frame.integrity() == Integrity::Torn;
        self.counters.frame(frame.as_ref().len() as u64, missing, frame.is_copy(), torn, frame.latency());
        Progress::Item(Item::Frame(frame))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// Readable when [`Reader::next`] may have something (or the canceller was used): put it into a poll or epoll, level-triggered.
impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

enum Progress {
    Item(Item),
    Again,
    Nothing,
}
