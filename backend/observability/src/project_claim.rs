//! Decides which project a request belongs to.
//!
//! Anyone can send a project id in a header or path. It becomes a label, and the `project_id` of log lines, only if
//! - a route matches the request, and
//! - the caller is authorized for the project. Services that authenticate their callers set a [`ProjectCheck`] for each
//!   request, and until then it has no project. Other services accept any project.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use actix_web::http::header::HeaderValue;

use crate::ids::{ascii, is_valid_id};

/// Result of a project check: whether the caller is authorized for the project, and whether the project exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProjectClaim {
    /// The caller is not authorized, and the project id is ignored.
    Refused = 0,
    /// The caller is authorized, but the project may not exist. Its id is logged, and its label uses the label sets that
    /// invented ids can use up.
    Unverified = 1,
    /// The caller is authorized and the project exists. Its label uses the label sets reserved for known projects.
    Verified = 2,
}

/// Checks a project id; see [`RequestContext::set_project_check`](crate::RequestContext::set_project_check).
pub(crate) type ProjectCheck = Box<dyn Fn(&str) -> ProjectClaim + Send + Sync>;

/// The project ids in a request's header and path, with the results of the check.
pub(crate) struct ClaimedProject {
    in_header: Option<HeaderValue>,
    in_path: OnceLock<Box<str>>,
    header_claim: Claim,
    path_claim: Claim,
    check: OnceLock<ProjectCheck>,
    /// Whether projects are refused until a check is set.
    check_required: bool,
}

impl ClaimedProject {
    /// Without a required check, the header is used until it is known that no route matches. Looking up the route before
    /// routing would cost half as much as the rest of this library.
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

    /// The project id in use and its claim. The path takes precedence over the header.
    pub(crate) fn current(&self) -> Option<(&str, ProjectClaim)> {
        let in_path = || Some((self.in_path.get()?.as_ref(), self.path_claim.get()));
        let in_header = || Some((ascii(self.in_header.as_ref()?.as_bytes()), self.header_claim.get()));
        let is_allowed = |claimed: &(&str, ProjectClaim)| claimed.1 != ProjectClaim::Refused;
        in_path().filter(is_allowed).or_else(|| in_header().filter(is_allowed))
    }

    /// Sets the check, unless one is set.
    pub(crate) fn set_check(&self, check: ProjectCheck) {
        if self.check.set(check).is_err() {
            return;
        }
        if let Some(project) = &self.in_header {
            self.header_claim.set(self.check(ascii(project.as_bytes())));
        }
        if let Some(project) = self.in_path.get() {
            self.path_claim.set(self.check(project));
        }
    }

    /// Sets the project found in the path. Only the first valid one is used.
    pub(crate) fn set_in_path(&self, project: &str) {
        if is_valid_id(project.as_bytes()) && self.in_path.set(project.into()).is_ok() {
            self.path_claim.set(self.check(project));
        }
    }

    /// Whether the caller sent a valid project id.
    pub(crate) fn is_claimed(&self) -> bool {
        self.in_header.is_some() || self.in_path.get().is_some()
    }

    /// Marks the project in use as verified.
    pub(crate) fn confirm(&self) {
        let claims = [(self.in_path.get().is_some(), &self.path_claim), (self.in_header.is_some(), &self.header_claim)];
        let is_allowed = |(is_named, claim): &&(bool, &Claim)| *is_named && claim.get() != ProjectClaim::Refused;
        if let Some((_, claim)) = claims.iter().find(is_allowed) {
            claim.set(ProjectClaim::Verified);
        }
    }

    /// Refuses the project because no route matches the request.
    pub(crate) fn refuse_unmatched(&self) {
        self.header_claim.set(ProjectClaim::Refused);
        self.path_claim.set(ProjectClaim::Refused);
    }

    fn check(&self, project: &str) -> ProjectClaim {
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

/// A [`ProjectClaim`] that can be changed through a shared reference.
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
