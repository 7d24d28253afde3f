//! Matches paths against a shell pattern. Names that are not UTF-8 match too: an invalid byte counts as one character.

use std::io;
use std::path::{Path, PathBuf};

use glob::Pattern;

/// Any folders, at any depth.
const ANY_DEPTH: &str = "**";

/// The result of matching a pattern.
#[derive(Debug, Default)]
pub struct Matched {
    /// The paths, in no particular order.
    pub paths: Vec<PathBuf>,
    /// Folders and files that can't be read. Matching continues in other folders.
    pub failed: Vec<(PathBuf, io::Error)>,
}

/// The paths that match `pattern`; none for an invalid pattern.
pub(super) fn matching(pattern: &str) -> Matched {
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut matched = Matched { paths: vec![PathBuf::from(root)], failed: Vec::new() };
    for part in pattern.split('/').filter(|part| !matches!(*part, "" | ".")) {
        for path in std::mem::take(&mut matched.paths) {
            match part {
                ANY_DEPTH => matched.add_folders_under(path),
                part if part.contains(['*', '?', '[']) => {
                    let Ok(part) = Pattern::new(part) else { return Matched::default() };
                    let is_match =
                        |path: &PathBuf| path.file_name().is_some_and(|name| part.matches(&name.to_string_lossy()));
                    let entries = matched.entries(&path).into_iter().filter(is_match);
                    matched.paths.extend(entries);
                }
                part => {
                    let path = path.join(part);
                    match path.symlink_metadata() {
                        Ok(_) => matched.paths.push(path),
                        Err(error) if is_passed_over(&error) => {}
                        Err(error) => matched.failed.push((path, error)),
                    }
                }
            }
        }
    }
    matched
}

impl Matched {
    /// Adds a folder and its subfolders at any depth. Links are not followed, as in a shell: they may lead back up.
    fn add_folders_under(&mut self, folder: PathBuf) {
        let mut open = vec![folder];
        while let Some(folder) = open.pop() {
            let is_folder = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
            open.extend(self.entries(&folder).into_iter().filter(is_folder));
            self.paths.push(folder);
        }
    }

    /// The entries of a folder. The empty path is the working directory.
    fn entries(&mut self, folder: &Path) -> Vec<PathBuf> {
        let is_here = folder.as_os_str().is_empty();
        let read = || std::fs::read_dir(if is_here { Path::new(".") } else { folder })?.collect::<io::Result<Vec<_>>>();
        match read() {
            Ok(entries) => return entries.into_iter().map(|entry| folder.join(entry.file_name())).collect(),
            Err(error) if is_passed_over(&error) => {}
            // `**` and the part after it may both read a folder.
            Err(_) if self.failed.iter().any(|(failed, _)| failed == folder) => {}
            Err(error) => self.failed.push((folder.to_owned(), error)),
        }
        Vec::new()
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
    fn patterns_match_like_a_shell_and_names_of_any_bytes() {
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
            let mut found = matching(&format!("{root}/{pattern}")).paths;
            found.retain(|path| path.is_file());
            found.sort();
            found.iter().map(|path| super::super::path::text(path)[root.len() + 1..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("a/*.log"), ["a/one.log"]);
        assert_eq!(found("*/[of]*.*"), ["a/one.log", "d/five.txt"]);
        // These links lead back up and to each other, and must not be followed.
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
