//! Drives Chromium by W3C WebDriver, as plain HTTP calls to chromedriver.
//!
//! The crates that do so bring licenses or a second HTTP stack for the few calls that are needed
//! here.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long a condition may take to come true on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys, as WebDriver writes them.
pub(super) mod key {
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const RIGHT: &str = "\u{e014}";
}

/// A browser with one window and a profile of its own.
pub(super) struct Browser {
    session: String,
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
    _driver: Driver,
    _profile: TempDir,
}

impl Browser {
    /// Starts Chromium and the driver that steers it.
    pub(super) fn start() -> Browser {
        let chromium = on_path(&["chromium", "chromium-browser", "google-chrome"]).expect("Chromium");
        let chromedriver = on_path(&["chromedriver"]).expect("chromedriver");
        let driver = Driver::start(&chromedriver);
        let profile = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let client = runtime.block_on(async { Client::builder(TokioExecutor::new()).build_http() });
        let mut browser = Browser {
            session: driver.url.clone() + "/session",
            client,
            runtime,
            _driver: driver,
            _profile: profile,
        };
        let mut args: Vec<String> = [
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--window-size=1280,1000",
        ]
        .map(str::to_owned)
        .into();
        args.push(format!("--user-data-dir={}", browser._profile.path().display()));
        // Chromium's sandbox does not work for root, who builds and tests in containers.
        if rustix::process::geteuid().is_root() {
            args.push("--no-sandbox".to_owned());
        }
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": chromium, "args": args},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        // On a machine that has much else to do, Chromium may not be there as soon as chromedriver
        // expects.
        let since = Instant::now();
        let answer = loop {
            match browser.try_call(Method::POST, "", capabilities.clone()) {
                Ok((true, answer)) => break answer,
                failed => assert!(since.elapsed() < PATIENCE, "Chromium does not start: {failed:?}"),
            }
        };
        browser.session = format!("{}/{}", browser.session, answer["sessionId"].as_str().unwrap());
        browser
    }

    pub(super) fn open(&self, url: &str) {
        self.call(Method::POST, "/url", json!({"url": url}));
    }

    pub(super) fn reload(&self) {
        self.call(Method::POST, "/refresh", json!({}));
    }

    /// Runs a script in the page. What it returns.
    pub(super) fn run(&self, script: &str) -> Value {
        self.run_with(script, &[])
    }

    /// Runs a script with `arguments`.
    pub(super) fn run_with(&self, script: &str, arguments: &[Value]) -> Value {
        self.call(Method::POST, "/execute/sync", json!({"script": script, "args": arguments}))
    }

    /// Waits until a script returns `true`, or something else that is not nothing.
    pub(super) fn until(&self, what: &str, script: &str) {
        self.until_with(what, script, &[]);
    }

