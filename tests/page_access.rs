//! Who gets to see the page, and how it is used without a mouse.

use std::fs;

use serde_json::{Value, json};

use crate::page::{LIVE, check, moves};
use crate::stage::browser::Browser;
use crate::stage::orchestrator::Orchestrator;
use crate::stage::{Runtime, SOON};

/// A configuration with TLS and a token, and the certificate that a client has to know.
fn guarded(runtime: &Runtime) -> String {
    let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), "localhost".into()]);
    let signed = signed.expect("a certificate can be made");
    let write = |name: &str, text: &str| fs::write(runtime.path(name), text).expect("the test's folder is writable");
    write("cert.pem", &signed.cert.pem());
    write("key.pem", &signed.signing_key.serialize_pem());
    write("token", "correct-horse-battery\n");
    let text = "[server]\ntoken = \"${file:token}\"\ntls-certificate = \"cert.pem\"\ntls-key = \"key.pem\"\n
        [analysis]\nenabled = false\n[cameras.ball]\nuri = \"test:ball\"\n";
    write("valkka.toml", text);
    runtime.path("valkka.toml").to_string_lossy().into_owned()
}

/// Whether a WebSocket to that address opens, from the page that is shown now.
fn opens(browser: &Browser, address: &str) -> bool {
    browser.ask(&format!(
        "window.opened = null;
         const socket = new WebSocket('{address}');
         socket.onopen = () => (window.opened = 'open');
         socket.onclose = () => (window.opened ??= 'refused');"
    ));
    browser.ask_until("return window.opened", SOON) == "open"
}

