//! One viewer's connection, from its first message to its end.
//!
//! Nothing a viewer does costs more than its own connection: what it sends is small and seldom or the connection ends, what it
//! does not read stays in its own bounded queue, and without progress it is cut off (by [`crate::wire`]).

use crate::clock::utc_now;
use crate::directory::Directory;
use crate::lobby::Guest;
use crate::mp4::{Init, OwnTimes};
use crate::protocol::{Feedback, Hello, Message, Request, Stats};
use crate::queue::Item;
use crate::quota::Quota;
use crate::stream::{Seat, Visitor};
use axum::extract::ws::{self, CloseFrame, WebSocket, close_code};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// A viewer says what it wants within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// Keeps the connection alive in proxies and browsers (Chromium closes idle ones after 60 s).
const PING: Duration = Duration::from_secs(20);
/// Three pings without any answer: the other end is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// Extended viewers are told so often how they fare.
const STATS: Duration = Duration::from_secs(5);

/// Messages that a viewer may send at once, and in a second: pongs, reports, wishes.
const MESSAGES: (u32, u32) = (60, 20);

/// Time for the viewer to answer to a closing message.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a session is over; there is nothing to do about it but to close.
struct Over;

/// Serves a viewer until it leaves, or the stream ends for it.
pub async fn serve(socket: WebSocket, directory: Arc<Directory>, name: Option<String>, guest: Arc<Guest>) {
    let now = Instant::now();
    let quota = Quota::new(MESSAGES.0, MESSAGES.1, now.into_std());
    let mut connection = Connection { socket, heard: now, quota };
    let seated = tokio::select! {
        seated = seat(&mut connection, &directory, name, guest.peer()) => seated,
        () = guest.dismissed() => Err(Over),
    };
    if let Ok((hello, seat)) = seated {
        guest.seated();
        let times = (!hello.ext).then(OwnTimes::default);
        let mut session = Session { connection, seat, hello, init: None, times };
        if session.run().await.is_ok() {
            // The seat is kept until here: who stops the stream waits for the last words.
            session.connection.close(close_code::AWAY, "").await;
        }
    }
}

/// Waits for the viewer's first message and finds its stream.
async fn seat(
    connection: &mut Connection,
    directory: &Directory,
    name: Option<String>,
    peer: &str,
) -> Result<(Hello, Seat), Over> {
    let hello = timeout(PATIENCE, connection.hello()).await.map_err(|_| Over)??;
    let seat = match directory.find(name.as_deref()) {
        Ok(stream) => stream.join(Visitor::mse(hello.ext, peer)).map_err(|refused| refused.to_string()),
        Err(unknown) => Err(unknown.to_string()),
    };
    match seat {
        Ok(seat) => Ok((hello, seat)),
        Err(reason) => Err(connection.refuse(&reason).await),
    }
}

struct Connection {
    socket: WebSocket,
    /// When the viewer last gave a sign of life.
    heard: Instant,
    quota: Quota,
}

impl Connection {
    async fn hello(&mut self) -> Result<Hello, Over> {
        loop {
            if let ws::Message::Text(text) = self.receive().await?
                && let Some(Request::Hello(hello)) = Request::read(&text)
            {
                return Ok(hello);
            }
        }
    }

    async fn receive(&mut self) -> Result<ws::Message, Over> {
        match self.socket.recv().await {
            Some(Ok(ws::Message::Close(_)) | Err(_)) | None => Err(Over),
            Some(Ok(message)) => {
                self.heard = Instant::now();
                if self.quota.take(self.heard.into_std()) {
                    return Ok(message);
                }
                self.close(close_code::POLICY, "too many messages").await;
                Err(Over)
            }
        }
    }

    async fn send(&mut self, message: ws::Message) -> Result<(), Over> {
        self.socket.send(message).await.map_err(|_| Over)
    }

    async fn tell(&mut self, message: Message) -> Result<(), Over> {
        self.send(ws::Message::Text(message.json().into())).await
    }

    /// Says why, and closes.
    async fn refuse(&mut self, reason: &str) -> Over {
        if self.tell(Message::error(reason)).await.is_ok() {
            self.close(close_code::NORMAL, "").await;
        }
        Over
    }

    /// Says good-bye and waits for the answer: a connection that is dropped with something unread resets, and the last
    /// messages are lost on their way.
    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        if self.send(ws::Message::Close(Some(frame))).await.is_ok() {
            let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = self.socket.recv().await {} }).await;
        }
    }
}

