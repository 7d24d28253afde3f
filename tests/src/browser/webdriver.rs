//! A minimal blocking client of WebDriver (W3C). A session starts a browser and ends it when dropped. Non-standard:
//! chromedriver's commands for the DevTools protocol and its logs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::port;
use crate::program::{Program, Start, installed};

/// The key of element references in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. Dropping it ends browser and driver.
#[derive(Debug)]
pub struct Session {
    id: String,
    address: SocketAddr,
    _driver: Program,
    _profile: TempDir,
}

/// An element of the current page, invalid after a navigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element(String);

impl Session {
    /// Starts a browser with a window of this size in CSS pixels, with or without JavaScript. It resolves no host names and
    /// connects to 127.0.0.1 only.
    #[track_caller]
    pub fn start(width: u32, height: u32, javascript: bool) -> Self {
        let (address, profile) = (port::free_address(), tempfile::tempdir().unwrap());
        let driver = Start::at(&installed("chromedriver"))
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .arg(format!("--port={}", address.port()))
            .arg("--log-level=WARNING")
            .start_answering(address, "/status");
        let mut options = json!({
            "binary": installed("chromium"),
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

    /// Sends a command with parameters.
    ///
    /// # Errors
    /// Returns the driver's message if the command failed.
    pub fn post(&self, command: &str, parameters: &Value) -> Result<Value, String> {
        send(self.address, "POST", &format!("/session/{}/{command}", self.id), parameters)
    }

    /// Sends a command without parameters.
    ///
    /// # Errors
    /// Returns the driver's message if the command failed.
    pub fn get(&self, command: &str) -> Result<Value, String> {
        send(self.address, "GET", &format!("/session/{}/{command}", self.id), &Value::Null)
    }

    /// The elements that a CSS selector matches now, in document order.
    #[track_caller]
    pub fn elements(&self, selector: &str) -> Vec<Element> {
        let found = self.post("elements", &json!({ "using": "css selector", "value": selector }));
        let found = found.unwrap_or_else(|error| panic!("{selector}: {error}"));
        found.as_array().unwrap().iter().map(|element| Element(element[ELEMENT].as_str().unwrap().to_owned())).collect()
    }

    /// Sends a command without parameters to an element.
    ///
    /// # Errors
    /// Returns the driver's message, for example if the element was removed.
    pub fn get_from(&self, element: &Element, command: &str) -> Result<Value, String> {
        self.get(&format!("element/{}/{command}", element.0))
    }

    /// Sends a command to an element.
    ///
    /// # Errors
    /// Returns the driver's message, for example if the element was removed or is covered.
    pub fn post_to(&self, element: &Element, command: &str, parameters: &Value) -> Result<Value, String> {
        self.post(&format!("element/{}/{command}", element.0), parameters)
    }

    /// Sends a command of the DevTools protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
            .unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// The entries since the last call of a log: the page's console (`browser`) or DevTools (`performance`).
    #[track_caller]
    pub fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.post("se/log", &json!({ "type": kind })).unwrap_or_else(|error| panic!("{error}"));
        entries.as_array().unwrap().clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // ends the browser; the driver is killed afterwards
        let _closed = send(self.address, "DELETE", &format!("/session/{}", self.id), &Value::Null);
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
