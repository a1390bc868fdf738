//! Lines on standard output, each written whole.
//!
//! Whoever reads them may be slow or gone. What does not fit the pipe waits here, and the descriptor says when it is
//! writable again; nothing blocks. A closed pipe is an orderly end.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A pipe that polls as writable takes this much without blocking (`PIPE_BUF`, pipe(7)).
const ATOMIC: usize = 4096;

/// Why no more lines are to be written.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// Nobody reads any more.
    #[error("nobody reads standard output any more")]
    Closed,
    /// A full disk, for example.
    #[error("cannot write to standard output: {0}")]
    Failed(io::Error),
}

/// Where lines go.
pub struct Lines<W> {
    out: W,
    waiting: Vec<u8>,
}

impl<W: Write + AsFd> Lines<W> {
    /// `out` must not buffer.
    pub fn new(out: W) -> Self {
        Self { out, waiting: Vec::new() }
    }

    /// Has `line` written, with its end, as far as there is room. Never waits.
    pub fn write(&mut self, line: &[u8]) -> Result<(), LinesError> {
        self.waiting.extend_from_slice(line);
        self.waiting.push(b'\n');
        self.flush()
    }

    /// Writes what waits, as far as there is room. Never waits.
    pub fn flush(&mut self) -> Result<(), LinesError> {
        let mut written = 0;
        while written < self.waiting.len() && self.has_room()? {
            let end = self.waiting.len().min(written + ATOMIC);
            match self.out.write(&self.waiting[written..end]) {
                Ok(count) => written += count,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::BrokenPipe => return Err(LinesError::Closed),
                    _ => return Err(LinesError::Failed(error)),
                },
            }
        }
        self.waiting.drain(..written);
        Ok(())
    }

    /// Is everything written?
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn has_room(&self) -> Result<bool, LinesError> {
        let mut fds = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, PollTimeout::ZERO) {
            // An error of the pipe shows at the write.
            Ok(_) => Ok(fds[0].any() == Some(true)),
            Err(Errno::EINTR) => Ok(true),
            Err(errno) => Err(LinesError::Failed(errno.into())),
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
    use std::io::{Read, pipe};

    use super::*;

    #[test]
    fn line_longer_than_the_pipe_arrives_whole_as_it_is_read() {
        let (mut reader, writer) = pipe().unwrap();
        let mut lines = Lines::new(writer);
        let long: Vec<u8> = (0..300_000).map(|n| b'a' + (n % 26) as u8).collect();
        lines.write(&long).unwrap();
        lines.write(b"end").unwrap();
        assert!(!lines.is_empty(), "a pipe has 64 KiB");
        let (mut all, mut part) = (Vec::new(), [0; 10_000]);
        while !lines.is_empty() {
            let count = reader.read(&mut part).unwrap();
            all.extend_from_slice(&part[..count]);
            lines.flush().unwrap();
        }
        drop(lines);
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, [&long[..], b"\nend\n"].concat());
    }

    #[test]
    fn reader_that_has_gone_is_told_apart() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let error = Lines::new(writer).write(b"{}").unwrap_err();
        assert!(matches!(error, LinesError::Closed), "{error}");
    }
}
