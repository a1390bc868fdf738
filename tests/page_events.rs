//! What the page makes of what analysers say: events with pictures, and zones that are drawn by hand.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::page::{LIVE, check, moves};
use crate::stage::browser::Browser;
use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, SOON, scene};

/// Whatever the camera `ball` shows is a cat: two labels to choose from.
const CAT: &str = "
    const rename = (value) => {
        if (value === null || typeof value !== 'object') return value;
        if (value.camera === 'ball' && value.label === 'motion') value.label = 'cat';
        Object.values(value).forEach(rename);
        return value;
    };
    const [parse, json] = [JSON.parse, Response.prototype.json];
    JSON.parse = (...what) => rename(parse(...what));
    Response.prototype.json = async function () { return rename(await json.call(this)); }";

/// Whether a picture of the strip, of what the square did and that has ended, is bright in the middle.
const BRIGHT: &str = "
    return all('.seen[data-camera=square]').filter((card) => card.querySelector('.lasted')).some((card) => {
        const canvas = card.querySelector('canvas:not([hidden])');
        if (!canvas) return false;
        const { data } = canvas.getContext('2d').getImageData(canvas.width / 2 - 5, canvas.height / 2 - 5, 10, 10);
        return data.filter((value, index) => index % 4 < 3).reduce((sum, value) => sum + value, 0) / 300 > 200;
    })";

#[test]
fn what_comes_into_a_picture_is_an_event_with_its_picture() {
    let runtime = Runtime::new();
    let file = scene::square(&runtime, "square", scene::passing);
    let valkka = Orchestrator::start(&runtime, &["run", &file.to_string_lossy(), "ball=test:ball"]);
    valkka.live(LIVE);
    let browser = Browser::start(&runtime);
    browser.prepare_pages(CAT);
    browser.open(&valkka.address);
    moves(&browser, "square");

    // It comes, and is there; it goes, and how long it was there is told.
    browser.ask_until("return all('.seen[data-camera=square] .now').length > 0", LIVE);
    let texts = "all('.seen[data-camera=square] .lasted').map((lasted) => lasted.textContent)";
    let lasted = browser.ask_until(&format!("return {texts}.find((text) => text) ?? null"), LIVE);
    assert!(lasted.as_str().is_some_and(|lasted| lasted.ends_with(" s") || lasted.ends_with("min")), "{lasted}");
    // What came while its camera did not play here has the whole picture: another one comes.
    browser.ask_until(BRIGHT, LIVE);

    // The newest stands first.
    browser.ask_until("return all('.seen[data-camera=square]').length > 1", LIVE);
    let times = browser.ask("return all('.seen time').map((time) => time.dateTime)");
    let times: Vec<_> = times.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "{times:?}");

    browser.ask_until("return all('.seen[data-camera=ball]').length > 0", LIVE);
    browser.keep_picture("events-1280x900-light");
    let choose = |filter: &str, value: &str| {
        browser.ask(&format!(
            "const select = document.querySelector('.detections [name={filter}]');
             select.value = '{value}'; select.dispatchEvent(new Event('change'));"
        ));
        browser.ask(
            "const shown = all('.seen').filter((card) => card.checkVisibility());
             return [[...new Set(shown.map((card) => card.dataset.camera))].sort(),
                     [...new Set(shown.map((card) => card.dataset.label))].sort()]",
        )
    };
    assert_eq!(choose("camera", "square"), json!([["square"], ["motion"]]));
    assert_eq!(choose("label", "cat"), json!([[], []]));
    let nothing = browser.ask("return document.querySelector('.detections .nothing').innerText");
    assert_eq!(nothing, "Nothing of this kind has been seen yet.");
    assert_eq!(choose("camera", ""), json!([["ball"], ["cat"]]));
    assert_eq!(choose("label", ""), json!([["ball", "square"], ["cat", "motion"]]));
    check(&browser, "events");

    browser.ask("document.querySelector('.seen[data-camera=square] a').click()");
    browser.ask_until("return document.querySelector('.camera-details h2').textContent === 'square'", SOON);
}

/// Where a place of the picture (shares of it) is in the window.
fn place(browser: &Browser, x: f64, y: f64) -> (f64, f64) {
    let at = browser.ask(&format!(
        "const {{ left, top, width, height }} = document.querySelector('.screen .zones').getBoundingClientRect();
         const w = Math.min(width, height * 16 / 9), h = w * 9 / 16;
         return [left + (width - w) / 2 + {x} * w, top + (height - h) / 2 + {y} * h]"
    ));
    (at[0].as_f64().expect("a number"), at[1].as_f64().expect("a number"))
}

