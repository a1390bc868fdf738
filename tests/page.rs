//! The page in a real browser: cameras come, are seen, fail, come back and go; boxes stand on what they are about.

use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::browser::Browser;
use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, eventually, eventually_or, scene};

pub const LIVE: Duration = Duration::from_secs(90);

/// A number that says what the picture of a camera looks like now: two pictures that differ have others.
fn picture_of(camera: &str) -> String {
    format!(
        "const player = document.querySelector('[data-camera={camera}] valkka-video');
         if (!player || player.state !== 'playing') return 0;
         const canvas = Object.assign(document.createElement('canvas'), {{ width: 64, height: 36 }});
         const context = canvas.getContext('2d');
         context.drawImage(player.picture, 0, 0, 64, 36);
         const {{ data }} = context.getImageData(0, 0, 64, 36);
         let sum = 1;
         for (let at = 0; at < data.length; at += 4) sum = (sum * 31 + data[at] + 2 * data[at + 1]) % 1000003;
         return data.some((value, at) => at % 4 < 3 && value > 0) ? sum : 0"
    )
}

/// Waits until the decoded picture of a camera changes.
#[track_caller]
pub fn moves(browser: &Browser, camera: &str) {
    let first = browser.ask_until(&picture_of(camera), LIVE);
    let other = || Some(browser.ask(&picture_of(camera))).filter(|now| *now != 0 && *now != first);
    eventually(&format!("the picture of {camera} changes"), LIVE, other);
}

#[track_caller]
fn kill(valkka: &Orchestrator, process: &str) {
    let pid = valkka.process(process)["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).expect("it runs");
    signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
}

fn badge(camera: &str) -> String {
    format!("document.querySelector('[data-camera={camera}] .badge')?.textContent")
}

#[test]
fn a_camera_is_added_seen_killed_seen_again_and_removed() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", "first=test:ball"]);
    let browser = Browser::start(&runtime);
    browser.open(&valkka.address);
    browser.ask_until(&format!("return {} === 'live'", badge("first")), LIVE);

    // Added by the dialog, as a person does it. What is wrong is told there.
    let fill = |uri: &str, name: &str| {
        browser.ask(&format!(
            "const dialog = document.querySelector('#add');
             if (!dialog.open) document.querySelector('header .add-camera').click();
             const {{ uri, name, submit }} = dialog.querySelector('form').elements;
             uri.value = '{uri}'; name.value = '{name}'; submit.click()"
        ));
    };
    fill("ftp://nobody/", "");
    let told = browser.ask_until("return document.querySelector('#add .problem').textContent || null", LIVE);
    assert!(told.as_str().is_some_and(|told| told.contains("ftp://nobody/")), "{told}");
    fill("test:ball", "second");
    browser.ask_until("return !document.querySelector('#add').open", LIVE);
    browser.ask_until(&format!("return {} === 'live'", badge("second")), LIVE);
    moves(&browser, "second");

    // Whatever it is in between, it is not live, and says why; then it is back, in the same page.
    browser.ask(&format!(
        "window.seen = []; const camera = document.querySelector('[data-camera=second]');
         new MutationObserver(() => window.seen.push([{}, camera.querySelector('.offline span').textContent]))
             .observe(camera, {{ attributes: true, attributeFilter: ['data-state'] }})",
        badge("second")
    ));
    kill(&valkka, "second.capture");
    let seen = browser.ask_until("return window.seen.find(([state]) => state === 'lost') ?? null", LIVE);
    assert!(seen[1].as_str().is_some_and(|reason| reason.contains("KILL")), "{seen}");
    browser.ask_until(&format!("return {} === 'live'", badge("second")), LIVE);
    moves(&browser, "second");
    let restarts = "document.querySelector('details.processes').open = true;
        return Number(document.querySelector('tr[data-process=\"second.capture\"] [data-column=Restarts]')?.textContent) >= 1";
    browser.ask_until(restarts, LIVE);

    browser.ask("location.hash = 'camera=second'");
    browser.ask_until("return !document.querySelector('.camera-details').hidden", LIVE);
    browser.ask("document.querySelector('.camera-details .remove').click()");
    browser.ask_until("return document.querySelector('#remove').open", LIVE);
    browser.ask("document.querySelector('#remove').querySelector('form').elements.submit.click()");
    browser.ask_until("return !document.querySelector('.camera[data-camera=second]')", LIVE);
    browser.ask_until("return document.querySelector('.camera-details').hidden", LIVE);
    assert_eq!(valkka.status()["cameras"].as_array().map(Vec::len), Some(1));
    moves(&browser, "first");
}

