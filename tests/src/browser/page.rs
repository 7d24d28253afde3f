//! A browser page. Its methods wait until the page is ready for the action, and panic with the awaited condition after
//! the tests' timeout.

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};

use super::webdriver::{Element, Session};
use crate::wait;

/// Width and height of a desktop window in CSS pixels.
const DESKTOP: (u32, u32) = (1_280, 900);

/// Width and height of a small phone in CSS pixels.
const PHONE: (u32, u32) = (360, 740);

/// The color scheme preferred by the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Look {
    /// Both schemes.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// The name in CSS.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// The only page of a browser.
#[derive(Debug)]
pub struct Page {
    session: Session,
    /// `http://127.0.0.1:PORT`, the only allowed origin.
    origin: String,
}

impl Page {
    /// Opens a desktop window for a service at an origin, `http://127.0.0.1:PORT`.
    #[track_caller]
    pub fn on_desktop(origin: impl Into<String>) -> Self {
        Self { session: Session::start(DESKTOP.0, DESKTOP.1, true), origin: origin.into() }
    }

    /// As [`Page::on_desktop`], without JavaScript.
    #[track_caller]
    pub fn without_javascript(origin: impl Into<String>) -> Self {
        Self { session: Session::start(DESKTOP.0, DESKTOP.1, false), origin: origin.into() }
    }

    /// Switches between the size of a phone and that of a desktop.
    #[track_caller]
    pub fn emulate_phone(&self, phone: bool) {
        let (width, height) = PHONE;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        if phone {
            self.session.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        } else {
            self.session.devtools("Emulation.clearDeviceMetricsOverride", &json!({}));
        }
    }

    /// Sets the preferred color scheme.
    #[track_caller]
    pub fn look(&self, look: Look) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": look.name() }] });
        self.session.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Opens a path of the service and waits until it is loaded.
    #[track_caller]
    pub fn open(&self, path: &str) {
        let url = format!("{}{path}", self.origin);
        self.session.post("url", &json!({ "url": url })).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// The current path and query.
    #[track_caller]
    pub fn path(&self) -> String {
        let url = self.session.get("url").unwrap();
        let url = url.as_str().unwrap();
        url.strip_prefix(&self.origin).unwrap_or_else(|| panic!("the page left {} for {url}", self.origin)).to_owned()
    }

    /// Waits until path and query satisfy a condition, and returns them.
    #[track_caller]
    pub fn wait_for_path(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        wait::until_ok(&format!("a page's address: {what}"), || {
            let path = self.path();
            if matches(&path) { Ok(path) } else { Err(format!("the page is at {path}")) }
        })
    }

    /// Goes back in the history.
    #[track_caller]
    pub fn back(&self) {
        self.session.post("back", &json!({})).unwrap();
    }

    /// Reloads the page.
    #[track_caller]
    pub fn reload(&self) {
        self.session.post("refresh", &json!({})).unwrap();
    }

    /// The number of elements that a CSS selector matches now.
    #[track_caller]
    pub fn count(&self, selector: &str) -> usize {
        self.session.elements(selector).len()
    }

    /// Waits until a selector matches this many elements. To check that there are none after another event, use
    /// [`Page::count`].
    #[track_caller]
    pub fn wait_for_count(&self, selector: &str, count: usize) {
        wait::until_ok(&format!("{count} of {selector}"), || match self.count(selector) {
            found if found == count => Ok(()),
            found => Err(format!("found {found}; the page: {}", self.excerpt())),
        });
    }

    /// Waits for the first element of a selector and returns its visible text.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        self.with_first(selector, |element| self.session.get_from(element, "text")).as_str().unwrap().to_owned()
    }

