//! A player like go2rtc's in the browser: it appends what comes, in order, and neither seeks nor asks for extensions.

use crate::codecs::{AAC, ENCODED, SINK};
use crate::page::Page;
use crate::scene::{Camera, scene};

/// `plainly()` puts such a player on the page, in go2rtc's words and order.
const PLAINLY: &str = "
    window.plainly = () => {
      const video = window.plain = document.createElement('video');
      video.muted = true;
      document.body.replaceChildren(video);
      const source = new MediaSource();
      const waiting = [];
      let buffer = null;
      const append = () => {
        if (buffer !== null && !buffer.updating && waiting.length > 0) buffer.appendBuffer(waiting.shift());
      };
      const heard = ({ type, value }) => {
        if (type !== 'mse' || buffer !== null) throw new Error(`not for a plain player: ${type} ${value}`);
        buffer = source.addSourceBuffer(value);
        buffer.mode = 'segments';
        buffer.addEventListener('updateend', append);
      };
      source.addEventListener('sourceopen', () => {
        const socket = new WebSocket(`ws://${location.host}/api/ws?src=stream`);
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => {
          socket.send(JSON.stringify({ type: 'mse', value: 'avc1.640029,avc1.64002A,avc1.640033,mp4a.40.2,mp4a.40.5,flac,opus' }));
          socket.send(JSON.stringify({ type: 'webrtc/offer', value: 'v=0' }));
        };
        socket.onmessage = ({ data }) => {
          if (typeof data === 'string') return heard(JSON.parse(data));
          waiting.push(data);
          append();
        };
      }, { once: true });
      video.src = URL.createObjectURL(source);
      video.play();
    };";

/// Waits until the clock in the picture has gone on by so many ms; gives where the player is then (s).
fn goes_on(page: &Page, ms: u64) -> f64 {
    let clock = "const clock = readNumber(plain, 320, 240)";
    let first = page.until(&format!("{clock}; return clock")).as_u64().expect("a number");
    page.until(&format!("{clock}; return clock >= {} && plain.currentTime", first + ms)).as_f64().expect("seconds")
}

#[test]
fn a_plain_player_plays_from_its_own_time_0_whenever_it_comes() {
    for (muxed, sound) in [("", "sink.audio"), ("! mp4mux name=mux fragment-duration=1 streamable=true", "mux.")] {
        let camera = Camera::start(&format!("{} ! {ENCODED} {muxed} ! {SINK} {AAC} ! {sound}", scene(320, 240)));
        let page = Page::open_with(camera.port(), PLAINLY);
        page.ask("plainly(); return 0");
        assert!(goes_on(&page, 3000) < 60.0);
        // Later than the other one: the stream's times are far from 0, its own are not.
        page.ask("plainly(); return 0");
        let position = goes_on(&page, 1000);
        assert!(position < camera.newest_ms() as f64 / 1000.0 - 2.0, "{position} of {}", camera.newest_ms());
        page.until("return plain.error === null && plain.webkitAudioDecodedByteCount > 5000");
    }
}
