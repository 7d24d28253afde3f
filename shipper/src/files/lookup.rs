//! Finding files on the disk: by the patterns, and by number or rotated name in a folder.
//!
//! What can't be read at the moment is not taken for missing: each answer is yes, no, or an error that may pass, and then
//! the question is put again.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::copies::{Extent, extent};
use super::identity::Inode;
use super::rotated::{is_rotated_name, originals, unnumbered};
use super::unpacking::is_damage;
use super::{ContentOf, FileSettings, Files, Look};
use crate::compressed::{Content, MAGIC_BYTES, Magic, Unpacked, magic};
use crate::disk::{Disk, DiskFile, FileKind, Matched, Stat};
use crate::encoding::LineEncoding;
use crate::journal::{Entry, FileIdentity};

/// How much is read at once to find the last newline of a file.
const LOOK_BACK_BYTES: usize = 64 * 1024;

/// What the patterns match.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// The paths that a pattern names and none excludes, in order and once each.
    pub(super) paths: Vec<PathBuf>,
    /// Folders that can't be read, and files that can't be looked up.
    pub(super) failed: Vec<(PathBuf, io::Error)>,
    /// Patterns that match nothing.
    pub(super) empty: Vec<String>,
}

impl Matching {
    /// Whether a path that is not among the matches may be there nevertheless, in a folder that can't be read.
    pub(super) fn is_hidden(&self, path: &Path) -> bool {
        self.hiding(path).is_some()
    }

    fn hiding(&self, path: &Path) -> Option<&io::Error> {
        self.failed.iter().find(|(failed, _)| path.starts_with(failed)).map(|(_, error)| error)
    }
}

/// What the patterns match.
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
    /// The content of a file that was opened: of a compressed one, once it was measured or is known to be as it was when
    /// it was a file of `identity`'s.
    ///
    /// # Errors
    /// As the file system says; [`pending`]; and for [damage](is_damage).
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

/// Where a file lies: the path without links, of its folder at least if it is not there.
pub(super) fn base(disk: &impl Disk, path: &Path) -> PathBuf {
    let named = named(path);
    let in_folder = || {
        let (dir, name) = named.parent().zip(named.file_name())?;
        Some(disk.canonical(dir)?.join(name))
    };
    disk.canonical(&named).or_else(in_folder).unwrap_or(named)
}

/// Whether a path leads into `state_dir`, whose files are the shipper's own.
pub(super) fn is_own(disk: &impl Disk, state_dir: &Path, path: &Path) -> bool {
    let own = disk.canonical(state_dir);
    own.zip(disk.canonical(path)).is_some_and(|(own, path)| path.starts_with(own))
}

