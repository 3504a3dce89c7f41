//! A headless Chromium, controlled through its DevTools protocol.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// How long to wait for anything; generous, for a busy machine with two cores.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A browser with one page.
pub(crate) struct Chromium {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: String,
    calls: u64,
    /// Errors and warnings since the page was opened.
    errors: Vec<String>,
    _profile: TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Errors are ignored: the test is over.
        self.process.kill().unwrap_or_default();
        drop(self.process.wait());
    }
}

impl Chromium {
    pub(crate) fn start() -> Self {
        let program = std::env::var("CHROMIUM").expect(
            "CHROMIUM is not set: run `cargo xtask test`, which sets it, or set it to the path of a Chromium",
        );
        let profile = tempfile::tempdir().expect("a scratch folder");
        let process = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a browser");
        let (port, path) = wait("the browser's debugging port", || {
            let text = std::fs::read_to_string(profile.path().join("DevToolsActivePort")).ok()?;
            let (port, path) = text.split_once('\n')?;
            Some((port.parse::<u16>().ok()?, path.trim().to_owned()))
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the debugging port");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        let (socket, _) =
            tungstenite::client(format!("ws://127.0.0.1:{port}{path}"), stream).expect("a socket");
        let mut browser =
            Self { process, socket, session: String::new(), calls: 0, errors: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Opens an address in a window of this size, and waits until the page and its WebAssembly have loaded.
    pub(crate) fn open(&mut self, address: &str, (width, height): (u32, u32), dark: bool) {
        let phone = width < 600;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features);
        self.errors.clear();
        self.call("Page.navigate", json!({ "url": address }));
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
        let hydrates = "!document.querySelector('leptos-island') || \
             performance.getEntriesByType('resource').some(e => e.name.endsWith('.pack') && e.responseEnd > 0)";
        self.wait_for(hydrates);
    }

    /// Console errors and warnings, exceptions, and failed requests since the page was opened.
    pub(crate) fn errors(&mut self) -> Vec<String> {
        self.evaluate("1");
        self.errors.clone()
    }

    /// The value of a JavaScript expression; promises are awaited.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression is true.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, expression: &str) {
        let began = Instant::now();
        while self.evaluate(expression) != json!(true) {
            if began.elapsed() > TIMEOUT {
                let page = self.evaluate("document.body.innerText");
                panic!("timed out waiting for: {expression}\n{:?}\n{page}", self.errors);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Clicks the middle of an element until the expression is true, because clicks before hydration have no effect.
    #[track_caller]
    pub(crate) fn click_until(&mut self, selector: &str, expression: &str) {
        let began = Instant::now();
        while self.evaluate(expression) != json!(true) {
            assert!(
                began.elapsed() < TIMEOUT,
                "clicking {selector} did not lead to: {expression}: {:?}",
                self.errors
            );
            let place = self.evaluate(&format!(
                "(() => {{ const e = document.querySelector({selector:?}); if (!e) return null; e.scrollIntoView({{block: 'center'}}); \
                 const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
            ));
            if let (Some(x), Some(y)) = (place[0].as_f64(), place[1].as_f64()) {
                for kind in ["mousePressed", "mouseReleased"] {
                    let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
                    self.call("Input.dispatchMouseEvent", event);
                }
            }
            std::thread::sleep(Duration::from_millis(400));
        }
    }

    /// Presses the mouse at one place, moves it to another, and releases it.
    pub(crate) fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
        let events = [
            ("mouseMoved", from),
            ("mousePressed", from),
            ("mouseMoved", middle),
            ("mouseMoved", to),
            ("mouseReleased", to),
        ];
        for (kind, (x, y)) in events {
            let buttons = i32::from(kind != "mouseReleased");
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons, "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Presses and releases a key.
    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", json!({ "type": kind, "key": key, "code": key }));
        }
    }

    /// Touches the middle of an element.
    pub(crate) fn tap(&mut self, selector: &str) {
        let place = self.evaluate(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}}); \
             const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        let point = json!([{ "x": place[0], "y": place[1] }]);
        self.call("Input.dispatchTouchEvent", json!({ "type": "touchStart", "touchPoints": point }));
        self.call("Input.dispatchTouchEvent", json!({ "type": "touchEnd", "touchPoints": [] }));
    }

    /// Cuts the page's connection, or restores it.
    pub(crate) fn set_offline(&mut self, offline: bool) {
        let conditions =
            json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
        self.call("Network.emulateNetworkConditions", conditions);
    }

    /// Lets taps reach the page as touches.
    pub(crate) fn enable_touch(&mut self) {
        self.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": true }));
    }

    /// Types text into a field.
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.evaluate(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.focus(); e.select(); }})()"
        ));
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Saves a screenshot of the whole page.
    pub(crate) fn keep_image(&mut self, file: &Path) {
        let shot =
            self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = STANDARD.decode(shot["data"].as_str().expect("an image")).expect("base64");
        std::fs::write(file, bytes).expect("a file");
    }

    /// Saves a small screenshot of the window.
    pub(crate) fn keep_webp(&mut self, file: &Path) {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "webp", "quality": 70 }));
        let bytes = STANDARD.decode(shot["data"].as_str().expect("an image")).expect("base64");
        std::fs::write(file, bytes).expect("a file");
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut call = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).expect("the socket");
        loop {
            let Message::Text(text) = self.socket.read().unwrap_or_else(|e| panic!("{method}: {e}")) else {
                continue;
            };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.record(&message);
        }
    }

    fn record(&mut self, event: &Value) {
        let params = &event["params"];
        let error = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => params["exceptionDetails"].to_string(),
            "Runtime.consoleAPICalled" if params["type"] == "error" || params["type"] == "warning" => {
                params["args"].to_string()
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => params["entry"].to_string(),
            "Network.responseReceived" if params["response"]["status"].as_i64() >= Some(400) => {
                format!("{} {}", params["response"]["status"], params["response"]["url"])
            }
            _ => return,
        };
        self.errors.push(error);
    }
}

fn wait<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(began.elapsed() < TIMEOUT, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
