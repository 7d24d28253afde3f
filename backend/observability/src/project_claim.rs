//! Which project a request is for, as far as its caller may say so.
//!
//! Anyone can write a project id into a header or an address. It becomes a label, and the `project_id` of log lines,
//! only where
//! - a route takes the request, and
//! - the service lets the caller speak for that project. Services without callers of their own ask nothing; others
//!   say so for each request ([`ProjectCheck`]), and until then the request has no project.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use actix_web::http::header::HeaderValue;

use crate::context::{ascii, is_valid_id};

/// How far a caller may speak for a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProjectClaim {
    /// The caller may not: the id is ignored.
    Refused = 0,
    /// The caller may, but nobody knows whether there is such a project: it is in log lines, and its label comes from
    /// the part of the budget that invented ids can use up.
    Unverified = 1,
    /// The caller may, and there is such a project: its label has a part of the budget of its own.
    Verified = 2,
}

/// Decides on a project id; see [`RequestContext::set_project_check`](crate::RequestContext::set_project_check).
pub(crate) type ProjectCheck = Box<dyn Fn(&str) -> ProjectClaim + Send + Sync>;

/// The project ids that a request came with, and what they count for.
pub(crate) struct ClaimedProject {
    in_header: Option<HeaderValue>,
    in_path: OnceLock<Box<str>>,
    header_claim: Claim,
    path_claim: Claim,
    check: OnceLock<ProjectCheck>,
    /// Whether nothing counts before the check.
    check_required: bool,
}

impl ClaimedProject {
    /// Where no check is required, the header counts until it is known that no route takes the request: to look the
    /// path up before routing would cost as much as half of everything else here.
    pub(crate) fn new(in_header: Option<HeaderValue>, check_required: bool) -> Self {
        let claim = if check_required { ProjectClaim::Refused } else { ProjectClaim::Unverified };
        Self {
            in_header,
            in_path: OnceLock::new(),
            header_claim: Claim(AtomicU8::new(claim as u8)),
            path_claim: Claim(AtomicU8::new(ProjectClaim::Refused as u8)),
            check: OnceLock::new(),
            check_required,
        }
    }

    /// The project's id, and what its label counts as. The path's goes before the header's.
    pub(crate) fn current(&self) -> Option<(&str, ProjectClaim)> {
        let in_path = || Some((self.in_path.get()?.as_ref(), self.path_claim.get()));
        let in_header = || Some((ascii(self.in_header.as_ref()?.as_bytes()), self.header_claim.get()));
        let counts = |claimed: &(&str, ProjectClaim)| claimed.1 != ProjectClaim::Refused;
        in_path().filter(counts).or_else(|| in_header().filter(counts))
    }

    /// The first check stays.
    pub(crate) fn set_check(&self, check: ProjectCheck) {
        if self.check.set(check).is_err() {
            return;
        }
        if let Some(project) = &self.in_header {
            self.header_claim.set(self.judge(ascii(project.as_bytes())));
        }
        if let Some(project) = self.in_path.get() {
            self.path_claim.set(self.judge(project));
        }
    }

    /// The first valid one stays.
    pub(crate) fn set_in_path(&self, project: &str) {
        if is_valid_id(project.as_bytes()) && self.in_path.set(project.into()).is_ok() {
            self.path_claim.set(self.judge(project));
        }
    }

    /// Whether the caller named a project that may be one.
    pub(crate) fn is_claimed(&self) -> bool {
        self.in_header.is_some() || self.in_path.get().is_some()
    }

    /// There is such a project as the one that counts.
    pub(crate) fn confirm(&self) {
        let claims = [(self.in_path.get().is_some(), &self.path_claim), (self.in_header.is_some(), &self.header_claim)];
        let counts = |(is_named, claim): &&(bool, &Claim)| *is_named && claim.get() != ProjectClaim::Refused;
        if let Some((_, claim)) = claims.iter().find(counts) {
            claim.set(ProjectClaim::Verified);
        }
    }

    /// No route has taken the request: it has no project.
    pub(crate) fn no_route(&self) {
        self.header_claim.set(ProjectClaim::Refused);
        self.path_claim.set(ProjectClaim::Refused);
    }

    fn judge(&self, project: &str) -> ProjectClaim {
        match self.check.get() {
            Some(check) => check(project),
            None if self.check_required => ProjectClaim::Refused,
            None => ProjectClaim::Unverified,
        }
    }
}

impl fmt::Debug for ClaimedProject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClaimedProject").field(&self.current()).finish()
    }
}

/// A [`ProjectClaim`] that may change while others read it.
struct Claim(AtomicU8);

impl Claim {
    fn get(&self) -> ProjectClaim {
        match self.0.load(Ordering::Relaxed) {
            2 => ProjectClaim::Verified,
            1 => ProjectClaim::Unverified,
            _ => ProjectClaim::Refused,
        }
    }

    fn set(&self, claim: ProjectClaim) {
        self.0.store(claim as u8, Ordering::Relaxed);
    }
}