#[test]
fn with_a_token_and_tls_the_page_is_for_those_who_know_it() {
    let runtime = Runtime::new();
    let valkka = Orchestrator::start(&runtime, &["run", &guarded(&runtime)]);
    assert!(valkka.address.starts_with("https://"), "{}", valkka.address);

    // Somebody else's TLS, which checks the certificate.
    let curl = |arguments: &[&str]| {
        let mut command = runtime.command("curl");
        command.args(["--silent", "--show-error", "--cacert"]).arg(runtime.path("cert.pem"));
        command.args(["--write-out", "\n%{http_code}"]).args(arguments);
        runtime.start(&command).finish(SOON)
    };
    let at = |path: &str| format!("{}{path}", valkka.address);
    assert_eq!(curl(&[&at("healthz")]), "ok\n\n200");
    assert!(curl(&[&at("api/status")]).ends_with("\n401"));
    let bearer = ["--header", "Authorization: Bearer correct-horse-battery"];
    assert!(curl(&[&bearer[..], &[&at("api/status")]].concat()).contains(r#""name":"ball""#));
    let foreign = ["--header", "Origin: https://evil.example"];
    assert!(curl(&[&bearer[..], &foreign, &[&at("api/status")]].concat()).ends_with("\n403"));
    let mut plain = runtime.start(
        runtime
            .command("curl")
            .args(["--silent", "--fail", "--max-time", "10"])
            .arg(at("healthz").replace("https", "http")),
    );
    plain.fail(SOON);

    // The page asks for the token, says when it is wrong, and remembers the right one.
    let browser = Browser::start(&runtime);
    browser.open(&valkka.address);
    browser.ask_until("return document.querySelector('#login').open", LIVE);
    check(&browser, "the token's dialog");
    browser.keep_picture("token-1280x900-light");
    browser.type_text("wrong-horse-battery");
    browser.press("Enter");
    let told = browser.ask_until("return document.querySelector('#login .problem').textContent || null", LIVE);
    assert_eq!(told, "This is not the token.");
    // What was wrong is marked: whoever types replaces it.
    browser.type_text("correct-horse-battery");
    browser.press("Enter");
    moves(&browser, "ball");
    browser.open(&valkka.address);
    moves(&browser, "ball");
    assert_eq!(browser.ask("return [document.querySelector('#login').open, document.cookie]"), json!([false, ""]));
    let cookies = browser.devtools("Network.getCookies", json!({ "urls": [valkka.address] }));
    let cookie = &cookies["cookies"][0];
    assert_eq!(
        (&cookie["httpOnly"], &cookie["secure"], &cookie["sameSite"]),
        (&json!(true), &json!(true), &json!("Strict"))
    );
    let events = at("api/events").replace("https", "wss");
    assert!(opens(&browser, &events));

    // A page of another site does not get in, also not with the cookie of this browser, or with the token.
    browser.open("data:text/html,<title>elsewhere</title>");
    for address in
        [&events, &format!("{events}?token=correct-horse-battery"), &at("api/ws?src=ball").replace("https", "wss")]
    {
        assert!(!opens(&browser, address), "{address}");
    }

    // A link may bring the token along; it does not stay in the address.
    browser.devtools("Network.clearBrowserCookies", json!({}));
    browser.open(&at("?token=correct-horse-battery"));
    moves(&browser, "ball");
    assert_eq!(browser.ask("return location.search"), "");
    browser.devtools("Network.clearBrowserCookies", json!({}));
    browser.open(&at("?token=wrong-horse-battery"));
    let told = browser.ask_until("return document.querySelector('#login .problem').textContent || null", LIVE);
    assert_eq!(told, "This is not the token.");
    assert!(!valkka.process.errors().contains("horse"), "{}", valkka.process.errors());
}

/// Three small pictures that nobody analyses.
fn three(runtime: &Runtime) -> Orchestrator {
    let camera = |name: &str| {
        format!(
            "[cameras.{name}]\nuri = \"test:ball\"\nvalues = {{ test-width = 160, test-height = 90, test-fps = 5 }}\n"
        )
    };
    let text = format!("[analysis]\nenabled = false\n{}", ["a", "b", "c"].map(camera).concat());
    fs::write(runtime.path("valkka.toml"), text).expect("the test's folder is writable");
    let valkka = Orchestrator::start(runtime, &["run", &runtime.path("valkka.toml").to_string_lossy()]);
    valkka.live(LIVE);
    valkka
}

/// What has the focus: the camera it belongs to, or its class.
const FOCUSED: &str = "const it = document.activeElement;
    return it.closest('.camera')?.dataset.camera ?? (it.className || it.localName)";

#[test]
fn the_keyboard_is_enough_and_a_screen_reader_is_told_what_there_is() {
    let runtime = Runtime::new();
    let valkka = three(&runtime);
    let browser = Browser::start(&runtime);
    browser.open(&valkka.address);
    browser.ask_until("return all('.camera[data-state=live]').length === 3", LIVE);

    let to = |wanted: &str| {
        for _ in 0..40 {
            browser.press("Tab");
            if browser.ask(FOCUSED) == wanted {
                return;
            }
        }
        panic!("no way to {wanted} by Tab");
    };
    to("a");
    let outline = "const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return document.activeElement.matches(':focus-visible') && outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2";
    assert_eq!(browser.ask(outline), true);
    browser.keep_picture("focus-1280x900-light");
    browser.press("ArrowRight");
    assert_eq!(browser.ask(FOCUSED), "b");
    browser.press("Enter");
    browser
        .ask_until("return location.hash === '#camera=b' && !document.querySelector('.camera-details').hidden", SOON);
    moves(&browser, "b");
    browser.press("ArrowRight");
    browser.ask_until("return document.querySelector('.camera-details h2').textContent === 'c'", SOON);
    check(&browser, "one camera");
    named(&browser, &["All cameras", "Save picture", "Remove"]);
    browser.press("Escape");
    browser.ask_until("return document.querySelector('.camera-details').hidden", SOON);
    assert_eq!(browser.ask(FOCUSED), "c", "one is where one was");
    browser.ask_until("return all('.camera[data-state=live]').length === 3", SOON);
    named(&browser, &["a, live. Show it large", "Full screen: b", "Add camera", "Camera of the events shown"]);

    // The dialog is opened, left and comes back to where it was opened.
    browser.ask("document.querySelector('header .add-camera').focus()");
    browser.press("Enter");
    browser.ask_until("return document.activeElement.name === 'uri'", SOON);
    browser.press("Escape");
    assert_eq!(browser.ask(FOCUSED), "add-camera");
    browser.ask("document.querySelector('.processes summary').focus()");
    browser.press("Enter");
    browser.ask_until("return all('.processes tbody tr').length === 6", SOON);
    named(&browser, &["Log of a.capture", "Start a.web again"]);
}

/// Everything that can have the focus has a name, these among them.
#[track_caller]
fn named(browser: &Browser, wanted: &[&str]) {
    let told = browser.told();
    let nameless: Vec<_> = told.iter().filter(|(role, name)| name.is_empty() && role != "RootWebArea").collect();
    assert!(nameless.is_empty(), "{nameless:?}");
    for name in wanted {
        assert!(told.iter().any(|(_, told)| told == name), "{name} is not among {told:?}");
    }
}

#[test]
fn colours_are_those_of_the_system_or_those_that_were_chosen() {
    let runtime = Runtime::new();
    let valkka = three(&runtime);
    let browser = Browser::start(&runtime);
    let ground = |browser: &Browser| browser.ask("return getComputedStyle(document.body).backgroundColor");
    let prefer = |scheme: &str, motion: &str| {
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme }, { "name": "prefers-reduced-motion", "value": motion },
        ]);
        browser.devtools("Emulation.setEmulatedMedia", json!({ "features": features }));
    };
    prefer("light", "no-preference");
    browser.open(&valkka.address);
    let light = ground(&browser);
    prefer("dark", "no-preference");
    browser.ask_until("return document.documentElement.dataset.theme === 'dark'", SOON);
    let dark = ground(&browser);
    assert_ne!(light, dark);

    // As the system says, light, dark, and around; what was chosen is remembered.
    for (theme, colour) in [("light", &light), ("dark", &dark)] {
        browser.ask("document.querySelector('#theme').click()");
        browser.open(&valkka.address);
        assert_eq!(browser.ask("return document.documentElement.dataset.choice"), theme);
        assert_eq!(&ground(&browser), colour, "{theme}");
    }
    browser.ask("document.querySelector('#theme').click()");
    let told = browser.ask("return document.querySelector('#theme').getAttribute('aria-label')");
    assert_eq!(told, "Colours: as the system says. Change to light");
    prefer("light", "no-preference");
    browser.ask_until("return document.documentElement.dataset.theme === 'light'", SOON);
    assert_eq!(ground(&browser), light);

    // What moves by itself stands still for those who cannot bear it.
    let breathing = "const camera = document.querySelector('.camera').cloneNode(true);
        camera.dataset.state = 'connecting'; document.querySelector('.grid').append(camera);
        const name = getComputedStyle(camera.querySelector('.dot')).animationName;
        camera.remove(); return name";
    browser.ask_until("return document.querySelector('.camera') !== null", LIVE);
    assert_eq!(browser.ask(breathing), "breathe");
    prefer("light", "reduce");
    assert_eq!(browser.ask(breathing), Value::from("none"));
}

#[test]
fn a_camera_that_is_lost_is_started_again_by_hand() {
    let runtime = Runtime::new();
    // Nobody listens on the port of the discard service.
    let valkka = Orchestrator::start(&runtime, &["run", "gone=rtsp://127.0.0.1:9/"]);
    let browser = Browser::start(&runtime);
    browser.open(&format!("{}#camera=gone", valkka.address));
    let shown = "return document.querySelector('.camera-details .again')?.checkVisibility()";
    browser.ask_until(shown, LIVE);
    let reason = browser.ask("return document.querySelector('.offline span').textContent");
    assert!(reason.as_str().is_some_and(|reason| !reason.is_empty()), "it says why");
    browser.keep_picture("lost-1280x900-light");
    browser.ask("document.querySelector('.camera-details .again').click()");
    let ordered = "return performance.getEntriesByType('resource')
        .find(({ name }) => name.endsWith('/api/processes/gone.capture/restart'))?.responseStatus";
    assert_eq!(browser.ask_until(ordered, SOON), 202);
}
