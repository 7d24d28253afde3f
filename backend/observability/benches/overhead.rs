//! CPU time a request.
fn main() {}
