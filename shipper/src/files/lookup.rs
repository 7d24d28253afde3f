//! Finds files on the disk: by patterns, and by inode or rotated name in a folder.
//!
//! A file that is temporarily unreadable is not considered missing: each answer is yes, no, or a temporary error, after
//! which the check is repeated.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::extent::{Extent, extent};
use super::identity::Inode;
use super::rotated::{is_rotated_name, originals, unnumbered};
use super::unpacking::is_damage;
use super::{ContentOf, FileSettings, Files, Look};
use crate::compressed::{Content, MAGIC_BYTES, Magic, Unpacked, magic};
use crate::disk::{Disk, DiskFile, FileKind, Matched, Stat};
use crate::encoding::LineEncoding;
use crate::journal::{Entry, FileIdentity};

/// Number of bytes read at once to find the last newline of a file.
const LOOK_BACK_BYTES: usize = 64 * 1024;

/// The result of matching all patterns.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// Paths that a pattern matches and none excludes, sorted and unique.
    pub(super) paths: Vec<PathBuf>,
    /// Folders and files that can't be read.
    pub(super) failed: Vec<(PathBuf, io::Error)>,
    /// Patterns without a match.
    pub(super) empty: Vec<String>,
}

impl Matching {
    /// Whether a path that did not match may exist in a folder that can't be read.
    pub(super) fn is_hidden(&self, path: &Path) -> bool {
        self.hiding(path).is_some()
    }

    fn hiding(&self, path: &Path) -> Option<&io::Error> {
        self.failed.iter().find(|(failed, _)| path.starts_with(failed)).map(|(_, error)| error)
    }
}

/// Matches all patterns.
pub(super) fn matching(disk: &impl Disk, settings: &FileSettings) -> Matching {
    let mut matched = Matching::default();
    for pattern in &settings.patterns {
        let Matched { paths, failed } = disk.matching(pattern);
        if paths.is_empty() && failed.is_empty() {
            matched.empty.push(pattern.to_owned());
        }
        matched.paths.extend(paths.into_iter().filter(|path| !settings.is_excluded(path)));
        matched.failed.extend(failed);
    }
    matched.paths.sort_unstable();
    matched.paths.dedup();
    matched
}

impl<D: Disk> Files<D> {
    /// The content of an opened file. A compressed one must have been measured, or be unchanged since it was a file of
    /// `identity`.
    ///
    /// # Errors
    /// File system errors; [`pending`]; and [damage](is_damage).
    pub(super) fn unpack(
        &mut self,
        file: D::File,
        stat: Stat,
        identity: Option<&FileIdentity>,
        look: &Look<D>,
    ) -> io::Result<(ContentOf<D>, Stat)> {
        let Some(Magic::Readable(compression)) = compressed_kind(&file)? else {
            return Ok((Content::plain(file), stat));
        };
        let len = identity.and_then(|identity| identity.as_unpacked(&stat)).map(|stat| stat.len);
        self.unpacking.open(Arc::new(file), stat, compression, len, look.now)
    }

    /// Whether the patterns match a file now, by its [`base`] path.
    pub(super) fn is_matched(&self, path: &Path) -> bool {
        let is_it = |named: &PathBuf| named.file_name() == path.file_name() && base(&self.disk, named) == *path;
        matching(&self.disk, &self.settings).paths.iter().any(is_it)
    }
}

/// The path of a file without links; if it does not exist, at least that of its folder.
pub(super) fn base(disk: &impl Disk, path: &Path) -> PathBuf {
    let named = named(path);
    let in_folder = || {
        let (dir, name) = named.parent().zip(named.file_name())?;
        Some(disk.canonical(dir)?.join(name))
    };
    disk.canonical(&named).or_else(in_folder).unwrap_or(named)
}