    /// Waits until a script with `arguments` returns something.
    pub(super) fn until_with(&self, what: &str, script: &str, arguments: &[Value]) {
        let since = Instant::now();
        while matches!(self.run_with(script, arguments), Value::Null | Value::Bool(false)) {
            if since.elapsed() > PATIENCE {
                let page = self.run("return document.body.innerText");
                panic!("not within {PATIENCE:?}: {what}\n{}\n{}", page.as_str().unwrap(), self.logs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn text(&self, selector: &str) -> String {
        let text =
            self.run_with("return document.querySelector(arguments[0]).textContent", &[selector.into()]);
        text.as_str().unwrap().to_owned()
    }

    pub(super) fn focus(&self, selector: &str) {
        self.run_with("document.querySelector(arguments[0]).focus()", &[selector.into()]);
    }

    /// Clicks as a person does: what is hidden or covered cannot be clicked, and what moves is
    /// waited for.
    pub(super) fn click(&self, selector: &str) {
        let since = Instant::now();
        loop {
            let (ok, answer) = self.try_click(selector).unwrap();
            if ok {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{selector}: {}", answer["message"]);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn try_click(&self, selector: &str) -> Result<(bool, Value), String> {
        let wanted = json!({"using": "css selector", "value": selector});
        let (ok, element) = self.try_call(Method::POST, "/element", wanted)?;
        let id = element.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        match id.filter(|_| ok) {
            Some(id) => self.try_call(Method::POST, &format!("/element/{id}/click"), json!({})),
            None => Ok((false, element)),
        }
    }

    /// Presses and releases keys, one after the other, wherever the focus is.
    pub(super) fn keys(&self, text: &str) {
        let strokes: Vec<Value> = text
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|stroke| json!({"type": stroke, "value": key})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]});
        self.call(Method::POST, "/actions", actions);
    }

    /// Sets the size of what is seen of the page.
    pub(super) fn window(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// Sets what the page's media queries find.
    pub(super) fn media(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    fn devtools(&self, command: &str, params: Value) {
        self.call(Method::POST, "/goog/cdp/execute", json!({"cmd": command, "params": params}));
    }

    /// Saves a picture of what is seen.
    pub(super) fn screenshot(&self, path: &Path) {
        let base64 = self.call(Method::GET, "/screenshot", Value::Null);
        std::fs::write(path, decoded(base64.as_str().unwrap())).unwrap();
        println!("{}", path.display());
    }

    /// Nothing was thrown in the page, and nothing was against its security policy.
    pub(super) fn is_content(&self) {
        let logs = self.logs();
        for complaint in ["Uncaught", "Content Security Policy", "TrustedHTML"] {
            assert!(!logs.contains(complaint), "{logs}");
        }
    }

    /// What was written to the console, one entry a line.
    fn logs(&self) -> String {
        let entries = self.call(Method::POST, "/se/log", json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(|entry| format!("{entry}\n")).collect()
    }

    fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let (ok, answer) = self.try_call(method, path, body).unwrap();
        assert!(ok, "{path}: {}", answer["message"]);
        answer
    }

    fn try_call(&self, method: Method, path: &str, body: Value) -> Result<(bool, Value), String> {
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|e| e.to_string())?;
        self.runtime.block_on(async {
            let answer = self.client.request(request).await.map_err(|e| e.to_string())?;
            let ok = answer.status().is_success();
            let body = answer.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
            let mut answer: Value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
            Ok((ok, answer["value"].take()))
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; chromedriver alone would leave it behind.
        let _ = self.try_call(Method::DELETE, "", Value::Null);
    }
}

/// A running chromedriver.
struct Driver {
    child: Child,
    url: String,
    /// Kept open: what it prints must have somewhere to go.
    output: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts chromedriver on a free port. It takes one of IPv6 first and then the same one of
    /// IPv4, which another program may have: then it ends, and is started again.
    fn start(program: &Path) -> Driver {
        let mut ended = String::new();
        for _ in 0..10 {
            match Driver::attempt(program) {
                Ok(driver) => return driver,
                Err(said) => ended = said,
            }
            if !ended.contains("port not available") {
                break;
            }
        }
        panic!("chromedriver has ended: {ended}")
    }

    /// Starts chromedriver; if it ends, returns what it printed.
    fn attempt(program: &Path) -> Result<Driver, String> {
        let mut command = Command::new(program);
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut driver = Driver { child, url: String::new(), output };
        let mut said = String::new();
        while driver.url.is_empty() {
            let mut line = String::new();
            if driver.output.read_line(&mut line).unwrap() == 0 {
                return Err(said);
            }
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                driver.url = format!("http://127.0.0.1:{}", port.trim().trim_end_matches('.'));
            }
            said += &line;
        }
        Ok(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first of these programs that there is.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

/// Bytes from base64, which the pictures come in.
fn decoded(base64: &str) -> Vec<u8> {
    let digit = |char: u8| match char {
        b'A'..=b'Z' => char - b'A',
        b'a'..=b'z' => char - b'a' + 26,
        b'0'..=b'9' => char - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> =
        base64.bytes().filter(|char| *char != b'=').map(|char| u32::from(digit(char))).collect();
    digits
        .chunks(4)
        .flat_map(|group| {
            let bits = group.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - group.len()));
            bits.to_be_bytes()[1..group.len()].to_vec()
        })
        .collect()
}
