//! Lines on standard output, each written whole and at once.
//!
//! Whoever reads them may be slow or gone. A full pipe makes the worker wait, and a signal ends that wait; nothing is
//! lost by it, because a waiting worker takes the newest frames afterwards. A closed pipe is an orderly end.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A pipe that polls as writable takes this much without blocking (`PIPE_BUF`, pipe(7)).
const ATOMIC: usize = 4096;

/// Why no more lines are to be written.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    #[error("a signal asks to stop")]
    Stopped,
    #[error("nobody reads standard output any more")]
    Closed,
    #[error("cannot write to standard output: {0}")]
    Failed(io::Error),
}

/// Where lines go.
pub struct Lines<W> {
    out: W,
}

impl<W: Write + AsFd> Lines<W> {
    /// `out` must not buffer.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes `line` and its end. Waits while the pipe is full, until `stop` becomes readable.
    pub fn write(&mut self, mut line: Vec<u8>, stop: BorrowedFd<'_>) -> Result<(), LinesError> {
        line.push(b'\n');
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            self.wait(stop)?;
            match self.out.write(&rest[..rest.len().min(ATOMIC)]) {
                Ok(written) => rest = &rest[written..],
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                    io::ErrorKind::BrokenPipe => return Err(LinesError::Closed),
                    _ => return Err(LinesError::Failed(error)),
                },
            }
        }
        Ok(())
    }

    fn wait(&self, stop: BorrowedFd<'_>) -> Result<(), LinesError> {
        let mut fds = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT), PollFd::new(stop, PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(LinesError::Failed(errno.into())),
                // An error of the pipe shows at the write.
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) => return Err(LinesError::Stopped),
            }
        }
    }
}

impl<W: AsFd> AsFd for Lines<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read, pipe};
    use std::thread;

    use super::*;

    /// A pipe for the lines, and one whose reading end says "stop" when its writing end is written to or dropped.
    fn lines() -> (PipeReader, Lines<PipeWriter>, PipeReader, PipeWriter) {
        let (reader, writer) = pipe().unwrap();
        let (stop, stopper) = pipe().unwrap();
        (reader, Lines::new(writer), stop, stopper)
    }

    #[test]
    fn line_longer_than_the_pipe_arrives_whole() {
        let (mut reader, mut lines, stop, _stopper) = lines();
        let long = vec![b'x'; 300_000];
        let wanted = long.len() + 1;
        let read = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        lines.write(long, stop.as_fd()).unwrap();
        drop(lines);
        let all = read.join().unwrap();
        assert_eq!((all.len(), all.last()), (wanted, Some(&b'\n')));
    }

    #[test]
    fn full_pipe_is_left_when_asked_to_stop() {
        let (_reader, mut lines, stop, mut stopper) = lines();
        stopper.write_all(b"!").unwrap();
        let error = lines.write(vec![b'x'; 300_000], stop.as_fd()).unwrap_err();
        assert!(matches!(error, LinesError::Stopped), "{error}");
    }

    #[test]
    fn reader_that_has_gone_is_told_apart() {
        let (reader, mut lines, stop, _stopper) = lines();
        drop(reader);
        let error = lines.write(b"{}".to_vec(), stop.as_fd()).unwrap_err();
        assert!(matches!(error, LinesError::Closed), "{error}");
    }
}
