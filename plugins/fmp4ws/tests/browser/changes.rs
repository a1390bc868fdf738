//! What happens to a viewer: it comes late, is slow, is not looked at, loses its server.

use std::time::{SystemTime, UNIX_EPOCH};

use gst::prelude::*;
use serde_json::{Value, json};

use crate::codecs::{AAC, ENCODED, SINK, assert_plays_right, assert_right};
use crate::page::{Page, Seen};
use crate::pipeline::Pipeline;
use crate::scene::{Camera, scene};
use crate::slow_line::SlowLine;

fn description() -> String {
    format!("{} ! {ENCODED} ! {SINK}", scene(320, 240))
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs_f64()
}

/// Waits until what is on the screen is hardly older than the newest frame that the sink has got.
#[track_caller]
fn assert_live(page: &Page, camera: &Camera) {
    page.see("the newest pictures", |seen| {
        let newest = seen.last().and_then(|seen| seen.clock);
        newest.is_some_and(|newest| newest + 1500 > camera.newest_ms())
    });
}

fn with_modes(test: impl Fn(&str)) {
    ["mse", "webcodecs"].into_iter().for_each(test);
}

#[test]
fn a_late_viewer_sees_a_picture_at_once_and_catches_up() {
    // A keyframe every 20 s: who waits for one fails.
    let long = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=500 ! h264parse";
    let camera = Camera::start(&format!("{} ! {long} ! {SINK}", scene(320, 240)));
    let page = Page::open(camera.port());
    with_modes(|mode| {
        page.watch(mode);
        let seen = page.see_more(5);
        assert!(seen.iter().all(|seen| seen.clock.is_some()), "{mode}: {seen:?}");
        assert_live(&page, &camera);
        page.until("return player.state === 'playing'");
    });
}

#[test]
fn a_viewer_whose_page_hangs_goes_on_at_the_live_edge() {
    let camera = Camera::start(&description());
    let page = Page::open(camera.port());
    with_modes(|mode| {
        page.watch(mode);
        page.see_more(10);
        // The page does nothing for four seconds: nothing is drawn and nothing taken from the connection.
        page.ask("const end = performance.now() + 4000; while (performance.now() < end) {} return 0");
        let seen = page.see_more(20);
        assert_live(&page, &camera);
        assert!(seen.is_sorted_by(|a, b| a.clock <= b.clock), "{mode}: pictures go back: {seen:?}");
        assert_eq!(page.ask("return player.stats.reconnects"), 0, "{mode}");
    });
}

#[test]
fn a_viewer_that_takes_too_little_misses_pictures_and_goes_on() {
    // Noise, so that a picture has some 50 kB: a line that lets through a fifth of that is too slow, and the server's queue
    // has room for a few.
    let noise = scene(320, 240).replace("pattern=ball", "pattern=snow");
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 quantizer=18 pass=quant ! h264parse";
    let camera = Camera::start(&format!("{noise} ! {encoder} ! {SINK} max-queue-bytes=400000"));
    let line = SlowLine::start(camera.port());
    let page = Page::open(line.port());
    with_modes(|mode| {
        page.watch(mode);
        page.see_more(5);
        line.slow(true);
        page.until("return player.stats.droppedByServer > 0");
        let seen = page.see_more(2);
        assert!(seen.is_sorted_by(|a, b| a.clock <= b.clock), "{mode}: pictures go back: {seen:?}");
        line.slow(false);
        page.see_more(10);
        assert_live(&page, &camera);
        assert_eq!(page.ask("return player.stats.reconnects"), 0, "{mode}");
    });
}

#[test]
fn a_hidden_tab_costs_nothing_and_is_live_when_it_is_shown_again() {
    let camera = Camera::start(&description());
    let page = Page::open(camera.port());
    with_modes(|mode| {
        page.watch(mode);
        page.see_more(10);
        page.ask("window.other = open('about:blank'); return 0");
        page.until("return document.hidden && player.state === 'paused'");
        let away = camera.newest_ms();
        let count = page.seen().len();
        // Longer than a player would wait for a server that is silent.
        page.until(&format!("return Date.now() / 1000 > {}", now_s() + 4.0));
        assert!(page.seen().len() <= count + 2, "{mode}: pictures are shown to nobody");
        page.ask("other.close(); return 0");
        page.until("return !document.hidden && player.state === 'playing'");
        let seen = page.see_more(10);
        assert!(seen.last().and_then(|seen| seen.clock) > Some(away), "{mode}: {seen:?}");
        assert_live(&page, &camera);
    });
}

#[test]
fn after_a_restart_of_the_server_the_player_comes_back() {
    let first = Camera::start(&description());
    let port = first.port();
    let page = Page::open(port);
    with_modes(|mode| {
        page.watch(mode);
        page.see_more(5);
    });
    drop(first);
    page.until("return player.state === 'connecting' && told.some(([type]) => type === 'state')");
    let again = Camera::start_again(&description().replace("port=0", &format!("port={port}")));
    page.until("seen.length = 0; return player.state === 'playing'");
    assert_plays_right(&page, &again);
    assert!(page.ask("return player.stats.reconnects").as_u64() > Some(0));
}

#[test]
fn a_change_of_size_goes_on_without_a_break() {
    with_modes(|mode| {
        let camera = Camera::start(&description());
        let page = Page::open(camera.port());
        page.watch(mode);
        page.see_more(10);
        camera.resize(480, 272);
        let large = |seen: &&Seen| seen.width == 480 && seen.drawn == (480, 272) && seen.clock.is_some();
        let seen = page.see("pictures of the new size", |seen| seen.iter().filter(large).count() >= 30);
        let after: Vec<_> = seen.iter().filter(large).cloned().collect();
        assert_right(&after, &camera);
        assert_eq!(page.told("reinit"), 1, "{mode}");
        assert_eq!(page.ask("return player.stats.reconnects"), 0, "{mode}");
        assert_live(&page, &camera);
    });
}

