//! Reads dead letters from the state directory of a local shipper, which `SHIPPER_STATE_DIR` names. They explain gaps
//! in the lines of a request.
//!
//! # On disk
//!
//! `STATE/dead-letters/SEQUENCE.ndjson` has one dead letter per line, which starts with `at` and `id` and has `reason`,
//! `length` and `document`. `SEQUENCE.replayed` has one `id` per line of a dead letter that was replayed. The shipper
//! documents both formats (`shipper/src/dead_letters.rs`); a test with a real dead letter covers both sides.
//!
//! # Limits
//!
//! A lookup reads at most [`READ_MAX_BYTES`], newest files first, and holds one dead letter of at most
//! [`LETTER_MAX_BYTES`] in memory. Lookups run one at a time. The result says if a limit left something out.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::web;
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{GenerationId, LineId};
use tokio::sync::Mutex;

/// Maximum bytes that a lookup reads.
pub const READ_MAX_BYTES: u64 = 128 * 1024 * 1024;

/// Maximum bytes of a dead letter; a file is not read beyond a longer one.
pub const LETTER_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Maximum dead letters that a lookup returns.
pub const LETTERS_MAX: usize = 1_000;

/// Maximum characters of a reason.
const REASON_MAX_CHARS: usize = 200;

/// The ID is within this many bytes of the start of a dead letter.
const HEAD_BYTES: usize = 128;

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its range in its source.
    pub offsets: Range<u64>,
    /// Its reason; none if the reader may not see the line.
    pub reason: Option<String>,
}

/// How much of the dead letters was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// No state directory is configured.
    NotConfigured,
    /// All of them were read.
    Complete,
    /// A limit left some out.
    Partial,
    /// They can't be read.
    Failed,
}

/// The dead letters of a shipper, if a state directory is configured. A clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct DeadLetters(Option<Arc<Mutex<PathBuf>>>);

impl DeadLetters {
    /// The dead letters in a shipper's state directory.
    #[must_use]
    pub fn under(state_dir: Option<&Path>) -> Self {
        Self(state_dir.map(|dir| Arc::new(Mutex::new(dir.to_owned()))))
    }

    /// The dead letters of a source that start within `offsets`, by offset. `sees` tells whether the reader may see lines of a
    /// project; of other lines the reason is withheld.
    pub async fn lookup(
        &self,
        generation: GenerationId,
        offsets: Range<u64>,
        sees: impl Fn(Option<&str>) -> bool + Send + 'static,
    ) -> (Vec<Letter>, Extent) {
        let Some(state_dir) = &self.0 else { return (Vec::new(), Extent::NotConfigured) };
        let state_dir = state_dir.clone().lock_owned().await;
        let lookup = move || read(&state_dir, &Lookup { generation, offsets, sees: &sees }, READ_MAX_BYTES);
        let found = web::block(lookup).await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the shipper's dead letters can't be read (SHIPPER_STATE_DIR)");
            (Vec::new(), Extent::Failed)
        })
    }
}

/// The parameters of a lookup.
struct Lookup<'a> {
    generation: GenerationId,
    offsets: Range<u64>,
    /// Whether the reader may see lines of this project.
    sees: Sees<'a>,
}

type Sees<'a> = &'a dyn Fn(Option<&str>) -> bool;

/// A dead letter as it is on disk. Its document stays unparsed, since it may be nested too deep for any parser.
#[derive(Deserialize)]
struct Written<'a> {
    id: String,
    reason: String,
    length: u64,
    #[serde(borrow)]
    document: &'a RawValue,
}

impl Written<'_> {
    /// The project of its line.
    fn project(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Document {
            project_id: Option<String>,
        }
        serde_json::from_str::<Document>(self.document.get()).ok()?.project_id
    }
}

fn read(state_dir: &Path, lookup: &Lookup<'_>, max_bytes: u64) -> io::Result<(Vec<Letter>, Extent)> {
    let dir = state_dir.join("dead-letters");
    let mut files: Vec<_> = std::fs::read_dir(&dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".ndjson"))
        .collect();
    files.sort_unstable();
    let (mut letters, mut left, mut extent) = (Vec::new(), max_bytes, Extent::Complete);
    for name in files.iter().rev() {
        let path = dir.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            // The shipper deleted it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if length > left {
            extent = Extent::Partial;
            break;
        }
        left -= length;
        let (mut found, all) = letters_of(BufReader::new(file.take(length)), lookup)?;
        if !found.is_empty() {
            let replayed = replayed(&path.with_extension("replayed"))?;
            found.retain(|letter| {
                let id = LineId { generation: lookup.generation, offset: letter.offsets.start };
                !replayed.contains(&id.to_string())
            });
        }
        letters.append(&mut found);
        if !all || letters.len() >= LETTERS_MAX {
            extent = Extent::Partial;
        }
        letters.truncate(LETTERS_MAX);
    }
    letters.sort_unstable_by_key(|letter| letter.offsets.start);
    Ok((letters, extent))
}

