//! The changes made to a line to make it a valid object.

/// Maximum number of entries of `origin.changed` with a key. Further changes are listed once per kind, without a key.
const NAMED_MAX: usize = 16;

/// Maximum length of a path: it ends with the key that exceeds it, and each key is truncated to this length.
const PATH_MAX_CHARS: usize = 128;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The byte order mark at the start was removed.
    ByteOrderMark,
    /// A control character in a string was escaped.
    ControlCharacter,
    /// Of the values of a duplicate key, one was kept and the others were moved to `origin.replaced`.
    DuplicateKey,
    /// A backslash that starts no escape was taken literally.
    InvalidEscape,
    /// A key that engines can't read was moved to `origin.replaced`.
    InvalidKey,
    /// Bytes that are not UTF-8 were replaced by U+FFFD.
    InvalidUtf8,
    /// A number that engines can't read was converted to a string: an integer with more than 64 bits, or one outside
    /// the range of a double.
    LargeNumber,
    /// NUL bytes at the start were removed.
    LeadingNuls,
    /// A lone surrogate was replaced by U+FFFD.
    LoneSurrogate,
    /// `NaN` or an infinity was converted to a string.
    NotANumber,
    /// A key reserved by the shipper or an engine was moved to `origin.replaced`.
    ReservedKey,
    /// A value nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH) was converted to a string.
    TooDeep,
    /// The line was truncated, and the object that it starts with was closed.
    TooLong,
    /// A comma before a closing bracket was removed.
    TrailingComma,
    /// Bytes that are invalid in the encoding of the file were replaced by U+FFFD.
    UndecodableBytes,
}

impl Change {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 15] = [
        Self::ByteOrderMark,
        Self::ControlCharacter,
        Self::DuplicateKey,
        Self::InvalidEscape,
        Self::InvalidKey,
        Self::InvalidUtf8,
        Self::LargeNumber,
        Self::LeadingNuls,
        Self::LoneSurrogate,
        Self::NotANumber,
        Self::ReservedKey,
        Self::TooDeep,
        Self::TooLong,
        Self::TrailingComma,
        Self::UndecodableBytes,
    ];

    /// The name in `origin.changed` and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "byte_order_mark",
            Self::ControlCharacter => "control_character",
            Self::DuplicateKey => "duplicate_key",
            Self::InvalidEscape => "invalid_escape",
            Self::InvalidKey => "invalid_key",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::LargeNumber => "large_number",
            Self::LeadingNuls => "leading_nuls",
            Self::LoneSurrogate => "lone_surrogate",
            Self::NotANumber => "not_a_number",
            Self::ReservedKey => "reserved_key",
            Self::TooDeep => "too_deep",
            Self::TooLong => "too_long",
            Self::TrailingComma => "trailing_comma",
            Self::UndecodableBytes => "undecodable_bytes",
        }
    }
}

/// A set of kinds of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet(u16);

impl ChangeSet {
    /// Adds a kind.
    pub fn insert(&mut self, change: Change) {
        self.0 |= 1 << change as u16;
    }

    /// Adds the kinds of another set.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether it contains a kind.
    #[must_use]
    pub const fn contains(self, change: Change) -> bool {
        self.0 & 1 << change as u16 != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its kinds, in the order of [`Change::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Change> {
        Change::ALL.into_iter().filter(move |change| self.contains(*change))
    }
}

/// The changes made to a line, some with the path of their key.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    set: ChangeSet,
    /// Kinds that have an entry in `named`.
    reported: ChangeSet,
    named: Vec<String>,
}

impl From<ChangeSet> for Changes {
    fn from(set: ChangeSet) -> Self {
        Self { set, ..Self::default() }
    }
}

impl Changes {
    /// The kinds of all changes.
    pub(crate) fn set(&self) -> ChangeSet {
        self.set
    }

    /// Records a change of the line as a whole.
    pub(crate) fn note(&mut self, change: Change) {
        self.set.insert(change);
    }

    /// Adds the changes of another value.
    pub(crate) fn extend(&mut self, other: Self) {
        self.set.0 |= other.set.0;
        self.reported.0 |= other.reported.0;
        self.named.extend(other.named);
    }

    /// Records a change of the key at the end of a path.
    pub(super) fn note_at(&mut self, change: Change, path: &[String]) {
        self.set.insert(change);
        if path.is_empty() || self.named.len() >= NAMED_MAX {
            return;
        }
        let mut entry = format!("{}:", change.as_str());
        for (depth, key) in path.iter().enumerate() {
            if depth > 0 {
                entry.push('.');
            }
            entry.extend(key.chars().take(PATH_MAX_CHARS));
            if entry.len() > PATH_MAX_CHARS {
                break;
            }
        }
        if !self.named.contains(&entry) {
            self.named.push(entry);
        }
        self.reported.insert(change);
    }

    /// The entries of `origin.changed`.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &str> {
        let unreported =
            self.set.iter().filter(|change| !self.reported.contains(*change)).map(|change| -> &str { change.as_str() });
        unreported.chain(self.named.iter().map(String::as_str))
    }
}
