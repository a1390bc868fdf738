//! A connection's bytes, with what a stranger may do to them: be slow, be silent, say too much.
//!
//! It lies below TLS, HTTP and WebSocket, so it holds for all of them, also between two messages.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// What is to be sent must get ahead, be it by a byte, within this time: else the other end has stalled, and is cut off.
const STALL: Duration = Duration::from_secs(10);

/// Bytes that a client may send in a second, and at once twice as many. Requests and reports need a fraction of it; more is read
/// later.
const READ_RATE: f64 = 32.0 * 1024.0;

/// A connection that is limited so.
pub struct Wire<T> {
    io: T,
    patience: Duration,
    read_rate: f64,
    /// Runs out when sending has stalled.
    stall: Pin<Box<Sleep>>,
    stalling: bool,
    /// Bytes that may be read now; less than nothing after a large read.
    allowance: f64,
    counted: Instant,
    /// Runs out when something may be read again.
    quiet: Pin<Box<Sleep>>,
}

impl<T> Wire<T> {
    /// Limits `io`.
    pub fn new(io: T) -> Self {
        Self::with(io, STALL, READ_RATE)
    }

    fn with(io: T, patience: Duration, read_rate: f64) -> Self {
        let now = Instant::now();
        Self {
            io,
            patience,
            read_rate,
            stall: Box::pin(sleep_until(now)),
            stalling: false,
            allowance: 2.0 * read_rate,
            counted: now,
            quiet: Box::pin(sleep_until(now)),
        }
    }

    fn watch(&mut self, cx: &mut Context<'_>, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if sent.is_ready() {
            self.stalling = false;
            return sent;
        }
        if !self.stalling {
            self.stalling = true;
            self.stall.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other end takes nothing")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.allowance < 1.0 {
            let now = Instant::now();
            this.allowance += (now - this.counted).as_secs_f64() * this.read_rate;
            this.allowance = this.allowance.min(2.0 * this.read_rate);
            this.counted = now;
            if this.allowance < 1.0 {
                let rest = Duration::from_secs_f64((1.0 - this.allowance) / this.read_rate);
                this.quiet.as_mut().reset(now + rest + Duration::from_millis(1));
                // Ready at once only when the time is over already; then the next poll counts it.
                if this.quiet.as_mut().poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        this.allowance -= (buf.filled().len() - before) as f64;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write(cx, buf);
        self.watch(cx, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.watch(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Time goes on when all wait for it, and only then: a machine that is busy elsewhere lets nobody stall.
    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().expect("a runtime").block_on(test);
    }

    #[test]
    fn who_takes_nothing_is_cut_off_and_who_takes_little_is_not() {
        const PATIENCE: Duration = Duration::from_secs(1);
        run(async {
            let (near, mut far) = duplex(1000);
            let mut wire = Wire::with(near, PATIENCE, READ_RATE);
            let start = Instant::now();
            let reader = async {
                let mut byte = [0];
                for _ in 0..8 {
                    tokio::time::sleep(PATIENCE / 4).await;
                    far.read_exact(&mut byte).await.expect("it is being sent");
                }
            };
            let (error, ()) = tokio::join!(wire.write_all(&[0; 5000]), reader);
            assert_eq!(error.expect_err("the other end stops reading").kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() >= PATIENCE * 3, "{:?}", start.elapsed());
        });
    }

    #[test]
    fn who_says_too_much_is_heard_later() {
        run(async {
            let (near, mut far) = duplex(1 << 20);
            far.write_all(&[7; 5000]).await.expect("there is room");
            drop(far);
            let start = Instant::now();
            let mut all: Vec<u8> = Vec::new();
            let mut wire = Wire::with(near, STALL, 1000.0);
            // Read in pieces, as a server does.
            let mut piece = [0; 500];
            while let Ok(count @ 1..) = wire.read(&mut piece).await {
                all.extend(&piece[..count]);
            }
            assert_eq!(all, [7; 5000]);
            assert!(start.elapsed() >= Duration::from_millis(2900), "{:?}", start.elapsed());
        });
    }
}