/// A file to be read, if it is one and is there.
///
/// # Errors
/// As the file system says.
pub(super) fn open_regular<D: Disk>(disk: &D, path: &Path) -> io::Result<Option<(D::File, Stat)>> {
    let opened = || -> io::Result<_> {
        // A pipe would keep whoever opens it waiting.
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

/// Zeros at a file's end that are taken for allocated and not written.
const ALLOCATED_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What a file is without the zeros at its end: whoever allocates a file before writing to it, or maps it into memory,
/// writes over them. Of more than [`ALLOCATED_MAX_BYTES`], and in UTF-16, where half of most text is zeros, none is left
/// out.
///
/// # Errors
/// As the file system says.
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
/// As the file system says.
pub(super) fn compressed_kind(file: &impl DiskFile) -> io::Result<Option<Magic>> {
    let mut first = [0; MAGIC_BYTES];
    let got = file.read_at(&mut first, 0)?;
    Ok(magic(&first[..got]))
}

/// How a file is compressed that was met before its writer began, when its first bytes did not show that.
///
/// # Errors
/// As the file system says.
pub(super) fn became_compressed(met: &FileIdentity, read_to: u64, file: &impl DiskFile) -> io::Result<Option<Magic>> {
    if read_to > 0 || met.packed.is_some() || met.fingerprint_len >= MAGIC_BYTES as u64 {
        Ok(None)
    } else {
        compressed_kind(file)
    }
}

/// The file that a life was of, which goes at least as far as `to`: under its own name or a rotated one, copied there and
/// cut, or compressed. A compressed one is decoded to its end.
///
/// # Errors
/// As the file system says of what can't be read at the moment.
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

/// The content of a file, and its length, if it begins as a life did.
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

/// Where the last line that ends with a newline before `to` ends; `from`, where a line begins, if there is none. The file is
/// in `encoding` unless it begins with a byte order mark.
pub(super) fn whole_lines(file: &impl DiskFile, from: u64, to: u64, encoding: LineEncoding) -> io::Result<u64> {
    let order = encoding.for_file(file, to, true)?.and_then(LineEncoding::utf16);
    let mut buffer = vec![0; usize::try_from(to - from).map_or(LOOK_BACK_BYTES, |len| len.min(LOOK_BACK_BYTES))];
    // Half a unit of UTF-16 is no newline.
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

/// The files of a folder, as they were when it was read.
#[derive(Debug, Default)]
pub(super) struct Folder {
    files: Vec<(PathBuf, Stat)>,
    by_inode: HashMap<Inode, Vec<usize>>,
    by_original: HashMap<PathBuf, Vec<usize>>,
    /// The folders in it.
    folders: Vec<PathBuf>,
    /// Files that were removed or renamed while the folder was read.
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

    /// The files with this number.
    pub(super) fn with_inode(&self, inode: Inode) -> impl Iterator<Item = &(PathBuf, Stat)> {
        self.by_inode.get(&inode).into_iter().flatten().map(|index| &self.files[*index])
    }

    /// The folders in it, without those in them.
    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The files whose names are rotated ones of `original`; and, for what was compressed since, of what `original` is a
    /// rotated name of.
    pub(super) fn candidates(&self, original: &Path) -> impl Iterator<Item = &(PathBuf, Stat)> {
        let of = |original: &Path| self.by_original.get(original).into_iter().flatten().copied();
        let nearest: Vec<_> = of(original).collect();
        let others = unnumbered(original).map(|base| of(&base).filter(|index| !nearest.contains(index)).collect());
        let others: Vec<_> = others.unwrap_or_default();
        nearest.into_iter().chain(others).map(|index| &self.files[index]).filter(move |(path, _)| path != original)
    }

    /// Whether a file that had a rotated name of `original` may have another one by now, or be compressed.
    pub(super) fn may_lack(&self, original: &Path) -> bool {
        self.missed.iter().any(|path| is_rotated_name(original, path))
    }
}

/// Folders that were read during one look, each once.
#[derive(Debug, Default)]
pub(super) struct Folders {
    folders: HashMap<PathBuf, Rc<Folder>>,
    /// What the patterns match, if that was asked.
    named: Option<Rc<Matching>>,
}

impl Folders {
    /// What the patterns match.
    ///
    /// # Errors
    /// As the file system says of a folder that `path` lies in.
    pub(super) fn named(&mut self, disk: &impl Disk, settings: &FileSettings, path: &Path) -> io::Result<Rc<Matching>> {
        let named = Rc::clone(self.named.get_or_insert_with(|| Rc::new(matching(disk, settings))));
        match named.hiding(path) {
            Some(error) => Err(error.kind().into()),
            None => Ok(named),
        }
    }

    /// The folder that a file lies in, by its [`base`] path; one that may not be read, or is not there, has no files.
    ///
    /// # Errors
    /// As the file system says of a folder, or a file in it, that can't be looked at at the moment.
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

/// A path with its folder, also where it has nothing but a name.
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
    fn whole_lines_end_after_a_newline_of_the_encoding() {
        // 0x0A is a part of these characters, and the text before is longer than one look.
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