/// Whether a path is inside `state_dir`, whose files belong to the shipper.
pub(super) fn is_own(disk: &impl Disk, state_dir: &Path, path: &Path) -> bool {
    let own = disk.canonical(state_dir);
    own.zip(disk.canonical(path)).is_some_and(|(own, path)| path.starts_with(own))
}

/// Opens a regular file for reading, if it exists.
///
/// # Errors
/// File system errors.
pub(super) fn open_regular<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<(D::File, Stat)>> {
    let opened = || -> io::Result<_> {
        // Opening a pipe would block.
        if disk.stat(path)?.kind != FileKind::Regular {
            return Ok(None);
        }
        let file = disk.open(path)?;
        let stat = file.stat()?;
        Ok((stat.kind == FileKind::Regular).then_some((file, stat)))
    };
    match opened() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened,
    }
}

/// Maximum number of zeros at the end of a file that are considered allocated but unwritten.
const ALLOCATED_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The metadata of a file without the zeros at its end, which a writer that allocates or maps files will overwrite.
/// More than [`ALLOCATED_MAX_BYTES`] are not left out, and none in UTF-16, in which half of most text is zeros.
///
/// # Errors
/// File system errors.
pub(super) fn written(file: &impl DiskFile, stat: Stat, encoding: LineEncoding) -> io::Result<Stat> {
    let mut last = [0; 1];
    let ends_with_zero = stat.len > 0 && file.read_at(&mut last, stat.len - 1)? > 0 && last == [0];
    if !ends_with_zero
        || stat.packed_len.is_some()
        || encoding.for_file(file, stat.len, true)?.and_then(LineEncoding::utf16).is_some()
        // The last bytes of gzip are a length.
        || compressed_kind(file)?.is_some()
    {
        return Ok(stat);
    }
    let (mut end, least) = (stat.len, stat.len.saturating_sub(ALLOCATED_MAX_BYTES));
    let mut buffer = vec![0; LOOK_BACK_BYTES];
    while end > least {
        let start = end.saturating_sub(LOOK_BACK_BYTES as u64).max(least);
        let piece = &mut buffer[..usize::try_from(end - start).unwrap_or(0)];
        let got = file.read_at(piece, start)?;
        if let Some(at) = piece[..got].iter().rposition(|byte| *byte != 0) {
            return Ok(Stat { len: start + at as u64 + 1, allocated_len: Some(stat.len), ..stat });
        }
        end = start;
    }
    Ok(if least > 0 { stat } else { Stat { len: 0, allocated_len: Some(stat.len), ..stat } })
}

/// How a file is compressed, by its first bytes.
///
/// # Errors
/// File system errors.
pub(super) fn compressed_kind(file: &impl DiskFile) -> io::Result<Option<Magic>> {
    let mut first = [0; MAGIC_BYTES];
    let got = file.read_at(&mut first, 0)?;
    Ok(magic(&first[..got]))
}

/// How a file is compressed that was first seen before its writer started, when its first bytes did not show it.
///
/// # Errors
/// File system errors.
pub(super) fn became_compressed(met: &FileIdentity, read_to: u64, file: &impl DiskFile) -> io::Result<Option<Magic>> {
    if read_to > 0 || met.packed.is_some() || met.fingerprint_len >= MAGIC_BYTES as u64 {
        Ok(None)
    } else {
        compressed_kind(file)
    }
}