#[test]
fn the_page_fits_any_window_in_light_and_dark() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["demo"]);
    valkka.live(LIVE);
    let browser = Browser::start(&runtime);
    for (width, height) in [(1280, 800), (390, 844)] {
        for theme in ["dark", "light"] {
            browser.look(width, height, theme);
            browser.open(&valkka.address);
            browser.ask_until("return document.querySelectorAll('.camera[data-state=live]').length === 3", LIVE);
            browser.ask_until("return document.querySelectorAll('.seen canvas:not([hidden])').length > 2", LIVE);
            check(&browser, &format!("{width}x{height} {theme} grid"));
            let save = |view: &str| browser.keep_picture(&format!("{view}-{width}x{height}-{theme}"));
            save("grid");
            browser.ask("location.hash = 'camera=gate'");
            browser.ask_until("return !document.querySelector('.camera-details').hidden", LIVE);
            moves(&browser, "gate");
            check(&browser, &format!("{width}x{height} {theme} single"));
            save("single");
            browser.ask("location.hash = ''; document.querySelector('details.processes').open = true");
            browser.ask_until("return document.querySelectorAll('.processes tbody tr').length === 8", LIVE);
            browser.ask("document.querySelector('tr[data-process=\"lobby.web\"] button').click()");
            browser.ask_until("return document.querySelectorAll('.log li').length > 0", LIVE);
            browser.ask("document.querySelector('.processes').scrollIntoView()");
            check(&browser, &format!("{width}x{height} {theme} processes"));
            save("processes");
        }
    }
}

/// With each picture on the screen: where the square is in it, and where the box around it was drawn; -1 where none was.
const MEASURE: &str = "
    window.overlaps = [];
    const tile = document.querySelector('[data-camera=square]');
    const player = tile.querySelector('valkka-video');
    const [seen, drawn] = [0, 1].map(() => new OffscreenCanvas(640, 360).getContext('2d', { willReadFrequently: true }));
    player.addEventListener('frame', () => {
        seen.drawImage(player.picture, 0, 0, 640, 360);
        const overlay = tile.querySelector('canvas');
        const height = Math.min(overlay.height, overlay.width * 9 / 16), width = height * 16 / 9;
        drawn.clearRect(0, 0, 640, 360);
        drawn.drawImage(overlay, (overlay.width - width) / 2, (overlay.height - height) / 2, width, height, 0, 0, 640, 360);
        const picture = seen.getImageData(0, 0, 640, 360).data, boxes = drawn.getImageData(0, 0, 640, 360).data;
        const square = { x1: 640, y1: 360, x2: -1, y2: -1 };
        for (let y = 0; y < 360; y++) for (let x = 0; x < 640; x++) if (picture[4 * (640 * y + x)] > 128) {
            square.x1 = Math.min(square.x1, x); square.x2 = Math.max(square.x2, x + 1);
            square.y1 = Math.min(square.y1, y); square.y2 = Math.max(square.y2, y + 1);
        }
        if (square.x2 - square.x1 < 70) return;
        const marked = (x, y) => { const at = 4 * (640 * y + x); return boxes[at + 3] > 60 && boxes[at] > 120 && boxes[at] - boxes[at + 2] > 50; };
        // From the middle of the square to each side, up to the first line.
        const ray = (dx, dy) => {
            let x = Math.round((square.x1 + square.x2) / 2), y = Math.round((square.y1 + square.y2) / 2);
            while (x >= 0 && x < 640 && y >= 0 && y < 360) { if (marked(x, y)) return dx === 0 ? y : x; x += dx; y += dy; }
            return null;
        };
        const [x1, x2, y1, y2] = [ray(-1, 0), ray(1, 0), ray(0, -1), ray(0, 1)];
        if ([x1, x2, y1, y2].includes(null)) { window.overlaps.push(boxes.some((v, i) => i % 4 === 3 && v > 60) ? 0 : -1); return; }
        const both = Math.max(0, Math.min(x2, square.x2) - Math.max(x1, square.x1)) * Math.max(0, Math.min(y2, square.y2) - Math.max(y1, square.y1));
        const either = (x2 - x1) * (y2 - y1) + (square.x2 - square.x1) * (square.y2 - square.y1) - both;
        window.overlaps.push(both / either);
    })";

