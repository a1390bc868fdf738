//! A page with one player, and eyes: which picture is on the screen, read from its pixels.

use std::fmt::Display;

use serde::Deserialize;
use serde_json::Value;

use crate::blocks::READ_NUMBER;
use crate::stage::{Browser, Runtime, SOON, eventually_or};

/// What was seen when the player said that a picture is on the screen.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The clock in the picture (ms); nothing when it cannot be read.
    pub clock: Option<u64>,
    /// What the player says about the picture: its channel time (ms).
    pub channel: Option<f64>,
    pub width: u64,
    pub height: u64,
    /// Size of what was drawn.
    pub drawn: (u64, u64),
}

/// `watch(mode)` puts a player on the page; `seen` is what was seen.
const EYES: &str = "
    window.seen = []; window.told = [];
    window.watch = (mode, source = '/api/ws?src=stream') => {
      const player = window.player = document.createElement('valkka-video');
      player.style.cssText = 'display: block; width: 320px; height: 240px';
      player.setAttribute('mode', mode);
      player.setAttribute('controls', '');
      player.setAttribute('src', source);
      player.addEventListener('frame', ({ detail: { channelTime, width, height } }) => {
        const clock = readNumber(player.picture, width, height);
        const channel = channelTime === null ? null : channelTime / 1e6;
        const picture = player.picture;
        seen.push({ clock, channel, width, height, drawn: [picture.videoWidth ?? picture.width, picture.videoHeight ?? picture.height] });
      });
      for (const type of ['playing', 'stalled', 'reinit', 'state', 'message']) {
        player.addEventListener(type, ({ detail }) => told.push([type, detail]));
      }
      document.body.replaceChildren(player);
    };
    customElements.get('valkka-video') === undefined && import('/valkka-video.js');
    return true";

/// A browser with a page that belongs to the sink.
pub struct Page {
    browser: Browser,
    _runtime: Runtime,
}

impl Page {
    /// Opens a page of the sink at that port, with nothing on it. `first` runs in it before the player is there.
    pub fn open_with(port: u16, first: &str) -> Page {
        Page::open_at(&format!("http://127.0.0.1:{port}/?src=nothing"), first)
    }

    /// The same at that address, of a page without streams: what it would show is replaced.
    pub fn open_at(address: &str, first: &str) -> Page {
        let runtime = Runtime::new();
        let page = Page { browser: Browser::start(&runtime), _runtime: runtime };
        page.browser.open(address);
        page.browser.ask(&format!("document.body.replaceChildren();\n{first}\n{READ_NUMBER}\n{EYES}"));
        page.until("return customElements.get('valkka-video') !== undefined");
        page
    }

    pub fn open(port: u16) -> Page {
        Page::open_with(port, "")
    }

    /// Goes to another page, which is left as it is.
    pub fn go(&self, address: &str) {
        self.browser.open(address);
    }

    /// Puts a player of that mode on the page; what was seen before is forgotten.
    pub fn watch(&self, mode: &str) {
        self.ask(&format!("seen.length = told.length = 0; watch('{mode}')"));
    }

    pub fn ask(&self, script: &str) -> Value {
        self.browser.ask(script)
    }

    #[track_caller]
    pub fn until(&self, script: &str) -> Value {
        self.browser.ask_until(script, SOON)
    }

    /// Everything that was seen.
    pub fn seen(&self) -> Vec<Seen> {
        serde_json::from_value(self.ask("return seen")).expect("it is made of these")
    }

    /// Waits until what was seen is as wanted.
    #[track_caller]
    pub fn see(&self, what: impl Display, fact: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        let look = || Some(self.seen()).filter(|seen| fact(seen));
        eventually_or(SOON, look, || {
            let state = self.ask("return JSON.stringify([player.stats, told.slice(-12), seen.slice(-4)], null, 1)");
            format!("{what}\n{}", state.as_str().unwrap_or_default())
        })
    }

    /// Waits for that many more pictures whose clocks can be read.
    #[track_caller]
    pub fn see_more(&self, count: usize) -> Vec<Seen> {
        let before = self.seen().len();
        let read = |seen: &[Seen]| seen.iter().skip(before).filter(|seen| seen.clock.is_some()).count();
        let seen = self.see(format!("{count} more pictures"), |seen| read(seen) >= count);
        seen[before..].to_vec()
    }

    /// Events of a type.
    pub fn told(&self, kind: &str) -> usize {
        let told = self.ask(&format!("return told.filter(([type]) => type === '{kind}').length"));
        usize::try_from(told.as_u64().expect("a length")).expect("it is small")
    }
}
