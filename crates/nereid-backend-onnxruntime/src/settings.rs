//! `--backend-config=onnxruntime,<key>=<value>`, and how Triton reads numbers and booleans in
//! parameters (`backend_common.cc`).

use std::collections::BTreeMap;

use nereid_core::{Error, Result};

/// What the command line says about all models of this backend. Unknown keys are ignored, as in Triton.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// All sessions share the thread pools.
    pub(crate) global_pool: bool,
    /// Size of the shared intra-op pool; `None` means the CPU quota.
    pub(crate) intra_threads: Option<i32>,
    /// Size of the shared inter-op pool; `None` means the CPU quota.
    pub(crate) inter_threads: Option<i32>,
}

impl Settings {
    /// Reads `settings`. The thread counts matter only with `enable-global-threadpool`, as in Triton.
    ///
    /// # Errors
    /// `InvalidArg` for a value that is no boolean or number.
    pub(crate) fn parse(settings: &BTreeMap<String, String>) -> Result<Self> {
        let global_pool = settings.get("enable-global-threadpool").map(|v| boolean(v)).transpose()?;
        if !global_pool.unwrap_or(false) {
            return Ok(Self::default());
        }
        Ok(Self {
            global_pool: true,
            intra_threads: positive(settings, "intra_op_thread_count")?,
            inter_threads: positive(settings, "inter_op_thread_count")?,
        })
    }
}

/// The number at `key`, if there is one above 0.
///
/// # Errors
/// `InvalidArg` if the value is no number.
pub(crate) fn positive(parameters: &BTreeMap<String, String>, key: &str) -> Result<Option<i32>> {
    Ok(parameters.get(key).map(|v| integer(v)).transpose()?.filter(|n| *n > 0))
}

/// `true`, `on`, `1` and their opposites, in any case.
///
/// # Errors
/// `InvalidArg` for anything else.
pub(crate) fn boolean(value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(Error::invalid_arg(format!("failed to convert '{value}' to boolean"))),
    }
}

/// The number at the start of `value`; like C++'s `stoi`, which Triton uses, blanks before it and
/// anything behind it are ignored.
///
/// # Errors
/// `InvalidArg` if there is none or it does not fit 32 bits.
pub(crate) fn integer(value: &str) -> Result<i32> {
    leading_number(value)
        .parse()
        .map_err(|_| Error::invalid_arg(format!("failed to convert '{value}' to integral number")))
}

/// As [`integer`], for sizes.
///
/// # Errors
/// `InvalidArg` if there is none or it does not fit 64 bits.
pub(crate) fn unsigned(value: &str) -> Result<u64> {
    leading_number(value).parse().map_err(|_| {
        Error::invalid_arg(format!("failed to convert '{value}' to unsigned long long integral number"))
    })
}

fn leading_number(value: &str) -> &str {
    let value = value.trim_start();
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    &value[..value.len() - digits.len() + count]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)], expected: Result<Settings, &str>) {
        let settings = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        assert_eq!(Settings::parse(&settings).map_err(|e| e.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn settings() {
        check(&[("default-max-batch-size", "x"), ("intra_op_thread_count", "x")], Ok(Settings::default()));
        check(&[("enable-global-threadpool", "maybe")], Err("failed to convert 'maybe' to boolean"));
        let pool = Settings { global_pool: true, intra_threads: Some(3), inter_threads: None };
        let both = [("intra_op_thread_count", "3"), ("inter_op_thread_count", "0")];
        check(&[("enable-global-threadpool", "On"), both[0], both[1]], Ok(pool));
        check(
            &[("enable-global-threadpool", "1"), ("inter_op_thread_count", "many")],
            Err("failed to convert 'many' to integral number"),
        );
    }

    #[test]
    fn numbers() {
        for (text, expected) in
            [("7", Some(7)), (" -3x", Some(-3)), ("+2", Some(2)), ("", None), ("x1", None), ("-", None)]
        {
            assert_eq!(integer(text).ok(), expected, "{text:?}");
        }
        assert!(integer("99999999999").is_err());
        assert_eq!(unsigned("99999999999").unwrap(), 99_999_999_999);
        assert!(unsigned("-1").is_err());
    }
}
