//! Finding files on the disk: by the patterns, by number, as the copy of one that was cut.
//!
//! What can't be read at the moment is not taken for missing: each answer is yes, no, or an error that may pass, and then
//! is asked again. A file or folder that may not be read at all is passed over.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile, Stat};
use crate::journal::FileIdentity;

/// A shorter fingerprint is not taken for proof that one file is a copy of another.
const COPY_FINGERPRINT_MIN_BYTES: u64 = 16;

/// How much is read at once to find the last newline of a file.
const LOOK_BACK_BYTES: usize = 64 * 1024;

/// A pattern that can't be looked up at the moment.
pub(super) type Failed = (PathBuf, io::Error);

/// The paths that the patterns match, in order and once each, but for what lies under `state_dir`; and the patterns that
/// gave none, since a folder of theirs can't be read at the moment.
pub(super) fn matching(disk: &impl Disk, patterns: &[String], state_dir: &Path) -> (Vec<PathBuf>, Vec<Failed>) {
    let own = disk.canonical(state_dir);
    let is_own = |path: &PathBuf| {
        let path = disk.canonical(path);
        own.as_ref().zip(path).is_some_and(|(own, path)| path.starts_with(own))
    };
    let (mut paths, mut failed) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match disk.matching(pattern) {
            Ok(matching) => paths.extend(matching),
            Err(error) => failed.push((PathBuf::from(pattern), error)),
        }
    }
    paths.retain(|path| !is_own(path));
    paths.sort_unstable();
    paths.dedup();
    (paths, failed)
}

/// A file to be read, if it is one and may be read.
pub(super) fn open_regular<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<(D::File, Stat)>> {
    if !disk.is_file(path) {
        return Ok(None);
    }
    match disk.open(path).and_then(|file| file.stat().map(|stat| (file, stat))) {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!(path = %path.display(), %error, "can't read a file that the patterns match");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The file that a life was of, which goes at least as far as `to`: under its own name or another in its folder, or
/// copied there and cut.
///
/// # Errors
/// As the file system says of what can't be read at the moment.
pub fn find<D: Disk>(disk: &D, identity: &FileIdentity, to: u64) -> io::Result<Option<D::File>> {
    if let Some((_, file, _)) = by_number(disk, identity, to)? {
        return Ok(Some(file));
    }
    Ok(copy(disk, identity, to, |_| false)?.map(|(file, _)| file))
}

/// The life of a file that is disposed of up to `checkpoint`, under whatever name in its folder.
pub(super) fn by_number<D: Disk>(
    disk: &D,
    identity: &FileIdentity,
    checkpoint: u64,
) -> io::Result<Option<(PathBuf, D::File, Stat)>> {
    let Some(dir) = folder(&identity.path) else { return Ok(None) };
    first(disk, dir, |path, file, stat| {
        let fits = identity.is_same(&stat) && stat.len >= checkpoint;
        Ok((fits && identity.begins_alike(&file)?).then_some((path, file, stat)))
    })
}

/// A file in the same folder that begins as the one that was cut did, goes at least as far as that was read, and is
/// not `known` as another one.
pub(super) fn copy<D: Disk>(
    disk: &D,
    cut: &FileIdentity,
    read_to: u64,
    known: impl Fn(&Stat) -> bool,
) -> io::Result<Option<(D::File, u64)>> {
    let Some(dir) = folder(&cut.path).filter(|_| cut.fingerprint_len >= COPY_FINGERPRINT_MIN_BYTES) else {
        return Ok(None);
    };
    first(disk, dir, |_, file, stat| {
        let fits = !cut.is_same(&stat) && !known(&stat) && stat.len >= read_to.max(cut.fingerprint_len);
        Ok((fits && cut.begins_alike(&file)?).then_some((file, stat.len)))
    })
}

/// Where the last line that ends with a newline before `to` ends; `from` if there is none.
pub(super) fn whole_lines(file: &impl DiskFile, from: u64, to: u64) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(to - from).map_or(LOOK_BACK_BYTES, |len| len.min(LOOK_BACK_BYTES))];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(buffer.len() as u64).max(from);
        let piece = &mut buffer[..usize::try_from(end - start).unwrap_or(0)];
        let filled = file.read_at(piece, start)?;
        if let Some(at) = piece[..filled].iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(from)
}

/// The folder that a path lies in, also where the path has nothing but a name.
fn folder(path: &Path) -> Option<&Path> {
    path.parent().map(|dir| if dir.as_os_str().is_empty() { Path::new(".") } else { dir })
}

/// The first file of a folder that is what is looked for. Where none is, and one could not be asked, that is the answer.
fn first<D: Disk, T>(
    disk: &D,
    dir: &Path,
    is_it: impl Fn(PathBuf, D::File, Stat) -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let paths = match disk.paths(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        listed => listed?,
    };
    let mut failed = None;
    for path in paths {
        let opened = open_regular(disk, &path);
        let asked = opened.and_then(|opened| opened.map_or(Ok(None), |(file, stat)| is_it(path, file, stat)));
        match asked {
            Ok(None) => {}
            Ok(found) => return Ok(found),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}
