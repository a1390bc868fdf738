//! Chromium without a screen, driven by WebDriver.

use std::time::Duration;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use super::{Process, Runtime, SOON, eventually_or};

/// A browser that ends with the test.
pub struct Browser {
    client: Client,
    _driver: Process,
    tokio: tokio::runtime::Runtime,
}

const FLAGS: [&str; 13] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--window-size=1280,900",
    "--autoplay-policy=no-user-gesture-required",
];

impl Browser {
    /// Starts one with a profile of its own.
    pub fn start(runtime: &Runtime) -> Browser {
        let mut command = runtime.command("chromedriver");
        command.arg("--port=0").env("HOME", runtime.path(""));
        let driver = runtime.start(&command);
        let started = driver.line("was started successfully on port", SOON);
        let port: u16 =
            started.rsplit(' ').next().and_then(|port| port.trim_end_matches('.').parse().ok()).expect("a port");

        let profile = format!("--user-data-dir={}", runtime.path("profile").display());
        let args: Vec<_> = FLAGS.into_iter().chain([profile.as_str()]).collect();
        // Servers of tests sign their certificates themselves.
        let capabilities = json!({
            "goog:chromeOptions": { "args": args }, "timeouts": { "script": 20_000 }, "acceptInsecureCerts": true,
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let connect = builder.capabilities(capabilities);
        let client = tokio.block_on(connect.connect(&format!("http://127.0.0.1:{port}")));
        let client = client.unwrap_or_else(|error| panic!("chromium does not start: {error}\n{}", driver.output()));
        Browser { client, _driver: driver, tokio }
    }

    /// Opens a page.
    #[track_caller]
    pub fn open(&self, address: &str) {
        self.tokio.block_on(self.client.goto(address)).unwrap_or_else(|error| panic!("{address}: {error}"));
    }

    /// Runs a script's body in the page; its `return` comes back. `all(SELECTOR)` finds elements in shadow trees too.
    #[track_caller]
    pub fn ask(&self, script: &str) -> Value {
        let script = format!("{FIND_ALL}\n{script}");
        self.tokio
            .block_on(self.client.execute(&script, Vec::new()))
            .unwrap_or_else(|error| panic!("{error} in {script}"))
    }

    /// Asks again and again until the answer is neither null nor false nor 0.
    #[track_caller]
    pub fn ask_until(&self, script: &str, within: Duration) -> Value {
        let look =
            || Some(self.ask(script)).filter(|told| !matches!(told, Value::Null | Value::Bool(false)) && *told != 0);
        eventually_or(within, look, || format!("{script}\n{}", self.ask("return document.body.innerText")))
    }

    /// Makes it look at pages through a window of that size, with colours as `theme` ("dark", "light") says.
    pub fn look(&self, width: u32, height: u32, theme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        let wish = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.devtools("Emulation.setEmulatedMedia", wish);
    }

    /// Presses a key, as on a keyboard: whatever has the focus gets it.
    pub fn press(&self, key: &str) {
        let code = match key {
            "Backspace" => 8,
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            "Delete" => 46,
            _ => panic!("{key} is not among the keys that this knows"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        let down = json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
        self.devtools("Input.dispatchKeyEvent", down);
        let up = json!({ "type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code });
        self.devtools("Input.dispatchKeyEvent", up);
    }

    /// Types text into whatever has the focus.
    pub fn type_text(&self, text: &str) {
        self.devtools("Input.insertText", json!({ "text": text }));
    }

    /// Clicks with the mouse, in pixels of the window.
    pub fn click(&self, x: f64, y: f64) {
        for event in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let click = json!({ "type": event, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.devtools("Input.dispatchMouseEvent", click);
        }
    }

    /// What a screen reader is told: role and name of everything that can have the focus.
    pub fn told(&self) -> Vec<(String, String)> {
        self.devtools("Accessibility.enable", json!({}));
        let tree = self.devtools("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a tree has nodes").iter();
        let focusable = |node: &&Value| {
            let mut properties = node["properties"].as_array().into_iter().flatten();
            properties.any(|property| property["name"] == "focusable" && property["value"]["value"] == true)
        };
        let text = |value: &Value| value["value"].as_str().unwrap_or_default().to_owned();
        nodes.filter(focusable).map(|node| (text(&node["role"]), text(&node["name"]))).collect()
    }

    /// Runs a script in every page that is opened from now on, before the page's own.
    pub fn prepare_pages(&self, script: &str) {
        self.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// Writes a picture of the window into cargo's folder of programs, `page/NAME.png`, for people to look at.
    pub fn keep_picture(&self, name: &str) {
        // Tests are in the folder `deps` beside the programs.
        let test = std::env::current_exe().expect("a test is a program");
        let folder = test.ancestors().nth(2).expect("it is in a folder").join("page");
        std::fs::create_dir_all(&folder).expect("cargo's folder is writable");
        std::fs::write(folder.join(format!("{name}.png")), self.screenshot()).expect("cargo's folder is writable");
    }

    /// A command of the DevTools protocol.
    #[track_caller]
    pub fn devtools(&self, command: &'static str, params: Value) -> Value {
        let sent = self.client.issue_cmd(Devtools { command, params });
        self.tokio.block_on(sent).unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// A picture of the window, in PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        self.tokio.block_on(self.client.screenshot()).expect("a window can be photographed")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, the driver ends Chromium's own processes as well.
        let _ = self.tokio.block_on(self.client.clone().close());
    }
}

/// `chromedriver`'s own way to the DevTools protocol.
#[derive(Debug)]
struct Devtools {
    command: &'static str,
    params: Value,
}

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.command, "params": self.params }).to_string()))
    }
}

const FIND_ALL: &str = "
    const all = (selector, root = document) => [
      ...root.querySelectorAll(selector),
      ...[...root.querySelectorAll('*')].filter((e) => e.shadowRoot).flatMap((e) => all(selector, e.shadowRoot)),
    ];";
