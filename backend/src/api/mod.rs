//! The API of searches and counts, and its OpenAPI 3.1 description, which is generated from the handlers.
//!
//! [`logs`] returns lines, as a page or as a stream; [`counts`] returns facets, a histogram, request statistics and message
//! patterns; [`sources`] returns the lines around a line of a source.

pub mod counts;
pub mod description;
pub mod logs;
pub mod sources;
