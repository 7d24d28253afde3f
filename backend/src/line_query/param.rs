//! The names of the parameters that choose lines.

/// A parameter that chooses lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// A query in the search language.
    Query,
    /// A level, several levels, or a minimum level.
    Level,
    /// The service that wrote the lines.
    Service,
    /// The project of the lines.
    Project,
    /// The endpoint of access lines.
    Endpoint,
    /// The status of access lines, or a range of them.
    Status,
    /// Start of the time range, inclusive.
    From,
    /// End of the time range, exclusive.
    To,
    /// A time range that ends now.
    Last,
}

impl Param {
    /// All parameters that choose lines.
    pub const ALL: [Self; 9] = [
        Self::Query,
        Self::Level,
        Self::Service,
        Self::Project,
        Self::Endpoint,
        Self::Status,
        Self::From,
        Self::To,
        Self::Last,
    ];

    /// Those that are not about time. The live tail takes no others, since it follows lines as they arrive.
    pub const FILTERS: [Self; 6] =
        [Self::Query, Self::Level, Self::Service, Self::Project, Self::Endpoint, Self::Status];

    /// The name in a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Level => "level",
            Self::Service => "service",
            Self::Project => "project",
            Self::Endpoint => "endpoint",
            Self::Status => "status",
            Self::From => "from",
            Self::To => "to",
            Self::Last => "last",
        }
    }

    /// The description in the API's OpenAPI document.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Query => "Query in the language of docs/search.md; without one, all lines",
            Self::Level => "Level, comma-separated levels, or a minimum level: `warn`, `warn,error`, `>=warn`",
            Self::Service => "Only lines of this service",
            Self::Project => "Only lines of this project",
            Self::Endpoint => "Only access lines of this endpoint",
            Self::Status => "Only access lines with this status: `404`, `5xx`, `400..404`, `>=500`",
            Self::From => "Start of the time range, inclusive; RFC 3339, UTC without an offset",
            Self::To => "End of the time range, exclusive; as `from`",
            Self::Last => {
                "Time range that ends now: 15m, 1h, 6h, 24h, 7d, 30d or all (default); ignored with `from` or `to`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_indexed_by_their_discriminant() {
        assert!(Param::ALL.into_iter().enumerate().all(|(index, param)| param as usize == index));
    }
}
