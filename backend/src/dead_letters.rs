//! The dead letters of the shipper beside this service, where `SHIPPER_STATE_DIR` names its state directory: which bytes of a
//! source are kept there, and why no store takes them. They are only read, when a story has a gap.
//!
//! # On disk
//!
//! What is relied on is `STATE/dead-letters/SEQUENCE.ndjson`, one letter a line that begins with `at` and `id` and has `reason`,
//! `length` and `document`, and `SEQUENCE.replayed`, one `id` a line for what a replay has put into the store since. The shipper
//! describes both (`shipper/src/dead_letters.rs`); a test with a real letter holds the two together.
//!
//! # Bounds
//!
//! One look reads [`READ_MAX_BYTES`] at most, the newest files first, and holds one letter of [`LETTER_MAX_BYTES`] at a time;
//! looks wait for each other. What a bound leaves out is told.

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

use crate::access::Reader;

/// Bytes of letters that one look reads.
pub const READ_MAX_BYTES: u64 = 128 * 1024 * 1024;

/// A file is not read beyond a longer letter.
pub const LETTER_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Letters that one look gives; a source of more is not known whole.
pub const LETTERS_MAX: usize = 1_000;

/// A reason is shown up to so many characters.
const REASON_MAX_CHARS: usize = 200;

/// An id stands within so many bytes of a letter's begin.
const HEAD_BYTES: usize = 128;

/// A line that no store takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it stands in its source.
    pub offsets: Range<u64>,
    /// Why; none for whoever may not see the line.
    pub reason: Option<String>,
}

/// How far there are dead letters to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// No state directory is named.
    Nowhere,
    /// All of them.
    Through,
    /// A bound left some out.
    Partly,
    /// They can't be read.
    Failed,
}

/// Where dead letters are, if that is known. A copy is cheap.
#[derive(Clone, Debug, Default)]
pub struct DeadLetters(Option<Arc<Mutex<PathBuf>>>);

impl DeadLetters {
    /// Those under a shipper's state directory.
    #[must_use]
    pub fn under(state_dir: Option<&Path>) -> Self {
        Self(state_dir.map(|dir| Arc::new(Mutex::new(dir.to_owned()))))
    }

    /// The letters of a source that begin within `offsets`, by offset.
    pub async fn of(&self, generation: GenerationId, offsets: Range<u64>, reader: &Reader) -> (Vec<Letter>, Looked) {
        let Some(state_dir) = &self.0 else { return (Vec::new(), Looked::Nowhere) };
        let state_dir = state_dir.clone().lock_owned().await;
        let reader = reader.clone();
        let sees = move |project: Option<&str>| reader.sees(project);
        let look = move || read(&state_dir, &Asked { generation, offsets, sees: &sees }, READ_MAX_BYTES);
        let found = web::block(look).await.unwrap_or_else(|gone| Err(io::Error::other(gone)));
        found.unwrap_or_else(|error| {
            tracing::warn!(%error, "the shipper's dead letters can't be read (SHIPPER_STATE_DIR)");
            (Vec::new(), Looked::Failed)
        })
    }
}

/// What is looked for, and by whom.
struct Asked<'a> {
    generation: GenerationId,
    offsets: Range<u64>,
    /// Whether lines of this project may be seen.
    sees: Sees<'a>,
}

type Sees<'a> = &'a dyn Fn(Option<&str>) -> bool;

/// A letter as far as it is read. The document is not read with it: it may be nested as deep as no reader here goes.
#[derive(Deserialize)]
struct Written<'a> {
    id: String,
    reason: String,
    length: u64,
    #[serde(borrow)]
    document: &'a RawValue,
}

impl Written<'_> {
    /// Whose line it is.
    fn project(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Document {
            project_id: Option<String>,
        }
        serde_json::from_str::<Document>(self.document.get()).ok()?.project_id
    }
}

fn read(state_dir: &Path, asked: &Asked<'_>, max_bytes: u64) -> io::Result<(Vec<Letter>, Looked)> {
    let dir = state_dir.join("dead-letters");
    let mut files: Vec<_> = std::fs::read_dir(&dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".ndjson"))
        .collect();
    files.sort_unstable();
    let (mut letters, mut left, mut looked) = (Vec::new(), max_bytes, Looked::Through);
    for name in files.iter().rev() {
        let path = dir.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            // The shipper has removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if length > left {
            looked = Looked::Partly;
            break;
        }
        left -= length;
        let (mut found, all) = letters_of(BufReader::new(file.take(length)), asked)?;
        if !found.is_empty() {
            let replayed = replayed(&path.with_extension("replayed"))?;
            found.retain(|letter| {
                let id = LineId { generation: asked.generation, offset: letter.offsets.start };
                !replayed.contains(&id.to_string())
            });
        }
        letters.append(&mut found);
        if !all || letters.len() >= LETTERS_MAX {
            looked = Looked::Partly;
        }
        letters.truncate(LETTERS_MAX);
    }
    letters.sort_unstable_by_key(|letter| letter.offsets.start);
    Ok((letters, looked))
}

/// The letters of a file that are asked for, and whether it was read to its end.
fn letters_of(mut file: impl BufRead, asked: &Asked<'_>) -> io::Result<(Vec<Letter>, bool)> {
    let id = format!("\"id\":\"{}-", asked.generation);
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
        // A torn end is no letter yet.
        let Ok(written) = serde_json::from_slice::<Written<'_>>(&line) else { continue };
        let Ok(at) = written.id.parse::<LineId>() else { continue };
        if at.generation == asked.generation && asked.offsets.contains(&at.offset) {
            let reason = (asked.sees)(written.project().as_deref()).then(|| shortened(&written.reason));
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

/// The ids that a replay has put into the store. A file of marks is a tenth of its letters, which are bounded.
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

    fn look(state: &Path, sees: Sees<'_>, max_bytes: u64) -> (Vec<(u64, Option<String>)>, Looked) {
        let asked = Asked { generation: generation(), offsets: 10..100, sees };
        let (letters, looked) = read(state, &asked, max_bytes).unwrap();
        (letters.into_iter().map(|letter| (letter.offsets.start, letter.reason)).collect(), looked)
    }

    #[test]
    fn letters_of_a_range_are_found_and_their_reasons_told_to_who_may_see_them() {
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
        assert_eq!(look(state.path(), &|_| true, READ_MAX_BYTES), (vec![of(20), of(40), of(50)], Looked::Through));
        let as_a = vec![of(20), (40, None), of(50)];
        assert_eq!(look(state.path(), &|project| project == Some("a"), READ_MAX_BYTES), (as_a, Looked::Through));
        // The newest first.
        assert_eq!(look(state.path(), &|_| true, first.len() as u64), (vec![of(50)], Looked::Partly));
        let asked = Asked { generation: generation(), offsets: 0..9, sees: &|_| true };
        assert!(read(Path::new("/nowhere"), &asked, 1).is_err());
    }

    #[test]
    fn a_long_reason_is_cut() {
        assert_eq!(shortened(&"ä".repeat(300)).chars().count(), REASON_MAX_CHARS + 1);
    }
}
