//! The API of searches and counts, and its description (OpenAPI 3.1), which is made from what stands here.
//!
//! [`logs`] finds lines, as a page or as a stream; [`counts`] has facets, histogram, figures of requests and patterns;
//! [`sources`] shows what stands around a line where it was read.

pub mod counts;
pub mod description;
pub mod logs;
pub mod sources;

/// The parameters of a route: those that choose lines, and its own.
macro_rules! parameters {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$outer])*
        #[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub struct $name {
            /// A query in the language of docs/search.md, of the fields that every line has and those that the shipper's
            /// configuration names; without one, all lines.
            query: Option<String>,
            /// Only lines at this time or later, RFC 3339.
            from: Option<String>,
            /// Only lines before this time, RFC 3339.
            to: Option<String>,
            /// One level or several, by comma.
            level: Option<String>,
            /// Only lines of this service.
            service: Option<String>,
            /// Only lines of this project.
            project: Option<String>,
            /// Only access lines of this endpoint.
            endpoint: Option<String>,
            /// Only access lines of this status: 404, 5xx, 400..404, >=500.
            status: Option<String>,
            $($(#[$inner])* $field: $kind,)*
        }

        impl $name {
            fn asked(&self) -> crate::ask::Asked<'_> {
                crate::ask::Asked {
                    query: self.query.as_deref(),
                    from: self.from.as_deref(),
                    to: self.to.as_deref(),
                    level: self.level.as_deref(),
                    service: self.service.as_deref(),
                    project: self.project.as_deref(),
                    endpoint: self.endpoint.as_deref(),
                    status: self.status.as_deref(),
                }
            }
        }
    };
}
pub(crate) use parameters;