#[test]
fn sound_that_comes_late_and_goes_again_lets_the_picture_go_on() {
    let sound = format!("{AAC} ! valve name=valve drop=true ! sink.audio");
    let camera = Camera::start(&format!("{} {sound}", description()));
    let page = Page::open(camera.port());
    with_modes(|mode| {
        page.watch(mode);
        page.see_more(5);
        assert_eq!(page.ask("return all('[data-act=sound]')[0].hidden"), true);

        camera.sound(true);
        page.until("seen.length = 0; return player.stats.mime?.includes('mp4a')");
        assert_plays_right(&page, &camera);
        assert_eq!(page.ask("return all('[data-act=sound]')[0].hidden"), false);
        if mode == "mse" {
            page.ask("player.muted = false; return 0");
            page.until("return !player.video.muted && player.video.webkitAudioDecodedByteCount > 20000");
            page.see_more(10);
        }

        camera.sound(false);
        page.until("seen.length = 0; return player.stats.mime?.includes('mp4a') === false");
        assert_plays_right(&page, &camera);
        assert_live(&page, &camera);
        assert_eq!(page.ask("return [player.stats.mode, player.stats.reconnects]"), json!([mode, 0]));
        assert_eq!(page.told("reinit"), 2, "{mode}");
    });
}

#[test]
fn a_file_that_is_played_again_is_shown_again() {
    let folder = tempfile::tempdir().expect("there is room");
    let file = folder.path().join("film.mp4");
    let film = scene(320, 240).replace("is-live=true", "num-buffers=100");
    Camera::start(&format!("{film} ! {ENCODED} ! mp4mux ! filesink location={}", file.display())).wait_end();

    let film =
        Pipeline::null(&format!("filesrc location={} ! qtdemux ! h264parse ! clocksync ! {SINK}", file.display()));
    film.play();
    let page = Page::open(film.port());
    with_modes(|mode| {
        page.watch(mode);
        page.until("return player.state === 'ended'");
        let now = gst::SystemClock::obtain().time().nseconds() as f64 / 1e6;
        film.0.seek_simple(gst::SeekFlags::FLUSH, gst::ClockTime::ZERO).expect("a file can be played again");
        // The film is short, and this test may be late: what counts is not what is seen from here on, but what belongs there.
        let again = |seen: &Seen| seen.clock.is_some() && seen.channel.is_some_and(|channel| channel > now);
        let mut seen = page.see("the film again", |seen| seen.iter().filter(|seen| again(seen)).count() >= 30);
        seen.retain(again);
        assert!(seen.is_sorted_by(|a, b| a.clock <= b.clock), "{mode}: pictures go back: {seen:?}");
        page.until("return player.state === 'ended'");
        assert_eq!(page.ask("return player.stats.reconnects"), 0, "{mode}");
    });
}

#[test]
fn pictures_that_are_kept_back_survive_a_change_of_size() {
    let camera = Camera::start(&description());
    let page = Page::open(camera.port());
    page.watch("webcodecs");
    // As long as boxes may need to be drawn over them.
    page.ask("player.delay = 0.6; return 0");
    page.see_more(30);
    camera.resize(480, 272);
    let seen = page.see("pictures of the new size", |seen| seen.last().is_some_and(|seen| seen.width == 480));
    // Those of the old size that still waited were shown at their time, and in order.
    assert_right(&seen, &camera);
    assert_plays_right(&page, &camera);
    assert_eq!(page.ask("return [player.stats.mode, player.stats.reconnects]"), json!(["webcodecs", 0]));
}

#[test]
fn a_browser_that_is_stuck_gets_another_connection() {
    let camera = Camera::start(&description());
    let page = Page::open(camera.port());
    page.watch("mse");
    page.see_more(5);
    // It takes everything and plays nothing, and says nothing of it.
    page.ask(
        "window.append = SourceBuffer.prototype.appendBuffer;
         SourceBuffer.prototype.appendBuffer = function () { setTimeout(() => this.dispatchEvent(new Event('updateend'))); };
         return 0",
    );
    page.until("return player.stats.reconnects > 0");
    page.ask("SourceBuffer.prototype.appendBuffer = append; seen.length = 0; return 0");
    assert_plays_right(&page, &camera);
}

#[test]
fn where_media_sources_are_managed_these_are_used() {
    let camera = Camera::start(&description());
    // As in Safari on telephones, in names at least.
    let managed = "
        window.made = 0;
        const Known = MediaSource;
        window.ManagedMediaSource = class extends Known { constructor() { super(); window.made++; } };
        delete window.MediaSource;";
    let page = Page::open_with(camera.port(), managed);
    page.watch("mse");
    assert_plays_right(&page, &camera);
    assert_eq!(page.ask("return made"), 1);
    assert_eq!(page.ask("return player.video.disableRemotePlayback"), true);
}

#[test]
fn where_webcodecs_cannot_media_source_does() {
    let camera = Camera::start(&description());
    let broken = "
        window.asked = 0;
        window.VideoDecoder = class extends VideoDecoder {
          configure() { window.asked++; throw new DOMException('not here', 'NotSupportedError'); }
        };";
    let page = Page::open_with(camera.port(), broken);
    page.watch("auto");
    assert_plays_right(&page, &camera);
    assert_eq!(page.ask("return player.stats.mode"), "mse");
    assert_ne!(page.ask("return asked"), Value::from(0));
}
