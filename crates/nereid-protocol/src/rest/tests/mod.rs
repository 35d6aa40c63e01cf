//! Tests of the HTTP bodies.
