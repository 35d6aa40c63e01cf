//! Tests of `profiles`.
