//! The names of a file after its rotation.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Suffixes that replace an extension when a file is renamed by hand.
const PUT_ASIDE: [&[u8]; 4] = [b"old", b"bak", b"prev", b"orig"];

/// Whether `name` is a rotated name of the file at `original` in the same folder: its name with a suffix (`app.log.1`,
/// `app.log-20261130.gz`), with a date or number before its extension (`app-20261130.log`, `app.1.log`), or with a
/// typical extension (`app.old`).
pub(super) fn is_rotated_name(original: &Path, name: &Path) -> bool {
    originals(name).any(|path| path == original) || is_put_aside(original, name)
}

fn is_put_aside(original: &Path, name: &Path) -> bool {
    let extension = name.extension().map(|extension| extension.as_bytes());
    let has_extension = original.extension().is_some() && extension.is_some_and(|it| PUT_ASIDE.contains(&it));
    has_extension && original.parent() == name.parent() && original.file_stem() == name.file_stem()
}

/// The files of which a file with this name may be a rotated copy, nearest first.
pub(super) fn originals(name: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    let file_name = name.file_name().map_or(&[][..], |name| name.as_bytes());
    let in_folder = move |bytes: Vec<u8>| name.with_file_name(OsString::from_vec(bytes));
    let shorter = (1..file_name.len()).rev().map(move |len| file_name[..len].to_vec());
    let extension = file_name.iter().rposition(|byte| *byte == b'.').unwrap_or(file_name.len());
    let (stem, extension) = file_name.split_at(extension);
    let undated = (1..stem.len()).rev().filter(move |len| is_date_or_number(&stem[*len..]));
    let undated = undated.filter(move |_| !extension.is_empty()).map(move |len| [&stem[..len], extension].concat());
    shorter.chain(undated).map(in_folder)
}

/// The files from which a file with this name was rotated, according to its date or number.
pub(super) fn dated_originals(name: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    let file_name = |path: &Path| path.file_name().map_or(Vec::new(), |name| name.as_bytes().to_vec());
    let own = file_name(name);
    originals(name).filter(move |original| own.strip_prefix(&*file_name(original)).is_none_or(is_date_or_number))
}

/// The name before numbering: `app.log` for `app.log.1` and `app.1.log`. Later rotations and compression change the
/// number.
pub(super) fn unnumbered(name: &Path) -> Option<PathBuf> {
    let file_name = name.file_name()?.as_bytes();
    let without_number = |bytes: &[u8]| {
        let digits = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let rest = bytes.len() - digits;
        let is_numbered = digits > 0 && rest > 1 && matches!(bytes[rest - 1], b'.' | b'-' | b'_');
        is_numbered.then(|| bytes[..rest - 1].to_vec())
    };
    let in_stem = || {
        let extension = file_name.iter().rposition(|byte| *byte == b'.')?;
        let (stem, extension) = file_name.split_at(extension);
        Some([&without_number(stem)?, extension].concat())
    };
    let bytes = without_number(file_name).or_else(in_stem)?;
    Some(name.with_file_name(OsString::from_vec(bytes)))
}

/// Whether this is a separator followed by digits, with separators and letters of a time among them.
fn is_date_or_number(bytes: &[u8]) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b'-' | b'_' | b'.');
    let is_part = |byte: &u8| byte.is_ascii_digit() || is_separator(byte) || matches!(byte, b'T' | b'Z' | b':');
    bytes.first().is_some_and(is_separator) && bytes.iter().all(is_part) && bytes.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_extend_the_original_or_date_it() {
        let is_rotated = |name: &str| is_rotated_name(Path::new("/d/app.log"), &Path::new("/d").join(name));
        let rotated = [
            "app.log.1",
            "app.log-20261130",
            "app.log.2.gz",
            "app.log~",
            "app-20261130.log",
            "app.1.log",
            "app_2026-11-30T10:00Z.log",
            "app.old",
        ];
        for name in rotated {
            assert!(is_rotated(name), "{name}");
        }
        for name in
            ["app.log", "admin-notes.txt", "app.lo", "xapp.log.1", "app-notes.log", "app.txt", "app1.log", "app-1.txt"]
        {
            assert!(!is_rotated(name), "{name}");
        }
        assert!(!is_rotated_name(Path::new("/d/app.log"), Path::new("/e/app.log.1")));
        assert!(is_rotated_name(Path::new("app"), Path::new("app.1")));
    }

    #[test]
    fn a_date_or_number_names_the_original() {
        let originals = |name: &str| dated_originals(&Path::new("/d").join(name)).collect::<Vec<_>>();
        for name in ["app.log.12", "app.log-20261130", "app-20261130.log", "app.1.log", "app.log-20261130-1764522000"] {
            assert!(originals(name).contains(&PathBuf::from("/d/app.log")), "{name}");
        }
        for name in ["app.log", "app.log.errors", "app.log2"] {
            assert_eq!(originals(name), [] as [PathBuf; 0], "{name}");
        }
    }

    #[test]
    fn a_number_is_not_part_of_a_name() {
        let bare = |name: &str| unnumbered(Path::new(name)).map(|path| path.display().to_string());
        assert_eq!(bare("/d/app.log.12").as_deref(), Some("/d/app.log"));
        assert_eq!(bare("/d/app.1.log").as_deref(), Some("/d/app.log"));
        assert_eq!(bare("/d/app-20261130.log").as_deref(), Some("/d/app.log"));
        for name in ["/d/app.log", "/d/app1.log", "/d/.1", "/d/1"] {
            assert_eq!(bare(name), None, "{name}");
        }
    }
}
