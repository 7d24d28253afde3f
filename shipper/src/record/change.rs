//! What was changed about a line so that it could be passed on as an object.

/// Entries of `origin.changed` that name a key; beyond them a kind of change is named once, by itself.
const NAMED_MAX: usize = 16;

/// A key's path is shown up to the key that makes it longer than this, and no more characters of any key.
const PATH_MAX_CHARS: usize = 128;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The byte order mark at its beginning was left out.
    ByteOrderMark,
    /// A control character in a string was escaped.
    ControlCharacter,
    /// Of a key that an object has twice, one value was kept; the others moved to `origin.replaced`.
    DuplicateKey,
    /// A backslash that begins no escape was taken for itself.
    InvalidEscape,
    /// A key that engines can't read moved to `origin.replaced`.
    InvalidKey,
    /// Bytes that are not UTF-8 were replaced by U+FFFD.
    InvalidUtf8,
    /// A number that engines can't read became a string: a whole one beyond 64 bits, or one that no double holds.
    LargeNumber,
    /// NUL bytes at its beginning were left out.
    LeadingNuls,
    /// Half of a surrogate pair was replaced by U+FFFD.
    LoneSurrogate,
    /// `NaN` or an infinity became a string.
    NotANumber,
    /// A key that the shipper or an engine takes for its own moved to `origin.replaced`.
    ReservedKey,
    /// What is nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH) became a string.
    TooDeep,
    /// It was cut at the limit, and the object that its beginning is was closed.
    TooLong,
    /// A comma before a closing bracket was left out.
    TrailingComma,
    /// Bytes that are not text in the encoding of the file were replaced by U+FFFD.
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

    /// The change as `origin.changed` and metrics name it.
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

    /// Adds another's kinds.
    pub fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether a kind is in it.
    #[must_use]
    pub const fn contains(self, change: Change) -> bool {
        self.0 & 1 << change as u16 != 0
    }

    /// Whether nothing was changed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its kinds, in the order of [`Change::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Change> {
        Change::ALL.into_iter().filter(move |change| self.contains(*change))
    }
}

/// The changes made to one line, some of them with the path of the key that they are about.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    set: ChangeSet,
    /// Kinds of which an entry of `named` tells.
    reported: ChangeSet,
    named: Vec<String>,
}

impl From<ChangeSet> for Changes {
    fn from(set: ChangeSet) -> Self {
        Self { set, ..Self::default() }
    }
}

impl Changes {
    /// The kinds of all of them.
    pub(crate) fn set(&self) -> ChangeSet {
        self.set
    }

    /// Notes a change of the line as a whole.
    pub(crate) fn note(&mut self, change: Change) {
        self.set.insert(change);
    }

    /// Adds another's changes.
    pub(crate) fn extend(&mut self, other: Self) {
        self.set.0 |= other.set.0;
        self.reported.0 |= other.reported.0;
        self.named.extend(other.named);
    }

    /// Notes a change about the key at the end of a path.
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