/// Finds the file of a generation that reaches `to`: under its own or a rotated name, copied, or compressed. A
/// compressed one is decoded completely.
///
/// # Errors
/// Temporary file system errors.
pub fn find<D: Disk>(disk: &D, entry: &Entry, to: u64) -> io::Result<Option<ContentOf<D>>> {
    let Some(identity) = &entry.file else { return Ok(None) };
    if let Some((file, stat)) = open_regular(disk, &identity.path)?
        && identity.is_same_after_restart(&stat)
        && let Some((file, len)) = content_alike(identity, file, &stat)?
        && identity.holds(&file, len, to, &entry.trail, true)?
    {
        return Ok(Some(file));
    }
    let mut folders = Folders::default();
    let base = base(disk, &identity.path);
    let folder = folders.of(disk, &base)?;
    let by_number = folder.with_inode(identity.key()).map(|(path, _)| path);
    for path in by_number.chain(folder.candidates(&base).map(|(path, _)| path)) {
        let Some((file, stat)) = open_regular(disk, path)? else { continue };
        let Some((file, len)) = content_alike(identity, file, &stat)? else { continue };
        if extent(identity, &file, len, to, &entry.trail)?.is_some_and(|extent| extent != Extent::Shorter) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// The content of a file and its length, if it starts like a generation.
fn content_alike<F: DiskFile>(identity: &FileIdentity, file: F, stat: &Stat) -> io::Result<Option<(Content<F>, u64)>> {
    let Some(Magic::Readable(compression)) = compressed_kind(&file)? else {
        return Ok(Some((Content::plain(file), stat.len)));
    };
    let file = Arc::new(Unpacked::new(Arc::new(file), compression));
    let len = identity
        .begins_alike(&Content::Unpacked { file: Arc::clone(&file), len: 0 })
        .and_then(|is_alike| is_alike.then(|| file.len()).transpose());
    match len {
        Ok(len) => Ok(len.map(|len| (Content::Unpacked { file, len }, len))),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The end of the last complete line before `to`; `from`, the start of a line, if there is none. The file has the given
/// encoding unless it starts with a byte order mark.
pub(super) fn whole_lines(file: &impl DiskFile, from: u64, to: u64, encoding: LineEncoding) -> io::Result<u64> {
    let order = encoding.for_file(file, to, true)?.and_then(LineEncoding::utf16);
    let mut buffer = vec![0; usize::try_from(to - from).map_or(LOOK_BACK_BYTES, |len| len.min(LOOK_BACK_BYTES))];
    // Half a unit of UTF-16 is not a newline.
    let mut end = if order.is_some() { to - (to - from) % 2 } else { to };
    while end > from {
        let start = end.saturating_sub(buffer.len() as u64).max(from);
        let piece = &mut buffer[..usize::try_from(end - start).unwrap_or(0)];
        let filled = file.read_at(piece, start)?;
        let after_newline = match order {
            Some(order) => order.after_last_newline(&piece[..filled]),
            None => memchr::memrchr(b'\n', &piece[..filled]).map(|at| at + 1),
        };
        if let Some(at) = after_newline {
            return Ok(start + at as u64);
        }
        end = start;
    }
    Ok(from)
}

/// The files of a folder when it was read.
#[derive(Debug, Default)]
pub(super) struct Folder {
    files: Vec<(PathBuf, Stat)>,
    by_inode: HashMap<Inode, Vec<usize>>,
    by_original: HashMap<PathBuf, Vec<usize>>,
    /// Its subfolders.
    folders: Vec<PathBuf>,
    /// Files removed or renamed while the folder was read.
    missed: Vec<PathBuf>,
}

impl Folder {
    fn read(disk: &impl Disk, dir: &Path) -> io::Result<Self> {
        let mut folder = Self::default();
        for path in disk.paths(dir)? {
            let stat = match disk.stat(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    folder.missed.push(path);
                    continue;
                }
                stat => stat?,
            };
            match stat.kind {
                FileKind::Regular => {}
                FileKind::Folder => {
                    folder.folders.push(path);
                    continue;
                }
                FileKind::Special => continue,
            }
            let index = folder.files.len();
            folder.by_inode.entry(stat.key()).or_default().push(index);
            for original in originals(&path) {
                folder.by_original.entry(original).or_default().push(index);
            }
            folder.files.push((path, stat));
        }
        Ok(folder)
    }

    /// The files with this inode.
    pub(super) fn with_inode(&self, inode: Inode) -> impl Iterator<Item = &(PathBuf, Stat)> {
        self.by_inode.get(&inode).into_iter().flatten().map(|index| &self.files[*index])
    }

    /// Its direct subfolders.
    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Files with rotated names of `original`, and for compressed files, those of which `original` is a rotated name.
    pub(super) fn candidates(&self, original: &Path) -> impl Iterator<Item = &(PathBuf, Stat)> {
        let of = |original: &Path| self.by_original.get(original).into_iter().flatten().copied();
        let nearest: Vec<_> = of(original).collect();
        let others = unnumbered(original).map(|base| of(&base).filter(|index| !nearest.contains(index)).collect());
        let others: Vec<_> = others.unwrap_or_default();
        nearest.into_iter().chain(others).map(|index| &self.files[index]).filter(move |(path, _)| path != original)
    }

    /// Whether a file with a rotated name of `original` may have been renamed or compressed meanwhile.
    pub(super) fn may_lack(&self, original: &Path) -> bool {
        self.missed.iter().any(|path| is_rotated_name(original, path))
    }
}

/// Folders read during one check, each once.
#[derive(Debug, Default)]
pub(super) struct Folders {
    folders: HashMap<PathBuf, Rc<Folder>>,
    /// The matches, if they were needed.
    named: Option<Rc<Matching>>,
}

impl Folders {
    /// The matches of all patterns.
    ///
    /// # Errors
    /// File system errors of a parent folder of `path`.
    pub(super) fn named(&mut self, disk: &impl Disk, settings: &FileSettings, path: &Path) -> io::Result<Rc<Matching>> {
        let named = Rc::clone(self.named.get_or_insert_with(|| Rc::new(matching(disk, settings))));
        match named.hiding(path) {
            Some(error) => Err(error.kind().into()),
            None => Ok(named),
        }
    }

    /// The folder of a file, by its [`base`] path. An inaccessible or missing one has no files.
    ///
    /// # Errors
    /// Temporary file system errors of a folder or a file in it.
    pub(super) fn of(&mut self, disk: &impl Disk, path: &Path) -> io::Result<Rc<Folder>> {
        let Some(dir) = path.parent() else { return Ok(Rc::default()) };
        if let Some(folder) = self.folders.get(dir) {
            return Ok(Rc::clone(folder));
        }
        let folder = match Folder::read(disk, dir) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Folder::default(),
            folder => folder?,
        };
        let folder = Rc::new(folder);
        self.folders.insert(dir.to_owned(), Rc::clone(&folder));
        Ok(folder)
    }
}

/// A path with its folder, even if it is only a name.
fn named(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new(".").join(path),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn complete_lines_end_after_a_newline_of_the_encoding() {
        // These characters contain 0x0A, and the text before is longer than one read.
        let texts = ["", "\n", "one\ntwo\n", "one\n\u{0a41}\u{410a}", &"\u{0a0a}".repeat(LOOK_BACK_BYTES)];
        for (label, is_big) in [("utf-16le", false), ("utf-16be", true)] {
            let encoding = LineEncoding::parse(label).unwrap();
            let encoded = |text: &str| -> Vec<u8> {
                text.encode_utf16()
                    .flat_map(|unit| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() })
                    .collect()
            };
            for text in texts {
                let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
                for (mark, encoding) in [("", encoding), ("\u{feff}", LineEncoding::default())] {
                    let bytes = encoded(&format!("{mark}{text}"));
                    let expected = if whole.is_empty() { 0 } else { encoded(&format!("{mark}{whole}")).len() as u64 };
                    let mut file = tempfile::tempfile().unwrap();
                    file.write_all(&[&bytes[..], b"\n"].concat()).unwrap();
                    for to in [bytes.len() as u64, bytes.len() as u64 + 1] {
                        assert_eq!(whole_lines(&file, 0, to, encoding).unwrap(), expected, "{label} {}", text.len());
                    }
                }
            }
        }
    }
}
