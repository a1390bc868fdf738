//! The player under a hand, a keyboard, and for those who do not see it.

use serde_json::json;

use crate::codecs::{ENCODED, SINK};
use crate::page::Page;
use crate::scene::{Camera, scene};

fn watched(mode: &str) -> (Camera, Page) {
    let camera = Camera::start(&format!("{} ! {ENCODED} ! {SINK}", scene(320, 240)));
    let page = Page::open(camera.port());
    page.watch(mode);
    page.see_more(5);
    (camera, page)
}

/// A key, as the browser itself would send it.
fn press(page: &Page, key: &str) {
    page.ask(&format!(
        "(player.shadowRoot.activeElement ?? document.activeElement).dispatchEvent(
           new KeyboardEvent('keydown', {{ key: '{key}', bubbles: true, composed: true, cancelable: true }}))"
    ));
}

#[test]
fn keys_pause_and_show_figures() {
    let (_camera, page) = watched("auto");
    page.ask("player.focus(); return 0");
    assert_eq!(page.ask("return document.activeElement === player"), true);
    press(&page, "i");
    // For a moment it may say something else than "playing".
    page.until(
        "const list = all('.figures')[0];
         const parts = ['state', 'playing', 'WebCodecs', '320×240', 'avc1.', 'delay', 'dropped'];
         return !list.hidden && parts.every((part) => list.innerText.includes(part))",
    );
    press(&page, "I");
    page.until("return all('.figures')[0].hidden");

    press(&page, " ");
    page.until("return player.paused && player.state === 'paused'");
    assert_eq!(page.ask("return all('[data-act=pause]')[0].getAttribute('aria-pressed')"), "true");
    press(&page, "k");
    page.until("return !player.paused && player.state === 'playing'");
    page.see_more(5);
}

#[test]
fn buttons_do_what_keys_do() {
    let (_camera, page) = watched("mse");
    page.ask("all('[data-act=figures]')[0].click(); return 0");
    page.until("return !all('.figures')[0].hidden && player.hasAttribute('figures')");
    page.ask("all('[data-act=pause]')[0].click(); return 0");
    page.until("return player.state === 'paused' && player.video.paused");
    page.ask("all('[data-act=pause]')[0].click(); return 0");
    page.until("return player.state === 'playing'");
    page.see_more(5);
    // No sound, no button for it; each of the others has a name.
    assert_eq!(page.ask("return all('[data-act=sound]')[0].hidden"), true);
    assert_eq!(page.ask("return all('button').every((button) => button.getAttribute('aria-label'))"), true);
}

#[test]
fn an_address_that_is_none_is_told_and_can_be_put_right() {
    let (_camera, page) = watched("auto");
    page.ask("player.setAttribute('src', 'http://['); return 0");
    page.until("return player.state === 'error' && all('.notice')[0].textContent.includes('URL')");
    page.ask("player.setAttribute('src', '/api/ws?src=stream'); return 0");
    page.until("return player.state === 'playing'");
}

#[test]
fn what_happens_is_told_to_screen_readers() {
    let (camera, page) = watched("auto");
    let said = "return [player.getAttribute('role'), player.getAttribute('aria-label'), player.tabIndex,
        all('.notice')[0].getAttribute('role')]";
    assert_eq!(page.ask(said), json!(["group", "live video", 0, "status"]));
    page.until("return all('.notice')[0].textContent === 'live'");
    drop(camera);
    page.until("return all('.notice')[0].textContent.includes('trying again')");
    let visible = "return getComputedStyle(all('.notice')[0]).opacity === '1'";
    page.until(visible);
}
