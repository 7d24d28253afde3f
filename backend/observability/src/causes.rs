//! Formats an error and its chain of causes as one text: `first: second: third`.
//!
//! The text has at most [`MAX_CAUSES`] causes and [`MAX_BYTES`] bytes and ends in `…` if it was truncated. A cause whose
//! text is already included is left out.

use std::any::TypeId;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::{PoisonError, RwLock};

use actix_web::error::{JsonPayloadError, PathError, PayloadError, QueryPayloadError, UrlencodedError};
use actix_web::{Error, ResponseError};

/// Maximum number of causes.
const MAX_CAUSES: usize = 32;

/// Maximum length of the text in bytes.
const MAX_BYTES: usize = 8 * 1024;

/// Formats an error and its causes.
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

/// Downcasts an error to a type that has causes; `None` if it is of another type.
type Cast = for<'a> fn(&'a Error) -> Option<&'a (dyn StdError + 'static)>;

/// Error types registered with [`log_causes_of`].
static REGISTERED: RwLock<Vec<(TypeId, Cast)>> = RwLock::new(Vec::new());

/// Logs errors of type `E` with their chain of causes. Call it before the first request, once for each error type of the
/// service that is both a `ResponseError` and a standard error.
///
/// Actix exposes an error only as a `ResponseError`, which has no causes. For error types that are neither registered
/// here nor defined by Actix, the `Debug` output is logged instead of the causes.
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
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if registered.iter().all(|(known, _)| *known != TypeId::of::<E>()) {
        registered.push((TypeId::of::<E>(), cast::<E>));
    }
}

fn cast<E: ResponseError + StdError + 'static>(error: &Error) -> Option<&(dyn StdError + 'static)> {
    error.as_error::<E>().map(|error| error as _)
}

/// Formats an error that became a response, and its causes. If its type is unknown, the causes are taken from its `Debug`
/// output: the list after `Caused by:`, else all of it.
pub(crate) fn of_response(error: &Error) -> String {
    if let Some(known) = as_std_error(error) {
        return chain(known);
    }
    let mut text = Bounded::default();
    let (shown, debugged) = (Bounded::print(format_args!("{error}")), Bounded::print(format_args!("{error:?}")));
    text.add_printed(&shown);
    match debugged.text.split_once("Caused by:") {
        Some((_, causes)) => listed_causes(causes).for_each(|cause| text.add(cause)),
        // skip a bare name such as `NotFound`, and the same text in quotes
        None if debugged.text.contains(['(', '{', ' ']) && debugged.text != format!("{:?}", shown.text) => {
            text.add_printed(&debugged);
        }
        None => {}
    }
    text.finish()
}

fn as_std_error(error: &Error) -> Option<&(dyn StdError + 'static)> {
    const ACTIX_ERRORS: [Cast; 6] = [
        cast::<io::Error>,
        cast::<JsonPayloadError>,
        cast::<PayloadError>,
        cast::<PathError>,
        cast::<QueryPayloadError>,
        cast::<UrlencodedError>,
    ];
    let boxed = error.as_error::<Box<dyn StdError>>().map(AsRef::as_ref);
    let of_actix = || ACTIX_ERRORS.iter().find_map(|cast| cast(error));
    boxed.or_else(of_actix).or_else(|| {
        let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
        registered.iter().find_map(|(_, cast)| cast(error))
    })
}

/// The causes in a report printed by `anyhow` or `eyre`: one per line, numbered if there are several. The list ends at
/// the first empty line; a backtrace may follow.
fn listed_causes(causes: &str) -> impl Iterator<Item = &str> {
    let section = causes.trim_start_matches([' ', '\r', '\n']).split("\n\n").next().unwrap_or_default();
    section.lines().map(|line| {
        let line = line.trim();
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
        rest.strip_prefix(':').filter(|_| rest.len() < line.len()).map_or(line, str::trim)
    })
}

/// A text of at most [`MAX_BYTES`] bytes.
#[derive(Default)]
struct Bounded {
    text: String,
    cut: bool,
}

impl Bounded {
    fn print(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self::default();
        // fails at the limit, or if a `Display` implementation fails
        let _ = text.write_fmt(arguments);
        text
    }

    fn add_printed(&mut self, printed: &Self) {
        self.add(&printed.text);
        self.cut |= printed.cut;
    }

    /// Appends a cause unless its text is already included.
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
