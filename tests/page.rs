//! The page in a real browser: cameras come, are seen, fail, come back and go; boxes stand on what they are about.

use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stage::browser::Browser;
use crate::stage::orchestrator::Orchestrator;
use crate::stage::runtime::PROGRAMS;
use crate::stage::{Runtime, eventually};

const LIVE: Duration = Duration::from_secs(90);

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
fn moves(browser: &Browser, camera: &str) {
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
    let told = browser.ask_until("return document.querySelector('#add .problem').textContent", LIVE);
    assert!(told.as_str().is_some_and(|told| told.contains("rtsp://")), "{told}");
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
    let seen = browser.ask_until("return window.seen.length > 0 && window.seen", LIVE);
    assert_eq!(seen[0][0], "lost", "{seen}");
    assert!(seen[0][1].as_str().is_some_and(|reason| reason.contains("KILL")), "{seen}");
    browser.ask_until(&format!("return {} === 'live'", badge("second")), LIVE);
    moves(&browser, "second");
    let restarts = "document.querySelector('details.processes').open = true;
        return document.querySelector('tr[data-process=\"second.capture\"] [data-column=Restarts]')?.textContent === '1'";
    browser.ask_until(restarts, LIVE);

    browser.ask("location.hash = 'camera=second'");
    browser.ask_until("return !document.querySelector('.camera-details').hidden", LIVE);
    browser.ask("document.querySelector('.camera-details .remove').click()");
    browser.ask_until("return document.querySelector('#remove').open", LIVE);
    browser.ask("document.querySelector('#remove').querySelector('form').elements.submit.click()");
    browser.ask_until("return !document.querySelector('[data-camera=second]')", LIVE);
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
    let folder = PROGRAMS.join("page");
    std::fs::create_dir_all(&folder).expect("cargo's folder is writable");
    for (width, height) in [(1280, 800), (390, 844)] {
        for theme in ["dark", "light"] {
            browser.look(width, height, theme);
            browser.open(&valkka.address);
            browser.ask_until("return document.querySelectorAll('.camera[data-state=live]').length === 3", LIVE);
            browser.ask_until("return document.querySelectorAll('.seen canvas:not([hidden])').length > 2", LIVE);
            check(&browser, &format!("{width}x{height} {theme} grid"));
            let save = |view: &str| {
                let name = format!("{view}-{width}x{height}-{theme}.png");
                std::fs::write(folder.join(name), browser.screenshot()).expect("cargo's folder is writable");
            };
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

/// Nothing is wider than the window, nothing that can be pressed has no name, no text is of its ground's colour.
#[track_caller]
fn check(browser: &Browser, what: &str) {
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
