//! The kinds of sources that lines come from.
//!
//! A kind is a module with two types. One is a source of this kind: what identifies it, the fields of `origin` that
//! describe it, and the service of its lines. The other reads its lines, and knows how their bytes are framed. Spool,
//! batches, accounting, checkpoints and verification treat all sources alike.
//!
//! To add a kind, write its module and list it in [`Source`] and `Lines` here; if its lines are in files, in
//! [`FormatName`] and [`FileFormat`] as well. A new field of `origin` becomes searchable in `store`'s table of fields.

pub mod docker;
mod file;
mod stream;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::disk::DiskFile;
use crate::encoding::LineEncoding;
use crate::reader::{Chunk, LineView, Reader};
use docker::{ContainerReader, DockerSource, Labels};
pub use file::FileSource;
use file::TextReader;
pub use stream::StreamSource;

/// The source of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A stream, such as the stdout of a service.
    Stream(StreamSource),
    /// A file of lines.
    File(FileSource),
    /// A container's log file.
    Docker(DockerSource),
}

/// What describes a source.
pub(crate) trait Describe {
    /// Calls `with` for the key and the value of each field of `origin`.
    fn each_field(&self, with: &mut dyn FnMut(&'static str, &str));

    /// The service of lines that name none, unless it is the one in the settings.
    fn service(&self) -> Option<&str> {
        None
    }
}

impl Source {
    pub(crate) fn describe(&self) -> &dyn Describe {
        match self {
            Self::Stream(source) => source,
            Self::File(source) => source,
            Self::Docker(source) => source,
        }
    }
}

/// Name of the format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatName {
    /// Plain lines.
    Lines,
    /// Entries of Docker's json-file log driver.
    Docker,
}

impl FormatName {
    /// Whether files of this format are in UTF-8, whatever the setting `encoding`; if so, what to call them.
    #[must_use]
    pub fn always_utf8(self) -> Option<&'static str> {
        match self {
            Self::Lines => None,
            Self::Docker => Some("Docker log files"),
        }
    }
}

/// The format of files, and which of them are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Plain lines.
    Lines,
    /// Docker's entries, of containers with these labels.
    Docker(Labels),
}

impl FileFormat {
    /// Checks the settings of a format.
    ///
    /// # Errors
    /// The name of the setting that is invalid, and why.
    pub fn new(name: FormatName, docker_labels: &[String]) -> Result<Self, (&'static str, String)> {
        let labels = Labels::parse(docker_labels).map_err(|message| ("docker_labels", message))?;
        match name {
            FormatName::Docker => Ok(Self::Docker(labels)),
            FormatName::Lines if docker_labels.is_empty() => Ok(Self::Lines),
            FormatName::Lines => Err(("docker_labels", "labels require format docker".to_owned())),
        }
    }

    /// Returns the source of a file; `None` if it is ignored, at least for now.
    pub(crate) fn select(&self, path: &Path, file: &impl DiskFile) -> Option<Source> {
        match self {
            Self::Lines => Some(Source::File(FileSource::new(path))),
            Self::Docker(labels) => labels.select(path, file).map(Source::Docker),
        }
    }

    /// Returns the source of a file that was selected before. It stays one, even if what selected it can't be read any
    /// more.
    pub(crate) fn selected(&self, path: &Path, file: &impl DiskFile) -> Source {
        self.select(path, file).unwrap_or_else(|| match self {
            Self::Lines => Source::File(FileSource::new(path)),
            Self::Docker(_) => Source::Docker(DockerSource::unlabelled(path)),
        })
    }
}

/// Reads the lines of a generation.
#[derive(Debug)]
pub(crate) enum Lines<F> {
    /// The bytes of a stream.
    Stream(Reader<F>),
    /// A file of lines.
    File(TextReader<F>),
    /// Entries of Docker's json-file driver.
    Docker(ContainerReader<F>),
}

/// Evaluates an expression for the reader of any kind.
macro_rules! each_kind {
    ($lines:expr, $reader:ident => $result:expr) => {
        match $lines {
            Lines::Stream($reader) => $result,
            Lines::File($reader) => $result,
            Lines::Docker($reader) => $result,
        }
    };
}

impl<F: DiskFile> Lines<F> {
    /// Reads lines from `offset` on. Files have the given encoding unless they start with a byte order mark.
    pub(crate) fn new(
        source: &Source,
        file: Arc<F>,
        offset: u64,
        line_max_bytes: usize,
        encoding: LineEncoding,
    ) -> Self {
        match source {
            Source::Stream(_) => Self::Stream(Reader::new(file, offset, line_max_bytes)),
            Source::File(_) => Self::File(TextReader::new(file, offset, line_max_bytes, encoding)),
            Source::Docker(_) => Self::Docker(ContainerReader::new(file, offset, line_max_bytes)),
        }
    }

    /// Continues in another file with the same content up to here.
    pub(crate) fn move_to(&mut self, file: Arc<F>) {
        each_kind!(self, reader => reader.move_to(file));
    }

    /// Offset of the next line.
    pub(crate) fn offset(&self) -> u64 {
        each_kind!(self, reader => reader.offset())
    }

    /// The file being read.
    pub(crate) fn file(&self) -> &Arc<F> {
        each_kind!(self, reader => reader.file())
    }

    /// The present length of the file.
    pub(crate) fn file_len(&self) -> io::Result<u64> {
        Ok(self.file().stat()?.len)
    }

    /// Passes lines to `take`; see [`Reader::read`].
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        end: u64,
        ended: bool,
        take: impl FnMut(LineView<'_>) -> ControlFlow<()>,
    ) -> io::Result<Chunk> {
        each_kind!(self, reader => reader.read(buffer, end, ended, take))
    }
}
