//! A page as a person has it before them. What it does waits for the page to be ready for it, within the tests'
//! patience, and panics with what was awaited.

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};

use super::webdriver::{Element, Session};
use crate::wait;

/// How wide and high a desk's window is, in CSS pixels.
const DESK: (u32, u32) = (1_280, 900);

/// A small phone.
const PHONE: (u32, u32) = (360, 740);

/// The scheme that a person's system asks pages for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Look {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Light, Self::Dark];

    /// Its name in CSS.
    pub fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}

/// A browser's one page.
#[derive(Debug)]
pub struct Page {
    session: Session,
    /// `http://127.0.0.1:PORT`, the only place that it may ask.
    origin: String,
}

impl Page {
    /// A window on a desk, for a service at an origin, `http://127.0.0.1:PORT`.
    #[track_caller]
    pub fn on_a_desk(origin: impl Into<String>) -> Self {
        Self { session: Session::start(DESK.0, DESK.1, true), origin: origin.into() }
    }

    /// As [`Page::on_a_desk`], with JavaScript turned off.
    #[track_caller]
    pub fn without_javascript(origin: impl Into<String>) -> Self {
        Self { session: Session::start(DESK.0, DESK.1, false), origin: origin.into() }
    }

    /// Makes it a phone's page from now on, or again a desk's.
    #[track_caller]
    pub fn hold_as_phone(&self, phone: bool) {
        let (width, height) = PHONE;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": true });
        if phone {
            self.session.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        } else {
            self.session.devtools("Emulation.clearDeviceMetricsOverride", &json!({}));
        }
    }

    /// Shows pages in this scheme from now on.
    #[track_caller]
    pub fn look(&self, look: Look) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": look.name() }] });
        self.session.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Opens a path of the service, and waits until it is loaded.
    #[track_caller]
    pub fn open(&self, path: &str) {
        let url = format!("{}{path}", self.origin);
        self.session.post("url", &json!({ "url": url })).unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// The path and query that it is at.
    #[track_caller]
    pub fn path(&self) -> String {
        let url = self.session.get("url").unwrap();
        let url = url.as_str().unwrap();
        url.strip_prefix(&self.origin).unwrap_or_else(|| panic!("it left {} for {url}", self.origin)).to_owned()
    }

    /// Waits until its path and query are such as asked for; which they are.
    #[track_caller]
    pub fn wait_for_path(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        wait::until_ok(&format!("a page's address: {what}"), || {
            let path = self.path();
            if is_it(&path) { Ok(path) } else { Err(format!("it is at {path}")) }
        })
    }

    /// Goes back to the page before.
    #[track_caller]
    pub fn back(&self) {
        self.session.post("back", &json!({})).unwrap();
    }

    /// Loads it again.
    #[track_caller]
    pub fn reload(&self) {
        self.session.post("refresh", &json!({})).unwrap();
    }

    /// How many elements a CSS selector finds now.
    #[track_caller]
    pub fn count(&self, selector: &str) -> usize {
        self.session.elements(selector).len()
    }

    /// Waits until a selector finds so many; a test that expects none after something else happened asks
    /// [`Page::count`].
    #[track_caller]
    pub fn wait_for_count(&self, selector: &str, count: usize) {
        wait::until_ok(&format!("{count} of {selector}"), || match self.count(selector) {
            found if found == count => Ok(()),
            found => Err(format!("there are {found}; the page: {}", self.excerpt())),
        });
    }

    /// The text of the first element that a selector finds, once there is one, as a person reads it.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        self.with_first(selector, |element| self.session.ask(element, "text")).as_str().unwrap().to_owned()
    }

