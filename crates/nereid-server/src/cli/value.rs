//! Text to values, with Triton's words for what is wrong (`command_line_parser.cc`, `ParseOption` and the
//! `Parse…Option` functions). Stricter than Triton in one point: `8000x` and `1.5` are not integers.

/// What is wrong with a value; the caller names the flag.
pub(super) type Result<T> = std::result::Result<T, String>;

/// `true`, `on`, `1`, `false`, `off` or `0`, in any case.
pub(super) fn boolean(text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(format!("invalid value for bool option: {text}")),
    }
}

/// An integer that fits `T`.
pub(super) fn integer<T: TryFrom<i128>>(text: &str) -> Result<T> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let out_of_bound = || format!("Provided option value is out of bound. Got {text}");
    match text.trim_start().parse::<i128>() {
        Ok(number) => T::try_from(number).map_err(|_| out_of_bound()),
        Err(error) if matches!(error.kind(), PosOverflow | NegOverflow) => Err(out_of_bound()),
        Err(_) => Err(format!("Invalid option value. Got {text}")),
    }
}

/// `--log-verbose`: a level, or `true` for 1 and `false` for 0. A level below 0 is 0.
pub(super) fn verbose_level(text: &str) -> Result<u32> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(1),
        "false" => Ok(0),
        _ => Ok(integer::<i32>(text)?.try_into().unwrap_or(0)),
    }
}

/// A number that may have a fraction.
pub(super) fn number(text: &str) -> Result<f64> {
    text.trim_start().parse().map_err(|_| format!("Invalid option value. Got {text}"))
}

/// One of `choices` (lower case), in any case; `what` is what Triton says otherwise.
pub(super) fn choice<'a>(text: &str, choices: &[&'a str], what: &str) -> Result<&'a str> {
    let text = text.to_ascii_lowercase();
    choices.iter().find(|c| **c == text).copied().ok_or_else(|| what.to_owned())
}

/// `<first><delimiter><second>`.
pub(super) fn pair<'a>(text: &'a str, delimiter: &str) -> Result<(&'a str, &'a str)> {
    text.split_once(delimiter).ok_or_else(|| {
        format!(
            "Cannot parse pair option due to incorrect number of inputs.--<pair option> argument requires format \
             <first>{delimiter}<second>. Found: {text}"
        )
    })
}

/// `<setting>=<value>`, both not empty, or the message `format`.
pub(super) fn setting<'a>(text: &'a str, format: &dyn Fn() -> String) -> Result<(&'a str, &'a str)> {
    text.split_once('=').filter(|(key, value)| !key.is_empty() && !value.is_empty()).ok_or_else(format)
}

/// `<name>,<setting>=<value>`, or `<setting>=<value>` with an empty name. `flag` and `what` (such as `backend
/// name`) go into the messages, `missing` is what is missing when the name is empty before its comma.
pub(super) fn named_setting<'a>(
    text: &'a str,
    flag: &str,
    what: &str,
    missing: &str,
) -> Result<(&'a str, &'a str, &'a str)> {
    let (name, rest) = text.split_once(',').unwrap_or(("", text));
    if name.is_empty() && text.starts_with(',') {
        return Err(format!(
            "No {missing} specified. --{flag} option format is <{what}>,<setting>=<value> or <setting>=<value>. \
             Got {text}"
        ));
    }
    let (key, value) =
        setting(rest, &|| format!("--{flag} option format is '<{what}>,<setting>=<value>'. Got {text}"))?;
    Ok((name, key, value))
}

/// `<name><delimiter><setting>=<value>`, all not empty (`ParseGenericConfigOption`).
pub(super) fn full_setting<'a>(
    text: &'a str,
    flag: &str,
    what: &str,
    delimiter: char,
) -> Result<(&'a str, &'a str, &'a str)> {
    let wrong = || format!("--{flag} option format is '<{what}>{delimiter}<setting>=<value>'. Got {text}");
    let (name, rest) = text.split_once(delimiter).ok_or_else(wrong)?;
    let (key, value) = setting(rest, &wrong)?;
    if name.is_empty() { Err(wrong()) } else { Ok((name, key, value)) }
}
