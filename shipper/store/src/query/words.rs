//! Splits text into words like the `standard` analyser of engines.
//!
//! Words are those of UAX #29, lower-cased character by character, with diacritics kept. Emoji are words as well, and
//! runs of scripts written without spaces between words (Thai, Lao, Khmer, Myanmar) are one word.
//!
//! Known differences: characters newer than the Unicode 12.1 of engines, which are not words there, and a few modifier
//! letters that have changed since.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;

/// Maximum length of a word in UTF-16 code units. Like engines, split longer ones.
const WORD_MAX: usize = 255;

/// Returns the words of a text in order, in lower case.
pub fn words(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    segments(text).filter(|segment| is_word(segment)).flat_map(cut).map(lower_cased)
}

/// Splits a text at word boundaries, but keeps runs without spaces together.
fn segments(text: &str) -> impl Iterator<Item = &str> {
    let mut bounds = text.split_word_bound_indices().peekable();
    std::iter::from_fn(move || {
        let (start, segment) = bounds.next()?;
        let mut end = start + segment.len();
        if is_unspaced(segment) {
            while let Some((next, more)) = bounds.next_if(|(_, more)| is_unspaced(more)) {
                end = next + more.len();
            }
        }
        // Engines continue after a Hebrew abbreviation, where UAX #29 has a boundary.
        while is_abbreviation(&text[start..end])
            && let Some((next, more)) =
                bounds.next_if(|(_, more)| more.starts_with(is_connector) || more.starts_with(is_digit))
        {
            end = next + more.len();
        }
        Some(&text[start..end])
    })
}

/// Whether a text ends with a Hebrew letter and a single quote, each with optional marks.
fn is_abbreviation(text: &str) -> bool {
    if text.is_ascii() || !text.contains('\'') {
        return false;
    }
    let is_mark = |character: char| !character.is_ascii() && are_joined(' ', character);
    let letter = text.trim_end_matches(is_mark).strip_suffix('\'').map(|text| text.trim_end_matches(is_mark));
    let is_hebrew = |character: char| {
        matches!(character, '\u{5d0}'..='\u{5ea}' | '\u{5ef}'..='\u{5f2}' | '\u{fb1d}' | '\u{fb1f}'..='\u{fb28}'
            | '\u{fb2a}'..='\u{fb4f}')
    };
    letter.is_some_and(|letter| letter.ends_with(is_hebrew))
}

/// Whether a segment begins with a letter of a script without spaces between words (Line_Break=Complex_Context).
fn is_unspaced(segment: &str) -> bool {
    segment.chars().next().is_some_and(|first| {
        matches!(first,
            '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{ecd}' | '\u{edc}'..='\u{edf}'
            | '\u{1000}'..='\u{103f}' | '\u{1050}'..='\u{108f}' | '\u{109a}'..='\u{109f}' | '\u{1780}'..='\u{17d3}'
            | '\u{17d7}' | '\u{17dc}'..='\u{17dd}' | '\u{1950}'..='\u{1974}' | '\u{1980}'..='\u{19c9}'
            | '\u{19de}'..='\u{19df}' | '\u{1a20}'..='\u{1a7c}' | '\u{1aa0}'..='\u{1aad}' | '\u{a9e0}'..='\u{a9ef}'
            | '\u{a9fa}'..='\u{a9fe}' | '\u{aa60}'..='\u{aac2}' | '\u{aadb}'..='\u{aadf}')
    })
}

fn is_word(segment: &str) -> bool {
    let mut characters = segment.chars().skip_while(|character| is_connector(*character));
    let Some(first) = characters.next() else { return false };
    if first.is_ascii() {
        return first.is_ascii_alphanumeric() || matches!(first, '#' | '*') && segment.ends_with('\u{20e3}');
    }
    // A character that joins a space is a mark, not a letter.
    (first.is_alphabetic() || is_digit(first)) && !are_joined(' ', first)
        || is_unspaced(segment)
        || is_pictographic(first)
        || is_flag(first) && characters.next().is_some_and(is_flag)
}

/// Whether a character is a decimal digit, and not another kind of number.
fn is_digit(character: char) -> bool {
    character.is_numeric() && are_joined('1', character)
}

/// Whether a character is `_` or similar (Word_Break=ExtendNumLet).
fn is_connector(character: char) -> bool {
    matches!(
        character,
        '_' | '\u{203f}' | '\u{2040}' | '\u{2054}' | '\u{fe33}' | '\u{fe34}' | '\u{fe4d}'..='\u{fe4f}' | '\u{ff3f}'
    )
}

/// Whether a character is a pictograph (Extended_Pictographic), which a zero-width joiner joins.
fn is_pictographic(character: char) -> bool {
    !character.is_alphanumeric() && !are_joined(' ', character) && are_joined('\u{200d}', character)
}

/// Whether a character is half of a flag (Regional_Indicator).
fn is_flag(character: char) -> bool {
    matches!(character, '\u{1f1e6}'..='\u{1f1ff}')
}

/// Whether there is no word boundary between two characters.
fn are_joined(one: char, other: char) -> bool {
    let mut bytes = [0; 8];
    let length = one.encode_utf8(&mut bytes).len();
    let length = length + other.encode_utf8(&mut bytes[length..]).len();
    std::str::from_utf8(&bytes[..length]).is_ok_and(|both| both.split_word_bounds().count() == 1)
}

fn cut(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (part, others) = rest.split_at(end_of_part(rest));
        rest = others;
        (!part.is_empty()).then_some(part)
    })
}

/// Returns the end of the first part of a word. Few words have more than one part.
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

/// Lower-cases each character on its own, one for one.
fn lower_cased(word: &str) -> Cow<'_, str> {
    if word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(word);
    }
    // Only U+0130 has a lower case of two characters; engines keep the first.
    Cow::Owned(word.chars().filter_map(|character| character.to_lowercase().next()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected words as returned by `_analyze` of OpenSearch 2.19.1.
    #[test]
    fn words_are_those_of_the_standard_analyser() {
        for (text, expected) in [
            ("Payment FAILED, don't", vec!["payment", "failed", "don't"]),
            (
                "3.14 1,000 10.0.0.1 a.b x-y a_b _x_ ___",
                vec!["3.14", "1,000", "10.0.0.1", "a.b", "x", "y", "a_b", "_x_"],
            ),
            ("ÄRGER İstanbul ΣΊΣΥΦΟΣ", vec!["ärger", "istanbul", "σίσυφοσ"]),
            ("日本語 ひら カタカナ 한국어", vec!["日", "本", "語", "ひ", "ら", "カタカナ", "한국어"]),
            ("ภาษาไทย", vec!["ภาษาไทย"]),
            ("ד'_x_ ד'_ a'_x ד'x ד'10.1", vec!["ד'_x_", "ד'_", "a", "_x", "ד'x", "ד'10.1"]),
            ("x² ½ * — \u{903}", vec!["x"]),
            ("😀 ❤\u{fe0f} 🇩🇪", vec!["😀", "❤\u{fe0f}", "🇩🇪"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(words(&"x".repeat(600)).map(|word| word.len()).collect::<Vec<_>>(), [255, 255, 90]);
    }
}