#[test]
fn zones_that_are_drawn_are_written_down_and_watched() {
    let runtime = Runtime::new();
    let film = scene::square(&runtime, "film", scene::passing);
    let file = runtime.path("valkka.toml");
    let text = format!("# My cameras.\n[cameras.square] # the only one\nuri = \"{}\"\n", film.display());
    fs::write(&file, text).expect("the test's folder is writable");
    let valkka = Orchestrator::start(&runtime, &["run", &file.to_string_lossy()]);
    valkka.live(LIVE);
    let browser = Browser::start(&runtime);
    browser.open(&format!("{}#camera=square", valkka.address));
    moves(&browser, "square");

    // The left half, by mouse.
    browser.ask_until("return !document.querySelector('.edit-zones').disabled", SOON);
    browser.ask("document.querySelector('.edit-zones').click()");
    browser.ask_until("return document.activeElement.matches('.editor [type=text]')", SOON);
    browser.type_text("left");
    for (corner, (x, y)) in [(0.02, 0.05), (0.5, 0.05), (0.5, 0.95), (0.02, 0.95)].into_iter().enumerate() {
        let (x, y) = place(&browser, x, y);
        browser.click(x, y);
        browser.ask_until(&format!("return all('.corner').length === {}", corner + 1), SOON);
    }
    browser.keep_picture("zones-1280x900-light");
    // A triangle, by keyboard alone.
    browser.ask("document.querySelector('.editor .add').focus()");
    browser.press("Enter");
    browser.ask_until("return document.activeElement.matches('.editor li:nth-child(2) [type=text]')", SOON);
    browser.type_text("middle");
    browser.press("Enter");
    let told = browser.ask_until("return document.querySelector('.editor .problem').textContent || null", SOON);
    assert!(told.as_str().is_some_and(|told| told.contains("“middle” needs at least three corners")), "{told}");
    for corners in 1..=4 {
        browser.ask("document.querySelector('.editor .add-corner').focus()");
        browser.press("Enter");
        browser.ask_until(&format!("return all('.corner').length === {corners}"), SOON);
        assert_eq!(browser.ask("return document.activeElement.className"), "corner");
    }
    browser.press("Delete");
    browser.ask_until("return all('.corner').length === 3 && document.activeElement.matches('.corner')", SOON);
    let label = "return document.activeElement.getAttribute('aria-label')";
    let before = browser.ask(label);
    browser.press("ArrowRight");
    assert_ne!(browser.ask(label), before);
    browser.ask("document.querySelector('.editor [type=text]').focus()");
    browser.press("Enter");
    browser.ask_until("return document.querySelector('.editor').hidden", SOON);

    // On disk, beside what else is there; in the API; and again in the editor.
    let written = fs::read_to_string(&file).expect("it is there");
    assert!(written.starts_with("# My cameras.\n[cameras.square] # the only one\n"), "{written}");
    let table: toml::Table = written.parse().expect("it is TOML");
    let zones =
        serde_json::to_value(&table["cameras"]["square"]["analysis"]["parameters"]["zones"]).expect("TOML is JSON");
    assert_eq!((&zones[0]["name"], &zones[1]["name"]), (&json!("left"), &json!("middle")), "{written}");
    for (corner, expected) in [[0.02, 0.05], [0.5, 0.05], [0.5, 0.95], [0.02, 0.95]].iter().enumerate() {
        for (axis, value) in expected.iter().enumerate() {
            let drawn = zones[0]["polygon"][corner][axis].as_f64().expect("a number");
            assert!((drawn - value).abs() < 0.01, "{zones}");
        }
    }
    assert_eq!(zones[1]["polygon"].as_array().map(Vec::len), Some(3));
    let mut checked = runtime.start(runtime.command("valkka").args(["check"]).arg(&file));
    checked.finish(SOON);
    browser.open(&format!("{}#camera=square", valkka.address));
    moves(&browser, "square");
    browser.ask_until("return !document.querySelector('.edit-zones').disabled", SOON);
    browser.ask("document.querySelector('.edit-zones').click()");
    browser.ask_until("return all('.editor [type=text]').map(({ value }) => value).join() === 'left,middle'", SOON);
    browser.press("Escape");
    browser.ask_until(
        "return document.querySelector('.editor').hidden && !document.querySelector('.camera-details').hidden",
        SOON,
    );

    // The analyser knows them: who comes in and who leaves is told.
    let mut events = valkka.events("object");
    let (mut entered, mut left) = (false, false);
    let deadline = Instant::now() + LIVE;
    while !(entered && left) {
        assert!(Instant::now() < deadline, "it comes ({entered}) and leaves ({left})\n{}", valkka.status());
        let life = events.next("object");
        let is_in =
            |state: &str| life[state]["current_zones"].as_array().is_some_and(|zones| zones.contains(&json!("left")));
        entered |= !is_in("before") && is_in("after");
        left |= is_in("before") && !is_in("after");
    }
    browser.ask_until("return all('.seen .zones').some((zones) => zones.textContent.includes('left'))", LIVE);
}
