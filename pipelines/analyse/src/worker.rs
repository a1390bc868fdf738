//! One thread that waits for all channels at once, and gives each its turn.
//!
//! A channel is *ready* from the time its descriptor wakes the worker until it has nothing more. In each round every
//! ready channel is allowed one frame, so a busy camera does not starve the others; which frame that is, is the
//! channel's policy (`latest`: the newest).

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::channel::{Channel, Step};
use crate::lines::{Lines, LinesError};
use crate::log;

/// Things in a row that are not frames, after which the other channels have their turn.
const MAX_STEPS: usize = 64;

/// Epoll data of the descriptors that are not channels.
const STOP: u64 = u64::MAX;
const OUTPUT: u64 = u64::MAX - 1;

/// Why the worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// Nobody reads its lines.
    OutputClosed,
    /// Every channel has ended or failed; true if none has failed.
    NoChannelsLeft { well: bool },
}

struct Seat {
    /// None when the channel has ended.
    channel: Option<Channel>,
    ready: bool,
}

/// Runs until `stop` becomes readable, nobody reads `lines` any more, or no channel is left. With `until_eos` a channel
/// whose stream ends is left alone; otherwise it waits for its next writer. Without `lines` the writers alone get answers.
pub fn run<W: Write + AsFd>(
    channels: Vec<Channel>,
    mut lines: Option<Lines<W>>,
    stop: BorrowedFd<'_>,
    until_eos: bool,
) -> Result<Ended, WorkerError> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(WorkerError::Wait)?;
    epoll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP)).map_err(WorkerError::Wait)?;
    if let Some(lines) = &lines {
        // No flags: errors and hang-ups are reported all the same.
        match epoll.add(lines.as_fd(), EpollEvent::new(EpollFlags::empty(), OUTPUT)) {
            // A file never hangs up, and cannot be watched.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(WorkerError::Wait(errno)),
        }
    }
    let mut seats = Vec::with_capacity(channels.len());
    for (data, channel) in (0..).zip(channels) {
        epoll.add(channel.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, data)).map_err(WorkerError::Wait)?;
        seats.push(Seat { channel: Some(channel), ready: true });
    }

    let mut events = vec![EpollEvent::empty(); seats.len() + 2];
    let mut well = true;
    while seats.iter().any(|seat| seat.channel.is_some()) {
        let patience = if seats.iter().any(|seat| seat.ready) { EpollTimeout::ZERO } else { EpollTimeout::NONE };
        let woken = match epoll.wait(&mut events, patience) {
            Err(Errno::EINTR) => 0,
            other => other.map_err(WorkerError::Wait)?,
        };
        for event in &events[..woken] {
            match event.data() {
                STOP => return Ok(Ended::Stopped),
                OUTPUT => return Ok(Ended::OutputClosed),
                at => seats[at as usize].ready = true,
            }
        }
        for seat in seats.iter_mut().filter(|seat| seat.ready) {
            match turn(seat, &mut lines, stop, until_eos) {
                Ok(()) => {}
                Err(TurnError::Channel(name, error)) => {
                    log::line(&format!("error: {name}: {error}"));
                    well = false;
                    *seat = Seat { channel: None, ready: false };
                }
                Err(TurnError::Output(LinesError::Stopped)) => return Ok(Ended::Stopped),
                Err(TurnError::Output(LinesError::Closed)) => return Ok(Ended::OutputClosed),
                Err(TurnError::Output(error)) => return Err(WorkerError::Output(error)),
            }
        }
    }
    Ok(Ended::NoChannelsLeft { well })
}

/// Lets a channel have one frame analysed, if it has one.
fn turn<W: Write + AsFd>(
    seat: &mut Seat,
    lines: &mut Option<Lines<W>>,
    stop: BorrowedFd<'_>,
    until_eos: bool,
) -> Result<(), TurnError> {
    let Some(channel) = &mut seat.channel else {
        seat.ready = false;
        return Ok(());
    };
    for _ in 0..MAX_STEPS {
        match channel.step().map_err(|error| TurnError::Channel(channel.name().to_owned(), error))? {
            Step::Busy => {}
            Step::Idle => {
                seat.ready = false;
                break;
            }
            Step::Answer(message) => {
                if let Some(lines) = lines {
                    lines.write(message, stop).map_err(TurnError::Output)?;
                }
                break;
            }
            Step::Ended if until_eos => {
                // Closing the reader's descriptor takes it out of the epoll.
                *seat = Seat { channel: None, ready: false };
                break;
            }
            Step::Ended => {}
        }
    }
    Ok(())
}

enum TurnError {
    Channel(String, frame_ring::ReadError),
    Output(LinesError),
}

/// Why the worker cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot wait for channels: {0}")]
    Wait(Errno),
    #[error(transparent)]
    Output(LinesError),
}
