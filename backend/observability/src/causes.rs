//! The chain of an error's causes as one text: `first: second: third`.
//!
//! Bounds: [`MAX_CAUSES`] causes and [`MAX_BYTES`]; what comes beyond is cut off and `…` put in its place. A cause
//! that the text says already is left out.

use std::any::TypeId;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::{PoisonError, RwLock};

use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError, UrlencodedError};
use actix_web::{Error, ResponseError};

/// Causes that are followed, at most.
const MAX_CAUSES: usize = 32;

/// Bytes of the text, at most.
const MAX_BYTES: usize = 8 * 1024;

/// The text of an error and its causes.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = Bounded::default();
    let mut next = Some(error);
    for _ in 0..=MAX_CAUSES {
        let Some(error) = next else { return text.finish() };
        text.add_printed(&Bounded::print(format_args!("{error}")));
        next = error.source();
    }
    text.cut |= next.is_some();
    text.finish()
}

/// Sees an error through its own type, which gives its causes; none if it is of another type.
type Cast = for<'a> fn(&'a Error) -> Option<&'a (dyn StdError + 'static)>;

/// The types that services have named.
static NAMED: RwLock<Vec<(TypeId, Cast)>> = RwLock::new(Vec::new());

/// Logs errors of this type with the chain of their causes. To be called once for each error type of a service that is
/// both a `ResponseError` and a standard error, before the first request.
///
/// Actix gives out an error only as a `ResponseError`, which doesn't tell its causes. Of a type that isn't named
/// here, and that Actix itself doesn't make, the log has what `Debug` shows in place of the causes.
///
/// ```
/// #[derive(Debug, thiserror::Error)]
/// #[error("can't load the page")]
/// struct LoadError(#[source] std::io::Error);
///
/// impl actix_web::ResponseError for LoadError {}
///
/// observability::log_causes_of::<LoadError>(); // "error":"can't load the page: connection refused"
/// ```
pub fn log_causes_of<E: ResponseError + StdError + 'static>() {
    let mut named = NAMED.write().unwrap_or_else(PoisonError::into_inner);
    if named.iter().all(|(known, _)| *known != TypeId::of::<E>()) {
        named.push((TypeId::of::<E>(), cast::<E>));
    }
}

fn cast<E: ResponseError + StdError + 'static>(error: &Error) -> Option<&(dyn StdError + 'static)> {
    error.as_error::<E>().map(|error| error as _)
}

/// The text of an error that became a response, and of its causes. Where its type isn't known, the causes are those
/// that its `Debug` shows: as a list (`Caused by:`), or else the whole of it.
pub(crate) fn of_response(error: &Error) -> String {
    if let Some(known) = as_std_error(error) {
        return chain(known);
    }
    let mut text = Bounded::default();
    let (shown, debugged) = (Bounded::print(format_args!("{error}")), Bounded::print(format_args!("{error:?}")));
    text.add_printed(&shown);
    match debugged.text.split_once("Caused by:") {
        Some((_, causes)) => listed(causes).for_each(|cause| text.add(cause)),
        // a name alone, such as `NotFound`, tells no cause, nor does the same text in quotes
        None if debugged.text.contains(['(', '{', ' ']) && debugged.text != format!("{:?}", shown.text) => {
            text.add_printed(&debugged);
        }
        None => {}
    }
    text.finish()
}

fn as_std_error(error: &Error) -> Option<&(dyn StdError + 'static)> {
    const OF_ACTIX: [Cast; 6] = [
        cast::<io::Error>,
        cast::<JsonPayloadError>,
        cast::<PayloadError>,
        cast::<PathError>,
        cast::<QueryPayloadError>,
        cast::<UrlencodedError>,
    ];
    let boxed = error.as_error::<Box<dyn StdError>>().map(AsRef::as_ref);
    let of_actix = || OF_ACTIX.iter().find_map(|cast| cast(error));
    boxed.or_else(of_actix).or_else(|| {
        let named = NAMED.read().unwrap_or_else(PoisonError::into_inner);
        named.iter().find_map(|(_, cast)| cast(error))
    })
}

/// The causes of a report as `anyhow` and `eyre` print it: a line each, with a number before it or alone; a backtrace
/// and other sections follow after an empty line.
fn listed(causes: &str) -> impl Iterator<Item = &str> {
    let section = causes.trim_start_matches([' ', '\r', '\n']).split("\n\n").next().unwrap_or_default();
    section.lines().map(|line| {
        let line = line.trim();
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.strip_prefix(':').filter(|_| rest.len() < line.len()).map_or(line, str::trim)
    })
}

/// A text that stops at its bound.
#[derive(Default)]
struct Bounded {
    text: String,
    cut: bool,
}

impl Bounded {
    fn print(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self::default();
        // fails at the bound, and where a `Display` does
        let _ = text.write_fmt(arguments);
        text
    }

    fn add_printed(&mut self, printed: &Self) {
        self.add(&printed.text);
        self.cut |= printed.cut;
    }

    /// Appends a cause, unless it is said already.
    fn add(&mut self, cause: &str) {
        if cause.is_empty() || self.cut || self.text.contains(cause) {
            return;
        }
        let separator = if self.text.is_empty() { "" } else { ": " };
        let _ = self.write_str(separator).and_then(|()| self.write_str(cause));
    }

    fn finish(mut self) -> String {
        if self.cut {
            self.text.push('…');
        }
        self.text
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = MAX_BYTES - self.text.len();
        if text.len() <= left && !self.cut {
            self.text.push_str(text);
            return Ok(());
        }
        let fits = (0..=left).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        if !self.cut {
            self.text.push_str(&text[..fits]);
        }
        self.cut = true;
        Err(fmt::Error)
    }
}