/// The dead letters of a file that match, and whether the file was read to its end.
fn letters_of(mut file: impl BufRead, lookup: &Lookup<'_>) -> io::Result<(Vec<Letter>, bool)> {
    let id = format!("\"id\":\"{}-", lookup.generation);
    let (mut letters, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let length = (&mut file).take(LETTER_MAX_BYTES).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok((letters, true));
        }
        if length as u64 == LETTER_MAX_BYTES && !line.ends_with(b"\n") || letters.len() >= LETTERS_MAX {
            return Ok((letters, false));
        }
        let head = &line[..line.len().min(HEAD_BYTES)];
        if !head.windows(id.len()).any(|part| part == id.as_bytes()) {
            continue;
        }
        // An incomplete last line is not a dead letter yet.
        let Ok(written) = serde_json::from_slice::<Written<'_>>(&line) else { continue };
        let Ok(at) = written.id.parse::<LineId>() else { continue };
        if at.generation == lookup.generation && lookup.offsets.contains(&at.offset) {
            let reason = (lookup.sees)(written.project().as_deref()).then(|| shortened(&written.reason));
            letters.push(Letter { offsets: at.offset..at.offset.saturating_add(written.length), reason });
        }
    }
}

fn shortened(reason: &str) -> String {
    match reason.char_indices().nth(REASON_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// The IDs of replayed dead letters. The size of this file is bounded by that of its dead letters.
fn replayed(path: &Path) -> io::Result<HashSet<String>> {
    #[derive(Deserialize)]
    struct Mark {
        id: String,
    }
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(error),
    };
    let mut ids = HashSet::new();
    for line in BufReader::new(file.take(READ_MAX_BYTES)).split(b'\n') {
        ids.extend(serde_json::from_slice::<Mark>(&line?).ok().map(|mark| mark.id));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_A: &str = r#"{"project_id":"a"}"#;

    fn letter(offset: u64, document: &str) -> String {
        let id = LineId { generation: generation(), offset };
        format!(
            "{{\"at\":\"2026-11-24T10:00:00.000000Z\",\"id\":\"{id}\",\"index\":\"i\",\"status\":400,\"reason\":\"of {offset}\",\
             \"attempts\":1,\"length\":10,\"document\":{document}}}\n"
        )
    }

    fn generation() -> GenerationId {
        "0193a1b2c3d4e5f60718293a4b5c6d7e".parse().unwrap()
    }

    fn look(state: &Path, sees: Sees<'_>, max_bytes: u64) -> (Vec<(u64, Option<String>)>, Extent) {
        let lookup = Lookup { generation: generation(), offsets: 10..100, sees };
        let (letters, extent) = read(state, &lookup, max_bytes).unwrap();
        (letters.into_iter().map(|letter| (letter.offsets.start, letter.reason)).collect(), extent)
    }

    #[test]
    fn dead_letters_of_a_range_are_found_with_reasons_for_readers_who_may_see_them() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("dead-letters");
        std::fs::create_dir(&dir).unwrap();
        let other = letter(30, OF_A).replace("0193a1b2", "0193a1b3");
        let first = [letter(20, OF_A), letter(5, OF_A), other, letter(40, "\"text\""), letter(60, OF_A)].concat();
        std::fs::write(dir.join("00000000.ndjson"), &first).unwrap();
        std::fs::write(dir.join("00000001.ndjson"), letter(50, OF_A) + &letter(70, OF_A)[..90]).unwrap();
        let mark = format!(
            "\n{{\"at\":\"x\",\"id\":\"{}\",\"outcome\":\"stored\"}}\n{{\"at",
            LineId { generation: generation(), offset: 60 }
        );
        std::fs::write(dir.join("00000000.replayed"), mark).unwrap();

        let of = |offset: u64| (offset, Some(format!("of {offset}")));
        assert_eq!(look(state.path(), &|_| true, READ_MAX_BYTES), (vec![of(20), of(40), of(50)], Extent::Complete));
        let as_a = vec![of(20), (40, None), of(50)];
        assert_eq!(look(state.path(), &|project| project == Some("a"), READ_MAX_BYTES), (as_a, Extent::Complete));
        // Newest first.
        assert_eq!(look(state.path(), &|_| true, first.len() as u64), (vec![of(50)], Extent::Partial));
        let lookup = Lookup { generation: generation(), offsets: 0..9, sees: &|_| true };
        assert!(read(Path::new("/nowhere"), &lookup, 1).is_err());
    }

    #[test]
    fn a_long_reason_is_truncated() {
        assert_eq!(shortened(&"ä".repeat(300)).chars().count(), REASON_MAX_CHARS + 1);
    }
}
