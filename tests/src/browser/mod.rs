//! Drives a real browser: headless Chromium through its chromedriver, with its own profile.
//!
//! [`webdriver`] implements the W3C protocol, and [`Page`] is the interface of the tests: open, find, click, type, wait,
//! take screenshots into `target/screenshots`, and check accessibility with [`axe`]. [`Page::assert_quiet`] asserts what
//! holds for every page: no request to another host, no violation of the content security policy, no console error.

pub mod axe;
pub mod page;
pub mod webdriver;

pub use page::{Look, Page, keys};
