//! As much of WebDriver (W3C) as these tests need, blocking, over the tests' own HTTP client: a session is a browser
//! that this module starts and ends. Beyond the standard: chromedriver's way to the DevTools protocol and to its logs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::port;
use crate::program::{Program, Start};
use crate::schema::repository;

/// The key of an element's reference in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The path of `chromium` or `chromedriver`, by the rules of `infra/local/browser.sh`. Panics when it is not there.
#[track_caller]
pub fn executable(name: &str) -> PathBuf {
    let script =
        "set -euo pipefail; source infra/local/lib.sh; source infra/local/browser.sh; find_browser_program \"$0\"";
    let output = Command::new("bash").args(["-c", script, name]).current_dir(repository()).output().unwrap();
    let path = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    assert!(path.is_file(), "{name} is missing: run `make deps`\n{}", String::from_utf8_lossy(&output.stderr));
    path
}

/// A browser with one window, ended with its driver when this goes out of scope.
#[derive(Debug)]
pub struct Session {
    id: String,
    address: SocketAddr,
    _driver: Program,
    _profile: TempDir,
}

/// An element of the page at hand; of no use on the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element(String);

impl Session {
    /// Starts a browser whose window is so wide and high, in CSS pixels; without JavaScript where that is asked for.
    /// It finds no host but this machine.
    #[track_caller]
    pub fn start(width: u32, height: u32, javascript: bool) -> Self {
        let (address, profile) = (port::free_address(), tempfile::tempdir().unwrap());
        let driver = Start::at(&executable("chromedriver"))
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .arg(format!("--port={}", address.port()))
            .arg("--log-level=WARNING")
            .start_answering(address, "/status");
        let mut options = json!({
            "binary": executable("chromium"),
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-background-networking", "--disable-component-update", "--no-first-run", "--force-prefers-reduced-motion",
                "--hide-scrollbars", "--force-color-profile=srgb", "--lang=en-GB",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                format!("--window-size={width},{height}"),
                format!("--user-data-dir={}", profile.path().join("profile").display()),
            ],
        });
        if !javascript {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "timeouts": { "script": 30_000, "pageLoad": 30_000, "implicit": 0 },
        });
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = send(address, "POST", "/session", &body).unwrap_or_else(|error| panic!("no browser: {error}"));
        let id = answer["sessionId"].as_str().unwrap().to_owned();
        Self { id, address, _driver: driver, _profile: profile }
    }

    /// A command that takes parameters.
    ///
    /// # Errors
    /// The driver's words, where the browser did not do it.
    pub fn post(&self, command: &str, parameters: &Value) -> Result<Value, String> {
        send(self.address, "POST", &format!("/session/{}/{command}", self.id), parameters)
    }

    /// A command that takes none.
    ///
    /// # Errors
    /// The driver's words, where the browser did not do it.
    pub fn get(&self, command: &str) -> Result<Value, String> {
        send(self.address, "GET", &format!("/session/{}/{command}", self.id), &Value::Null)
    }

    /// The elements that a CSS selector finds now, in the page's order.
    #[track_caller]
    pub fn elements(&self, selector: &str) -> Vec<Element> {
        let found = self.post("elements", &json!({ "using": "css selector", "value": selector }));
        let found = found.unwrap_or_else(|error| panic!("{selector}: {error}"));
        found.as_array().unwrap().iter().map(|element| Element(element[ELEMENT].as_str().unwrap().to_owned())).collect()
    }

    /// A command on an element without parameters.
    ///
    /// # Errors
    /// The driver's words; so when the element has left the page.
    pub fn ask(&self, element: &Element, command: &str) -> Result<Value, String> {
        self.get(&format!("element/{}/{command}", element.0))
    }

    /// A command on an element.
    ///
    /// # Errors
    /// The driver's words; so when the element has left the page or is covered.
    pub fn tell(&self, element: &Element, command: &str, parameters: &Value) -> Result<Value, String> {
        self.post(&format!("element/{}/{command}", element.0), parameters)
    }

    /// A command of the DevTools protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// What was logged since it was last asked: by the page's console (`browser`), by DevTools (`performance`).
    #[track_caller]
    pub fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.post("se/log", &json!({ "type": kind })).unwrap_or_else(|error| panic!("{error}"));
        entries.as_array().unwrap().clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Ends the browser; the driver is killed right after.
        let _gone = send(self.address, "DELETE", &format!("/session/{}", self.id), &Value::Null);
    }
}

fn send(address: SocketAddr, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
    let headers: [(&str, &[u8]); 1] = [("Content-Type", b"application/json")];
    let mut answer = http::try_send(address, method, path, &headers, &body).map_err(|error| error.to_string())?.json();
    let value = answer["value"].take();
    match value["error"].as_str() {
        Some(error) => Err(format!("{error}: {}", value["message"].as_str().unwrap_or_default())),
        None => Ok(value),
    }
}