    /// The visible texts of all elements that a selector matches now.
    #[track_caller]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return Array.from(document.querySelectorAll(arguments[0]), found => found.innerText.trim())";
        let texts = self.script(script, &[json!(selector)]);
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until an element of a selector contains a text, and returns its whole text.
    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, text: &str) -> String {
        wait::until_ok(&format!("{text:?} in {selector}"), || {
            let texts = self.texts(selector);
            match texts.iter().find(|found| found.contains(text)) {
                Some(found) => Ok(found.clone()),
                None => Err(format!("found {texts:?}; the page: {}", self.excerpt())),
            }
        })
    }

    /// Waits for the first element of a selector and returns an attribute of it.
    #[track_caller]
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let value = self.with_first(selector, |element| self.session.get_from(element, &format!("attribute/{name}")));
        value.as_str().map(str::to_owned)
    }

    /// Clicks the first element of a selector as soon as it is clickable.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.with_first(selector, |element| self.session.post_to(element, "click", &json!({})));
    }

    /// Replaces the text of the first field of a selector. `\n` is the Enter key.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.with_first(selector, |element| {
            self.session.post_to(element, "clear", &json!({}))?;
            self.session.post_to(element, "value", &json!({ "text": text.replace('\n', keys::ENTER) }))
        });
    }

    /// Presses keys in the focused element. Non-printable keys are in [`keys`].
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let source = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.session.post("actions", &source).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs an editing command on the focused element: `selectAll`, `cut`, `copy` or `paste`, with the browser's clipboard.
    #[track_caller]
    pub fn edit(&self, command: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Unidentified", "commands": [command] });
            self.session.devtools("Input.dispatchKeyEvent", &key);
        }
    }

    /// The focused element: its tag, and its text, label, name or id.
    #[track_caller]
    pub fn focus(&self) -> String {
        let script = "const at = document.activeElement; return at.tagName.toLowerCase() + ' ' \
                      + (at.innerText?.trim() || at.ariaLabel || at.name || at.id)";
        self.script(script, &[]).as_str().unwrap().to_owned()
    }

    /// Runs the body of a function in the page and returns its result.
    #[track_caller]
    pub fn script(&self, body: &str, arguments: &[Value]) -> Value {
        self.session
            .post("execute/sync", &json!({ "script": body, "args": arguments }))
            .unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    /// As [`Page::script`], for a function that passes its result to the callback in its last argument.
    #[track_caller]
    pub fn script_later(&self, body: &str, arguments: &[Value]) -> Value {
        self.session
            .post("execute/async", &json!({ "script": body, "args": arguments }))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Saves a screenshot of the whole page as `target/screenshots/NAME.png` and returns its path.
    #[track_caller]
    pub fn picture(&self, name: &str) -> PathBuf {
        let options = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.session.devtools("Page.captureScreenshot", &options);
        let picture = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        // this test is target/debug/deps/observability-…
        let test = std::env::current_exe().unwrap();
        let folder = test.ancestors().nth(3).unwrap().join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, picture).unwrap();
        path
    }

    /// Asserts that the page does not scroll horizontally.
    #[track_caller]
    pub fn assert_fits(&self) {
        let out = self.overflowing();
        assert!(out.is_empty(), "{} is too wide: {out:#?}", self.path());
    }

    /// The start of the HTML of elements that are wider than the window.
    #[track_caller]
    pub fn overflowing(&self) -> Vec<String> {
        let script = "const root = document.documentElement, wide = root.clientWidth; \
            if (root.scrollWidth <= wide) return []; \
            const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > wide); \
            return [`${root.scrollWidth} px in ${wide}`, ...out.slice(0, 5).map(e => e.outerHTML.slice(0, 120))]";
        let found = self.script(script, &[]);
        found.as_array().unwrap().iter().map(|found| found.as_str().unwrap().to_owned()).collect()
    }

    /// Asserts that since the last call there was no request to another host, no violation of the content security policy
    /// and no console error. Messages that contain one of `but_for` are ignored.
    #[track_caller]
    pub fn assert_quiet(&self, but_for: &[&str]) {
        let mut noise = self.noise();
        noise.retain(|noise| !but_for.iter().any(|part| noise.contains(part)));
        assert!(noise.is_empty(), "{}: {noise:#?}", self.path());
    }

    /// Console errors and requests to other hosts since the last call.
    #[track_caller]
    pub fn noise(&self) -> Vec<String> {
        let errors = self.session.log("browser").into_iter();
        let errors = errors
            .filter(|entry| entry["level"] == "SEVERE" || entry["source"] == "security")
            .map(|entry| entry["message"].as_str().unwrap().to_owned());
        // the first page of the browser is `chrome:`
        let inside = |url: &str| {
            url.starts_with(&self.origin) || ["data:", "about:", "chrome:"].iter().any(|own| url.starts_with(own))
        };
        let foreign = self.requests().into_iter().filter(|url| !inside(url)).map(|url| format!("request to {url}"));
        errors.chain(foreign).collect()
    }

    /// The URLs requested since the last call.
    fn requests(&self) -> Vec<String> {
        let events = self.session.log("performance").into_iter();
        let events = events.map(|entry| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap());
        events
            .map(|event| event["message"].clone())
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits for the first element of a selector and retries an action on it until it succeeds.
    #[track_caller]
    fn with_first(&self, selector: &str, act: impl Fn(&Element) -> Result<Value, String>) -> Value {
        wait::until_ok(selector, || match self.session.elements(selector).first() {
            Some(element) => act(element),
            None => Err(format!("no element; the page: {}", self.excerpt())),
        })
    }

    fn excerpt(&self) -> String {
        let text = self.script("return document.body.innerText", &[]);
        let text = text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}: {}", self.path(), text.chars().take(600).collect::<String>())
    }
}

/// WebDriver's codes of non-printable keys.
pub mod keys {
    /// Enter.
    pub const ENTER: &str = "\u{E007}";
    /// Tab.
    pub const TAB: &str = "\u{E004}";
    /// Escape.
    pub const ESCAPE: &str = "\u{E00C}";
}
