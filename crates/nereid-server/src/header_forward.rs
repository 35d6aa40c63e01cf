//! Header forwarding: headers whose names match a pattern become string parameters of the inference request.
//!
//! What both protocols share; which headers a request has is theirs to say.

use std::borrow::Cow;

use nereid_core::{Error, Parameter, Parameters, Result};
use regex::{Regex, RegexBuilder};

/// Parameters with a meaning of their own, which no header may set (`kReservedParameterKeys` of Triton's `common.h`).
const RESERVED: [&str; 7] =
    ["sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "binary_data_output"];
const RESERVED_PREFIX: &str = "triton_";

/// Which headers are forwarded.
#[derive(Debug, Clone)]
pub struct HeaderForward(Regex);

impl HeaderForward {
    /// Forwards headers in whose name `pattern` matches anywhere, in any case unless it says `(?-i)`. Matching takes
    /// time linear in the name, as with Triton's RE2.
    ///
    /// # Errors
    /// `pattern` is no regular expression, or too large a one.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(pattern).case_insensitive(true).build().map(Self)
    }

    /// The parameters that `headers`, names in lower case and values, give. Values that are not UTF-8 have U+FFFD in
    /// place of what is wrong.
    ///
    /// # Errors
    /// `InvalidArg` for the first one that matches and has a reserved name.
    pub(crate) fn parameters<'h>(
        &self,
        headers: impl Iterator<Item = (&'h str, Cow<'h, [u8]>)>,
    ) -> Result<Parameters> {
        let matching = headers.filter(|(name, _)| self.0.is_match(name));
        matching
            .map(|(name, value)| {
                if RESERVED.contains(&name) || name.starts_with(RESERVED_PREFIX) {
                    return Err(Error::invalid_arg(format!(
                        "Header '{name}' is reserved for Triton usage and cannot be forwarded."
                    )));
                }
                Ok((name.to_owned(), Parameter::Text(String::from_utf8_lossy(&value).into_owned())))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [(&str, &[u8]); 6] = [
        ("my_header_1", b"one"),
        ("my_header_2", b"caf\xc3\xa9"),
        ("x-my_header", b"caf\xe9"),
        ("my_header_1", b"again"),
        ("empty", b""),
        ("timeout", b"5"),
    ];

    fn names(pattern: &str) -> Result<Vec<String>> {
        let forward = HeaderForward::new(pattern).unwrap();
        let headers = HEADERS.into_iter().map(|(name, value)| (name, Cow::Borrowed(value)));
        Ok(forward.parameters(headers)?.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn patterns_match_anywhere_and_in_any_case() {
        for (pattern, expected) in [
            ("MY_HEADER.*", &["my_header_1", "my_header_2", "x-my_header", "my_header_1"][..]),
            ("(?-i)MY_HEADER.*", &[]),
            ("^my", &["my_header_1", "my_header_2", "my_header_1"]),
            ("r$|^empty$", &["x-my_header", "empty"]),
            ("nothing", &[]),
        ] {
            assert_eq!(names(pattern).unwrap(), expected, "{pattern}");
        }
    }

    #[test]
    fn reserved_names() {
        for pattern in [".*", "", "timeout"] {
            let message = "Header 'timeout' is reserved for Triton usage and cannot be forwarded.";
            assert_eq!(names(pattern).unwrap_err().message(), message);
        }
        let all = HeaderForward::new(".*").unwrap();
        for name in RESERVED.into_iter().chain(["triton_", "triton_grpc_error"]) {
            let error = all.parameters([(name, Cow::Borrowed(&b""[..]))].into_iter()).unwrap_err();
            assert_eq!(error.code(), nereid_core::ErrorCode::InvalidArg);
        }
        for name in ["sequence-id", "triton-x", "x_triton_", "timeout2", "content-type"] {
            assert!(all.parameters([(name, Cow::Borrowed(&b""[..]))].into_iter()).is_ok(), "{name}");
        }
    }

    #[test]
    fn values_are_text() {
        let headers = HEADERS.into_iter().map(|(name, value)| (name, Cow::Borrowed(value)));
        let forwarded = HeaderForward::new("header|empty").unwrap().parameters(headers).unwrap();
        let values: Vec<_> = forwarded.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["one", "café", "caf\u{fffd}", "again", ""].map(|v| Parameter::Text(v.into())));
    }

    #[test]
    fn broken_and_hostile_patterns() {
        for pattern in ["(", "[a", "*", r"\Q", &"(a{1000}){1000}".repeat(3)] {
            assert!(HeaderForward::new(pattern).is_err(), "{pattern}");
        }
        let name = "a".repeat(100_000); // would take for ever in a matcher that goes back
        assert!(!HeaderForward::new("(a*)*b$").unwrap().0.is_match(&name));
    }
}
