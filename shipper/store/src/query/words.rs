//! Words of a text, as engines' `standard` analyser makes them: those of UAX #29, lower-cased character by character,
//! diacritics kept.
//!
//! The property suite holds this to a real engine.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;

/// A longer word is cut into words of this many UTF-16 code units, as engines cut it.
const WORD_MAX: usize = 255;

/// The words of a text in order, each lower-cased.
pub fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.unicode_words().flat_map(cut).map(lower_cased)
}

fn cut(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (part, others) = rest.split_at(end_of_part(rest));
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// Where the first part of a word ends; only few words have more than one.
fn end_of_part(word: &str) -> usize {
    let mut units = 0;
    if word.len() <= WORD_MAX {
        return word.len();
    }
    let beyond = word.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units > WORD_MAX
    });
    beyond.map_or(word.len(), |(at, _)| at)
}

/// Character by character, without regard to where it stands, and one for one.
fn lower_cased(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(word);
    }
    // Only of U+0130 the lower case is longer than one character; engines take its first.
    Cow::Owned(word.chars().filter_map(|character| character.to_lowercase().next()).collect())
}
