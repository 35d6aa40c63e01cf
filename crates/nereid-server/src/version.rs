//! Model versions as clients spell them.

use nereid_core::{Error, Result};

/// `""` is the latest version; anything else must start with a positive number, as C's `stol` reads it.
///
/// # Errors
/// `InvalidArg` with Triton's text (`common.cc`, `GetModelVersionFromString`).
pub(crate) fn parse(version: &str) -> Result<Option<u64>> {
    if version.is_empty() {
        return Ok(None);
    }
    let text = version.trim_start();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits[..end].parse::<i64>().map_err(|_| {
        Error::invalid_arg(format!(
            "failed to get model version from specified version string '{version}' (details: stol), version should \
             be an integral value > 0"
        ))
    })?;
    match u64::try_from(number) {
        Ok(number) if number > 0 && !negative => Ok(Some(number)),
        _ => Err(Error::invalid_arg(format!(
            "invalid model version specified '{version}' , version should be an integral value > 0"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, expected) in
            [("", Some(None)), ("1", Some(Some(1))), (" 12x", Some(Some(12))), ("-1", None)]
        {
            assert_eq!(parse(text).ok(), expected, "{text}");
        }
        for (text, part) in [
            ("abc", "'abc' (details: stol), version should be an integral value > 0"),
            ("99999999999999999999", "(details: stol)"),
            ("0", "invalid model version specified '0' , version should be an integral value > 0"),
            ("-1", "invalid model version specified '-1' ,"),
        ] {
            assert!(parse(text).unwrap_err().message().contains(part), "{text}");
        }
    }
}