/// What an analyser that takes 300 ms looks like to the page.
const SLOW_ANALYSIS: &str = "
    const quick = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');
    Object.defineProperty(WebSocket.prototype, 'onmessage', {
        ...quick,
        set(listener) {
            const late = (event) => typeof event.data === 'string' && event.data.startsWith('{\"type\":\"detections\"')
                ? setTimeout(() => listener.call(this, event), 300) : listener.call(this, event);
            quick.set.call(this, late);
        },
    })";

#[track_caller]
fn boxes_are_over_the_square(prepare: Option<&str>) {
    let runtime = Runtime::new();
    let file = scene::square(&runtime, "square", scene::visiting);
    let valkka = Orchestrator::start(&runtime, &["run", &file.to_string_lossy()]);
    valkka.live(LIVE);
    let browser = Browser::start(&runtime);
    if let Some(script) = prepare {
        browser.prepare_pages(script);
    }
    browser.open(&valkka.address);
    moves(&browser, "square");
    // The analyser learns what the background is, and the page how long an answer takes.
    browser.ask_until("return document.querySelector('[data-camera=square] valkka-video').delay > 0", LIVE);
    browser.ask_until("return Number(document.querySelector('[data-camera=square]').dataset.boxes)", LIVE);
    browser.ask(MEASURE);
    let latest = || -> Vec<f64> {
        let overlaps = browser.ask("return window.overlaps.slice(-150)");
        overlaps.as_array().expect("a list").iter().filter_map(Value::as_f64).collect()
    };
    // A machine that has no time for a moment draws none, or late. Where the square turns round, and where the analyser takes two things
    // for one, a box may be off.
    let well_drawn = || {
        let all = latest();
        let drawn = all.iter().filter(|&&overlap| overlap >= 0.0).count();
        let over = all.iter().filter(|&&overlap| overlap > 0.6).count();
        (all.len() == 150 && over * 10 >= drawn * 9 && drawn * 2 >= all.len()).then_some(())
    };
    eventually_or(LIVE, well_drawn, || format!("nine of ten boxes are over the square: {:.2?}", latest()));
}

#[test]
fn a_box_is_drawn_over_what_it_is_about() {
    boxes_are_over_the_square(None);
}

#[test]
fn a_box_is_drawn_over_what_it_is_about_also_when_the_answer_is_late() {
    boxes_are_over_the_square(Some(SLOW_ANALYSIS));
}

/// Nothing is wider than the window, nothing that can be pressed has no name, no text is of its ground's colour.
#[track_caller]
pub fn check(browser: &Browser, what: &str) {
    let wrong = browser.ask(
        "const wrong = [];
         if (document.documentElement.scrollWidth > innerWidth) wrong.push(`${document.documentElement.scrollWidth} wide`);
         for (const element of all('button, a[href], select, input')) {
             if (!element.checkVisibility()) continue;
             const name = element.getAttribute('aria-label') || element.textContent.trim() || element.labels?.[0]?.textContent;
             if (!name) wrong.push(`without a name: ${element.outerHTML}`);
         }
         for (const element of document.querySelectorAll('h1, h2, h3, td, dd, dt, .badge, .summary')) {
             if (getComputedStyle(element).color === getComputedStyle(document.body).backgroundColor) wrong.push(element.outerHTML);
         }
         return wrong",
    );
    assert_eq!(wrong, Value::Array(Vec::new()), "{what}");
}
