//! One viewer's connection, from its first message to its end.
//!
//! Nothing a viewer does costs more than its own connection: what it sends is small or the connection ends, what it does
//! not read stays in its own bounded queue, and without progress it is cut off.

use crate::mp4::{Init, OwnTimes};
use crate::protocol::{Hello, Message};
use crate::queue::Item;
use crate::server::Directory;
use crate::stream::Seat;
use axum::extract::ws::{self, CloseFrame, WebSocket, close_code};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// A viewer says what it wants within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// One message goes out within this time, or the viewer has stalled.
const STALL: Duration = Duration::from_secs(10);
/// Keeps the connection alive in proxies and browsers (Chromium closes idle ones after 60 s).
const PING: Duration = Duration::from_secs(20);
/// Three pings without any answer: the other end is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// Time for the viewer to answer to a closing message.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a session is over; there is nothing to do about it but to close.
struct Over;

/// Serves a viewer until it leaves, or the stream ends for it.
pub async fn serve(socket: WebSocket, directory: Arc<Directory>, name: Option<String>) {
    let mut connection = Connection { socket, heard: Instant::now() };
    if let Ok((hello, seat)) = seat(&mut connection, &directory, name).await {
        let times = (!hello.ext).then(OwnTimes::default);
        let mut session = Session { connection, seat, hello, init: None, times };
        if session.run().await.is_ok() {
            // The seat is kept until here: who stops the stream waits for the last words.
            session.connection.close(close_code::AWAY).await;
        }
    }
}

/// Waits for the viewer's first message and finds its stream.
async fn seat(connection: &mut Connection, directory: &Directory, name: Option<String>) -> Result<(Hello, Seat), Over> {
    let hello = timeout(PATIENCE, connection.hello()).await.map_err(|_| Over)??;
    let seat = match directory.find(name.as_deref()) {
        Ok(stream) => stream.join(hello.ext).map_err(|refused| refused.to_string()),
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
}

impl Connection {
    async fn hello(&mut self) -> Result<Hello, Over> {
        loop {
            if let ws::Message::Text(text) = self.receive().await?
                && let Some(hello) = Hello::read(&text)
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
                Ok(message)
            }
        }
    }

    async fn send(&mut self, message: ws::Message) -> Result<(), Over> {
        match timeout(STALL, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over),
        }
    }

    async fn tell(&mut self, message: Message) -> Result<(), Over> {
        self.send(ws::Message::Text(message.json().into())).await
    }

    /// Says why, and closes.
    async fn refuse(&mut self, reason: &str) -> Over {
        if self.tell(Message::error(reason)).await.is_ok() {
            self.close(close_code::NORMAL).await;
        }
        Over
    }

    /// Says good-bye and waits for the answer: a connection that is dropped with something unread resets, and the last
    /// messages are lost on their way.
    async fn close(&mut self, code: u16) {
        let frame = CloseFrame { code, reason: "".into() };
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
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            tokio::select! {
                item = self.seat.viewer().next() => match item {
                    Some(item) => self.send(item).await?,
                    None => return Ok(()),
                },
                // What a viewer says later is not asked for yet, but it is read: pongs and closing come this way.
                message = self.connection.receive() => drop(message?),
                _ = ping.tick() => {
                    if self.connection.heard.elapsed() > SILENCE {
                        return Err(Over);
                    }
                    self.connection.send(ws::Message::Ping(Default::default())).await?;
                }
            }
        }
    }

    async fn send(&mut self, item: Item) -> Result<(), Over> {
        match item {
            Item::Init(init) => self.send_init(init).await,
            Item::Fragment { fragment, after_gap } => {
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
                self.seat.viewer().count_sent(len);
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
