//! A stream as one endless file, for whoever plays files: `<video src>`, curl, ffmpeg, VLC.
//!
//! The init segment, then fragments from a keyframe on, with media times of its own from 0. Such a player is slow when its
//! connection is: then the file continues at a later keyframe, without a hole in its times. It ends with the source, and when the
//! stream becomes another one, which a file cannot.

use crate::mp4::{Init, OwnTimes};
use crate::queue::Item;
use crate::stream::Seat;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use std::convert::Infallible;
use std::sync::Arc;

/// What is sent to who has this seat.
pub fn body(seat: Seat) -> Body {
    let film = Film { seat, init: None, times: OwnTimes::default() };
    Body::from_stream(stream::unfold(film, |mut film| async move {
        let data = film.next().await?;
        Some((Ok::<_, Infallible>(data), film))
    }))
}

struct Film {
    seat: Seat,
    /// What the file began with.
    init: Option<Arc<Init>>,
    times: OwnTimes,
}

impl Film {
    /// The next bytes of the file.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match (self.seat.viewer().next().await?, &self.init) {
                (Item::Init(init), None) => {
                    let data = init.data.clone();
                    self.init = Some(init);
                    return Some(data);
                }
                (Item::Init(new), Some(old)) if new.data == old.data => self.times.close_gap(),
                (Item::Init(_) | Item::Eos, _) => return None,
                (Item::Fragment { fragment, after_gap, since }, Some(init)) => {
                    if after_gap {
                        self.times.close_gap();
                    }
                    let data = self.times.retime(&fragment, init);
                    self.seat.sent(data.len(), since);
                    return Some(data);
                }
                (Item::Fragment { .. } | Item::Clock(_) | Item::Drop(_), _) => {}
            }
        }
    }
}
