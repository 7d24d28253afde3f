//! Tests of the library as a service uses it.
