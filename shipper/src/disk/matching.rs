//! The paths that a shell's pattern matches. Names that are not UTF-8 are matched as well: a byte that is no part of a
//! character counts as one character.

use std::io;
use std::path::{Path, PathBuf};

use glob::Pattern;

/// Any folders, at any depth.
const ANY_DEPTH: &str = "**";

/// The paths that `pattern` matches, in no order; none for what is no pattern. What is not there matches nothing.
///
/// # Errors
/// As the file system says of a folder that can't be read.
pub(super) fn matching(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut paths = vec![PathBuf::from(root)];
    for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let mut next = Vec::new();
        for path in &paths {
            match part {
                ANY_DEPTH => folders_under(path, &mut next)?,
                part if part.contains(['*', '?', '[']) => {
                    let Ok(part) = Pattern::new(part) else { return Ok(Vec::new()) };
                    let is_match =
                        |path: &PathBuf| path.file_name().is_some_and(|name| part.matches(&name.to_string_lossy()));
                    next.extend(entries(path)?.into_iter().filter(is_match));
                }
                part => {
                    let path = path.join(part);
                    match path.symlink_metadata() {
                        Ok(_) => next.push(path),
                        Err(error) if is_passed_over(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        paths = next;
    }
    Ok(paths)
}

/// A folder and all that are in it, at any depth. Those that a link leads to are not gone into, as by a shell: it may lead
/// back up.
fn folders_under(folder: &Path, folders: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        open.extend(
            entries(&folder)?.into_iter().filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir())),
        );
        folders.push(folder);
    }
    Ok(())
}

/// What lies in a folder; the path without a name is the one that programs run in.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_here = folder.as_os_str().is_empty();
    let read = || std::fs::read_dir(if is_here { Path::new(".") } else { folder })?.collect::<io::Result<Vec<_>>>();
    match read() {
        Ok(entries) => Ok(entries.into_iter().map(|entry| folder.join(entry.file_name())).collect()),
        Err(error) if is_passed_over(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn is_passed_over(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn patterns_match_as_a_shells_and_names_of_any_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        for folder in ["a/b/c", "d"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["a/one.log", "a/b/two.log", "a/b/c/three.log", "d/.four.log", "d/five.txt"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let strange = dir.path().join("d").join(OsStr::from_bytes(b"s\xe9x.log"));
        fs::write(&strange, "").unwrap();
        let found = |pattern: &str| {
            let mut found = matching(&format!("{root}/{pattern}")).unwrap();
            found.retain(|path| path.is_file());
            found.sort();
            found.iter().map(|path| super::super::path::text(path)[root.len() + 1..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("a/*.log"), ["a/one.log"]);
        assert_eq!(found("*/[of]*.*"), ["a/one.log", "d/five.txt"]);
        // These lead back up and to each other, and are no folders to go into.
        for link in ["a/up", "a/b/up"] {
            symlink("../..", dir.path().join(link)).unwrap();
        }
        assert_eq!(found("**/t*.log"), ["a/b/c/three.log", "a/b/two.log"]);
        symlink("a", dir.path().join("current")).unwrap();
        assert_eq!(found("current/**/one.log"), ["current/one.log"]);
        assert_eq!(found("**/one.log"), ["a/one.log"]);
        assert_eq!(found("a/**/*.log"), ["a/b/c/three.log", "a/b/two.log", "a/one.log"]);
        assert_eq!(found("d/*.log"), ["d/.four.log", "d/s\\xE9x.log"]);
        assert_eq!(found("d/s?x.log"), ["d/s\\xE9x.log"]);
        assert_eq!(found("d/five.txt"), ["d/five.txt"]);
        assert_eq!(found("d/five.txt/*"), [""; 0]);
        assert_eq!(found("nowhere/*"), [""; 0]);
        assert_eq!(found("["), [""; 0]);
    }
}
