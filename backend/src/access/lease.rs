//! What a long answer may go on with. A [`Reader`] holds for the moment in which its request was let in; what goes on after
//! that, such as a stream or a live tail, has a [`Lease`] and no scope, and asks it for one before each page.

use store::Scope;

use crate::access::{Access, Reader};

/// The right to go on with an answer, for as long as its reader may see what they could when it began.
#[derive(Debug)]
pub struct Lease {
    access: Access,
    reader: Reader,
}

/// Why an answer may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The token is no longer in the file, or the session has ended.
    #[error("the token was revoked, or the session has ended")]
    Revoked,
    /// The token may read other projects than before.
    #[error("the token's projects were changed; ask again")]
    Changed,
}

impl Lease {
    /// A lease for a reader.
    #[must_use]
    pub fn new(access: &Access, reader: Reader) -> Self {
        Self { access: access.clone(), reader }
    }

    /// The lease of a service without tokens.
    #[cfg(test)]
    pub(crate) fn of_everyone() -> Self {
        let reader = Reader { scope: Scope::All, name: None, token: None, session: None };
        Self::new(&Access::new(super::door::Door::default(), None), reader)
    }

    /// What the reader may see now, for one page.
    ///
    /// # Errors
    /// They may not see it any more, or see something else.
    pub fn scope(&self) -> Result<&Scope, Ended> {
        let now = self.access.renewed(&self.reader).ok_or(Ended::Revoked)?;
        if now.scope() == self.reader.scope() { Ok(self.reader.scope()) } else { Err(Ended::Changed) }
    }
}
