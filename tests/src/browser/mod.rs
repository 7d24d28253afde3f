//! A real browser, driven from the tests: Chromium by its chromedriver, headless, with a folder of its own.
//!
//! [`webdriver`] speaks the W3C protocol; [`Page`] is what a test sees: it opens, finds, clicks, types and waits for
//! conditions, takes pictures into `target/screenshots`, and [judges](axe) whether all people can use it. Whatever a
//! test is about, [`Page::assert_quiet`] holds it to what no page of the product may do: ask another host, break its
//! content security policy, or write an error to the console.

pub mod axe;
pub mod page;
pub mod webdriver;

pub use page::{Look, Page, keys};