struct Session {
    connection: Connection,
    seat: Seat,
    hello: Hello,
    /// The init segment that the viewer has.
    init: Option<Arc<Init>>,
    /// Times of its own, unless it shares the stream's.
    times: Option<OwnTimes>,
}

impl Session {
    /// `Ok` when the stream has ended, with everything sent.
    async fn run(&mut self) -> Result<(), Over> {
        let (mut ping, mut stats) = (interval(PING), interval(STATS));
        for timer in [&mut ping, &mut stats] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            timer.reset();
        }
        loop {
            tokio::select! {
                // What the viewer says first: after a long time of sending, its signs of life wait here.
                biased;
                message = self.connection.receive() => match message? {
                    ws::Message::Text(text) if self.hello.ext => self.answer(&text).await?,
                    // Pongs and closing come this way; plain viewers have nothing to say.
                    _ => {}
                },
                _ = ping.tick() => {
                    if self.connection.heard.elapsed() > SILENCE {
                        return Err(Over);
                    }
                    self.connection.send(ws::Message::Ping(Default::default())).await?;
                }
                _ = stats.tick(), if self.hello.ext && self.init.is_some() => self.tell_stats(None).await?,
                item = self.seat.viewer().next() => match item {
                    Some(item) => self.send(item).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn answer(&mut self, text: &str) -> Result<(), Over> {
        match Request::read(text) {
            Some(Request::Idr) => self.seat.want_keyframe(),
            Some(Request::Pause) => self.seat.pause(),
            Some(Request::Resume) => self.seat.resume(),
            Some(Request::Report(feedback)) => {
                self.seat.viewer().tell(feedback);
                self.tell_stats(Some(feedback)).await?;
            }
            // It has its stream already.
            Some(Request::Hello(_)) | None => {}
        }
        Ok(())
    }

    async fn tell_stats(&mut self, answered: Option<Feedback>) -> Result<(), Over> {
        let (stream, report) = (self.seat.stream(), self.seat.viewer().report());
        let stats = Stats {
            viewers: stream.viewers(),
            rate: stream.rate(),
            queue_bytes: report.queue_bytes,
            queue_seconds: report.queue_seconds,
            dropped_frames: report.dropped_frames,
            dropped_bytes: report.dropped_bytes,
            utc: utc_now(),
            echo: answered.and_then(|feedback| feedback.time),
        };
        self.connection.tell(Message::Stats(stats)).await
    }

    async fn send(&mut self, item: Item) -> Result<(), Over> {
        match item {
            Item::Init(init) => self.send_init(init).await,
            Item::Fragment { fragment, after_gap, since } => {
                let Some(init) = &self.init else { return Ok(()) };
                let data = match &mut self.times {
                    None => fragment.data.clone(),
                    Some(times) => {
                        if after_gap {
                            times.close_gap();
                        }
                        times.retime(&fragment, init)
                    }
                };
                let len = data.len();
                self.connection.send(ws::Message::Binary(data)).await?;
                self.seat.sent(len, since);
                Ok(())
            }
            Item::Clock(clock) => self.tell_ext(Message::Clock(Some(clock).into())).await,
            Item::Drop(skipped) => self.tell_ext(Message::Drop { frames: skipped.frames, bytes: skipped.bytes }).await,
            Item::Eos => self.tell_ext(Message::Eos).await,
        }
    }

    async fn tell_ext(&mut self, message: Message) -> Result<(), Over> {
        if self.hello.ext { self.connection.tell(message).await } else { Ok(()) }
    }

    async fn send_init(&mut self, init: Arc<Init>) -> Result<(), Over> {
        if let Some(codec) = self.hello.unplayable(&init) {
            return Err(self.connection.refuse(&format!("codecs not matched: the stream has {codec}")).await);
        }
        let mime = init.mime();
        match &self.init {
            None => self.connection.tell(Message::Mse { value: mime }).await?,
            Some(_) if self.hello.ext => self.connection.tell(Message::Reinit { value: mime }).await?,
            // MSE takes another init segment of the same type as it is. For another type such a player must connect anew.
            Some(old) if old.mime() == mime => {}
            Some(_) => return Err(self.connection.refuse("the stream has changed: connect again").await),
        }
        let main = init.main();
        let description = Message::Init {
            stream: self.seat.stream().name().into(),
            width: main.width,
            height: main.height,
            timescale: main.timescale,
            clock: self.seat.stream().clock().into(),
        };
        self.tell_ext(description).await?;
        self.connection.send(ws::Message::Binary(init.data.clone())).await?;
        if let Some(times) = &mut self.times {
            times.close_gap();
        }
        self.init = Some(init);
        Ok(())
    }
}