    /// The texts of all elements that a selector finds now.
    #[track_caller]
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let script = "return Array.from(document.querySelectorAll(arguments[0]), found => found.innerText.trim())";
        let texts = self.script(script, &[json!(selector)]);
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until the first element that a selector finds has a text in it; all of its text.
    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, text: &str) -> String {
        wait::until_ok(&format!("{text:?} in {selector}"), || {
            let texts = self.texts(selector);
            match texts.iter().find(|found| found.contains(text)) {
                Some(found) => Ok(found.clone()),
                None => Err(format!("there is {texts:?}; the page: {}", self.excerpt())),
            }
        })
    }

    /// An attribute of the first element that a selector finds, once there is one.
    #[track_caller]
    pub fn attribute(&self, selector: &str, name: &str) -> Option<String> {
        let value = self.with_first(selector, |element| self.session.ask(element, &format!("attribute/{name}")));
        value.as_str().map(str::to_owned)
    }

    /// Clicks the first element that a selector finds, once it can be clicked.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.with_first(selector, |element| self.session.tell(element, "click", &json!({})));
    }

    /// Puts a text into the first field that a selector finds, in the place of what is there. `\n` is the Enter key.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.with_first(selector, |element| {
            self.session.tell(element, "clear", &json!({}))?;
            self.session.tell(element, "value", &json!({ "text": text.replace('\n', keys::ENTER) }))
        });
    }

    /// Presses keys where the page has its focus; those without a letter are in [`keys`].
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let actions: Vec<_> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let source = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] });
        self.session.post("actions", &source).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Does what a browser's menu has for what has the focus: `selectAll`, `cut`, `copy`, `paste`, with this browser's
    /// clipboard.
    #[track_caller]
    pub fn edit(&self, command: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Unidentified", "commands": [command] });
            self.session.devtools("Input.dispatchKeyEvent", &key);
        }
    }

    /// What has the focus: its tag, and its text, label or name.
    #[track_caller]
    pub fn focus(&self) -> String {
        let script = "const at = document.activeElement; return at.tagName.toLowerCase() + ' ' \
                      + (at.innerText?.trim() || at.ariaLabel || at.name || at.id)";
        self.script(script, &[]).as_str().unwrap().to_owned()
    }

    /// Runs the body of a function in the page; what it returns.
    #[track_caller]
    pub fn script(&self, body: &str, arguments: &[Value]) -> Value {
        self.session
            .post("execute/sync", &json!({ "script": body, "args": arguments }))
            .unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    /// As [`Page::script`], for what calls its last argument with its answer later.
    #[track_caller]
    pub fn script_later(&self, body: &str, arguments: &[Value]) -> Value {
        self.session
            .post("execute/async", &json!({ "script": body, "args": arguments }))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Keeps a picture of the whole page as `target/screenshots/NAME.png`; where it is.
    #[track_caller]
    pub fn picture(&self, name: &str) -> PathBuf {
        let options = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.session.devtools("Page.captureScreenshot", &options);
        let picture = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        // target/debug/deps/observability-… is this test.
        let test = std::env::current_exe().unwrap();
        let folder = test.ancestors().nth(3).unwrap().join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{name}.png"));
        std::fs::write(&path, picture).unwrap();
        path
    }

    /// Nothing sticks out to the right: a person on a phone never scrolls sideways.
    #[track_caller]
    pub fn assert_fits(&self) {
        let out = self.sticking_out();
        assert!(out.is_empty(), "{} is too wide: {out:#?}", self.path());
    }

    /// The beginnings of elements that make the page wider than its window.
    #[track_caller]
    pub fn sticking_out(&self) -> Vec<String> {
        let script = "const root = document.documentElement, wide = root.clientWidth; \
            if (root.scrollWidth <= wide) return []; \
            const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > wide); \
            return [`${root.scrollWidth} px in ${wide}`, ...out.slice(0, 5).map(e => e.outerHTML.slice(0, 120))]";
        let found = self.script(script, &[]);
        found.as_array().unwrap().iter().map(|found| found.as_str().unwrap().to_owned()).collect()
    }

    /// Since it was last asked, the page asked no other host, broke no content security policy and wrote no error to
    /// its console; `but_for` are parts of messages that belong to the test.
    #[track_caller]
    pub fn assert_quiet(&self, but_for: &[&str]) {
        let mut noise = self.noise();
        noise.retain(|noise| !but_for.iter().any(|part| noise.contains(part)));
        assert!(noise.is_empty(), "{}: {noise:#?}", self.path());
    }

    /// What the console was told since this was last asked, and what was asked for that is not the service's.
    #[track_caller]
    pub fn noise(&self) -> Vec<String> {
        let told = self.session.log("browser").into_iter();
        let told = told
            .filter(|entry| entry["level"] == "SEVERE" || entry["source"] == "security")
            .map(|entry| entry["message"].as_str().unwrap().to_owned());
        // `chrome:` is the browser's own first page.
        let inside = |url: &str| {
            url.starts_with(&self.origin) || ["data:", "about:", "chrome:"].iter().any(|own| url.starts_with(own))
        };
        told.chain(self.asked().into_iter().filter(|url| !inside(url)).map(|url| format!("asked for {url}"))).collect()
    }

    /// The addresses that were asked for since this was last looked at.
    fn asked(&self) -> Vec<String> {
        let events = self.session.log("performance").into_iter();
        let events = events.map(|entry| serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap());
        events
            .map(|event| event["message"].clone())
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Does something with the first element that a selector finds, again while the page is not ready for it.
    #[track_caller]
    fn with_first(&self, selector: &str, act: impl Fn(&Element) -> Result<Value, String>) -> Value {
        wait::until_ok(selector, || match self.session.elements(selector).first() {
            Some(element) => act(element),
            None => Err(format!("there is none; the page: {}", self.excerpt())),
        })
    }

    fn excerpt(&self) -> String {
        let text = self.script("return document.body.innerText", &[]);
        let text = text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}: {}", self.path(), text.chars().take(600).collect::<String>())
    }
}

/// Keys without a letter, as WebDriver names them.
pub mod keys {
    /// Enter.
    pub const ENTER: &str = "\u{E007}";
    /// Tab.
    pub const TAB: &str = "\u{E004}";
    /// Escape.
    pub const ESCAPE: &str = "\u{E00C}";
}
