//! The page with more cameras than fit a window.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::page::check;
use crate::stage::browser::Browser;
use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, eventually_or};

const CAMERAS: usize = 60;
/// Sixty processes have to start.
const LIVE: Duration = Duration::from_secs(240);
const REST: Duration = Duration::from_secs(90);

/// Small pictures, and nobody who analyses them.
fn configuration() -> String {
    let mut text = "[analysis]\nenabled = false\n".to_owned();
    for number in 1..=CAMERAS {
        let values = "{ test-width = 160, test-height = 90, test-fps = 5 }";
        let _ = writeln!(text, "[cameras.c{number:02}]\nuri = \"test:ball\"\nvalues = {values}");
    }
    text
}

/// Names of those whose picture is in the window, and of those that play, or a complaint.
const PLAYING: &str = "
    const cameras = all('.camera').filter((camera) => !camera.hidden);
    const inside = (camera, margin) => {
        const { top, bottom } = camera.getBoundingClientRect();
        return bottom > -margin && top < innerHeight + margin;
    };
    const name = (camera) => camera.dataset.camera;
    return {
        seen: cameras.filter((camera) => inside(camera, -10)).map(name),
        near: cameras.filter((camera) => inside(camera, 110)).map(name),
        playing: all('.camera').filter((camera) => camera.querySelector('valkka-video')).map(name),
        moving: all('.camera').filter((camera) => camera.querySelector('valkka-video')?.state === 'playing').map(name),
    }";

fn names(value: &Value) -> BTreeSet<String> {
    value.as_array().expect("a list").iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Waits until those play that are seen, and no others but their neighbours; their names.
#[track_caller]
fn only_what_is_seen_plays(browser: &Browser) -> BTreeSet<String> {
    let right = || {
        let told = browser.ask(PLAYING);
        let [seen, near, playing, moving] = ["seen", "near", "playing", "moving"].map(|key| names(&told[key]));
        let right = !seen.is_empty() && seen.is_subset(&moving) && playing.is_subset(&near);
        right.then_some(playing)
    };
    eventually_or(LIVE, right, || browser.ask(PLAYING).to_string())
}

/// Waits until the web processes of these cameras run, and those of no others.
#[track_caller]
fn only_these_are_served(valkka: &Orchestrator, cameras: &BTreeSet<String>) {
    let serving = || {
        let status = valkka.status();
        let processes = status["processes"].as_array().expect("a status has processes").iter();
        let web = processes.filter(|process| process["kind"] == "web" && process["state"] == "running");
        web.filter_map(|process| process["camera"].as_str()).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    eventually_or(REST, || (serving() == *cameras).then_some(()), || format!("{:?}, not {cameras:?}", serving()));
}

#[test]
fn of_sixty_cameras_those_play_that_are_seen() {
    let runtime = Runtime::new();
    let file = runtime.path("valkka.toml");
    fs::write(&file, configuration()).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", &file.to_string_lossy()]);
    let browser = Browser::start(&runtime);
    browser.look(1280, 800, "dark");
    browser.open(&valkka.address);
    let live = format!("return all('.camera[data-state=live]').length === {CAMERAS}");
    browser.ask_until(&live, LIVE);
    let first = only_what_is_seen_plays(&browser);
    assert!(first.contains("c01") && !first.contains("c60") && first.len() < CAMERAS / 2, "{first:?}");
    only_these_are_served(&valkka, &first);
    check(&browser, "sixty, desktop");
    browser.keep_picture("sixty-1280x800-dark");

    // At the other end others play, and the first have been given back.
    browser.ask("all('.camera').at(-1).scrollIntoView({ block: 'end' })");
    let last = only_what_is_seen_plays(&browser);
    assert!(last.contains("c60") && last.is_disjoint(&first), "{last:?}");
    only_these_are_served(&valkka, &last);
    browser.keep_picture("sixty-end-1280x800-dark");

    // One is found by its name; one that is alone is large enough to be looked at.
    let find = |text: &str| {
        browser.ask(&format!(
            "const find = document.querySelector('.tools [name=find]');
             find.value = '{text}'; find.dispatchEvent(new Event('input'))"
        ));
        browser.ask("return all('.camera').filter((camera) => !camera.hidden).map((camera) => camera.dataset.camera)")
    };
    assert_eq!(find("c4").as_array().map(Vec::len), Some(10));
    assert_eq!(find("nobody"), json!([]));
    browser.ask_until("return document.querySelector('.none-found').checkVisibility()", LIVE);
    assert_eq!(find("c33"), json!(["c33"]));
    assert_eq!(only_what_is_seen_plays(&browser), BTreeSet::from(["c33".to_owned()]));
    find("");

    // The way past all pictures is one press.
    browser.ask("document.querySelector('.tools [data-jump=\".processes\"]').click()");
    let table = "const { top } = document.querySelector('.processes').getBoundingClientRect(); return top >= 0 && top < innerHeight / 2";
    browser.ask_until(table, LIVE);
    browser.ask_until(&format!("return all('.processes tbody tr').length === {}", 2 * CAMERAS), LIVE);
    browser.keep_picture("sixty-processes-1280x800-dark");

    browser.look(390, 844, "light");
    browser.open(&valkka.address);
    browser.ask_until(&live, LIVE);
    let phone = only_what_is_seen_plays(&browser);
    assert!(phone.len() >= 8 && phone.len() < CAMERAS / 2, "{phone:?}");
    check(&browser, "sixty, phone");
    browser.keep_picture("sixty-390x844-light");
}
