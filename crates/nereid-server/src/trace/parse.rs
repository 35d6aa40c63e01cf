//! Settings as clients write them, text by text, with Triton's words for what is wrong (`http_server.cc`,
//! `grpc_server.cc`). Pure.

use nereid_core::{Error, Result};

use super::settings::{Change, Level};

const RATE: &str = "trace_rate";
const COUNT: &str = "trace_count";
const FREQUENCY: &str = "log_frequency";

/// Lowest count of traces: any number.
const MIN_COUNT: i32 = -1;

/// Who asks: their texts differ by a blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Grpc,
}

/// The refusal of `trace_file`: a client must never choose where the server writes.
pub fn file_is_fixed() -> Error {
    Error::unsupported("trace file location can not be updated through network protocol")
}

/// The levels `names` together. Names that nobody knows are passed over; nothing but such ones changes nothing.
///
/// # Errors
/// InvalidArg for `OFF` together with another name.
pub fn level<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> Result<Change<Level>> {
    let alone = names.len() == 1;
    let mut level = Level::default();
    let mut change = Change::Keep;
    for name in names {
        match name {
            "OFF" if !alone => {
                return Err(Error::invalid_arg("Expect only one trace level 'OFF' is specified"));
            }
            "OFF" => {}
            "TIMESTAMPS" => level.timestamps = true,
            "TENSORS" => level.tensors = true,
            _ => continue,
        }
        change = Change::Set(level);
    }
    Ok(change)
}

/// `trace_rate`. As in Triton a negative one counts from 2^32 downwards.
///
/// # Errors
/// InvalidArg for what is no number of 32 bits.
pub fn rate(text: &str) -> Result<u32> {
    number(RATE, (0, u32::MAX.into()), text).map(|rate| rate as u32)
}

/// `trace_count`.
///
/// # Errors
/// InvalidArg for what is no number of 32 bits, or less than -1.
pub fn count(text: &str, protocol: Protocol) -> Result<i32> {
    let count = number(COUNT, (MIN_COUNT.into(), i32::MAX.into()), text)?;
    if count < MIN_COUNT {
        let blank = if protocol == Protocol::Grpc { " " } else { "" };
        return Err(Error::invalid_arg(format!(
            "Unable to parse '{COUNT}'. Expecting value >= {MIN_COUNT}, got:{blank}{text}"
        )));
    }
    Ok(count)
}

/// `log_frequency`; negative ones as in [`rate`].
///
/// # Errors
/// InvalidArg for what is no number of 32 bits.
pub fn frequency(text: &str) -> Result<u32> {
    number(FREQUENCY, (0, u32::MAX.into()), text).map(|frequency| frequency as u32)
}

/// The number at the start of `text`, as C++'s `stoi` reads it: after blanks, with a sign, whatever follows.
fn number(name: &str, (least, most): (i64, i64), text: &str) -> Result<i32> {
    let number = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return Err(Error::invalid_arg(format!("Unable to parse '{name}', got: {text}")));
    }
    let number = &number[..number.len() - digits.len() + end];
    number.parse().map_err(|_| {
        Error::invalid_arg(format!(
            "Unable to parse '{name}', value is out of range [ {least}, {most} ], got: {text}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, expected) in [
            ("500", Ok(500)),
            ("-5", Ok(4_294_967_291)),
            (" \t+7x", Ok(7)),
            ("2147483647.9", Ok(2_147_483_647)),
            ("-2147483648", Ok(2_147_483_648)),
            ("abc", Err("Unable to parse 'trace_rate', got: abc")),
            ("", Err("Unable to parse 'trace_rate', got: ")),
            ("-", Err("Unable to parse 'trace_rate', got: -")),
            ("+-1", Err("Unable to parse 'trace_rate', got: +-1")),
            ("\u{0}1", Err("Unable to parse 'trace_rate', got: \u{0}1")),
            (
                "4294967295",
                Err("Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 4294967295"),
            ),
            (
                "-99999999999999999999999999",
                Err("Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: \
                     -99999999999999999999999999"),
            ),
        ] {
            assert_eq!(
                rate(text).map_err(|e| e.message().to_owned()),
                expected.map_err(str::to_owned),
                "{text}"
            );
        }
        assert_eq!(frequency("10").unwrap(), 10);
        assert_eq!(frequency("x").unwrap_err().message(), "Unable to parse 'log_frequency', got: x");
    }

    #[test]
    fn counts() {
        assert_eq!(count("-1", Protocol::Http).unwrap(), -1);
        assert_eq!(count("0", Protocol::Grpc).unwrap(), 0);
        for (text, protocol, expected) in [
            ("-2", Protocol::Http, "Unable to parse 'trace_count'. Expecting value >= -1, got:-2"),
            ("-2", Protocol::Grpc, "Unable to parse 'trace_count'. Expecting value >= -1, got: -2"),
            (
                "2147483648",
                Protocol::Http,
                "Unable to parse 'trace_count', value is out of range [ -1, 2147483647 ], got: 2147483648",
            ),
        ] {
            assert_eq!(count(text, protocol).unwrap_err().message(), expected);
        }
    }

    #[test]
    fn levels() {
        let timestamps = Level { timestamps: true, tensors: false };
        for (names, expected) in [
            (&[][..], Some(Change::Keep)),
            (&["FOO"], Some(Change::Keep)),
            (&["off"], Some(Change::Keep)),
            (&["OFF"], Some(Change::Set(Level::default()))),
            (&["FOO", "TIMESTAMPS"], Some(Change::Set(timestamps))),
            (&["TENSORS", "TIMESTAMPS"], Some(Change::Set(Level { tensors: true, ..timestamps }))),
            (&["TIMESTAMPS", "OFF"], None),
            (&["OFF", "OFF"], None),
        ] {
            assert_eq!(level(names.iter().copied()).ok(), expected, "{names:?}");
        }
        let error = level(["OFF", "FOO"].into_iter()).unwrap_err();
        assert_eq!(error.message(), "Expect only one trace level 'OFF' is specified");
    }
}
