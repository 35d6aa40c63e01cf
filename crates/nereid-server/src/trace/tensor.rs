//! The elements of a traced tensor as one text, the value of `data` in a trace: numbers with commas between them, BYTES
//! as quoted words. What Triton gets wrong is right here: 8-bit numbers are numbers, not characters; quotes in words
//! are doubled, as readers of comma-separated values expect; 16-bit floats are not left out.

use std::io::Write;

use bytes::Bytes;
use nereid_core::{DataType, Shape, string_tensor};

use super::json::string_inside;

/// Significant digits of a floating point number.
const DIGITS: i32 = 6;

/// A tensor as it was; `data` is shared with the request or the response.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) activity: &'static str,
    pub(super) name: std::sync::Arc<str>,
    pub(super) datatype: DataType,
    pub(super) shape: Shape,
    pub(super) data: Bytes,
}

/// Appends the elements of `tensor`, ready to stand inside a JSON string.
pub(super) fn elements(out: &mut Vec<u8>, tensor: &Tensor) {
    let data = &tensor.data[..];
    match tensor.datatype {
        DataType::Bool => numbers(out, data, |out, [b]| decimal(out, u8::from(b != 0))),
        DataType::Uint8 => numbers(out, data, |out, [b]| decimal(out, b)),
        DataType::Uint16 => numbers(out, data, |out, b| decimal(out, u16::from_le_bytes(b))),
        DataType::Uint32 => numbers(out, data, |out, b| decimal(out, u32::from_le_bytes(b))),
        DataType::Uint64 => numbers(out, data, |out, b| decimal(out, u64::from_le_bytes(b))),
        DataType::Int8 => numbers(out, data, |out, b| decimal(out, i8::from_le_bytes(b))),
        DataType::Int16 => numbers(out, data, |out, b| decimal(out, i16::from_le_bytes(b))),
        DataType::Int32 => numbers(out, data, |out, b| decimal(out, i32::from_le_bytes(b))),
        DataType::Int64 => numbers(out, data, |out, b| decimal(out, i64::from_le_bytes(b))),
        DataType::Fp16 => numbers(out, data, |out, b| general(out, half(u16::from_le_bytes(b)))),
        DataType::Bf16 => numbers(out, data, |out, [low, high]| {
            general(out, f32::from_le_bytes([0, 0, low, high]).into());
        }),
        DataType::Fp32 => numbers(out, data, |out, b| general(out, f32::from_le_bytes(b).into())),
        DataType::Fp64 => numbers(out, data, |out, b| general(out, f64::from_le_bytes(b))),
        DataType::Bytes => words(out, data),
    }
}

fn numbers<const SIZE: usize>(out: &mut Vec<u8>, data: &[u8], write: impl Fn(&mut Vec<u8>, [u8; SIZE])) {
    for (i, element) in data.as_chunks::<SIZE>().0.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, *element);
    }
}

fn decimal(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "writing to memory");
}

fn words(out: &mut Vec<u8>, data: &[u8]) {
    for (i, word) in string_tensor::elements(data).map_while(Result::ok).enumerate() {
        out.extend_from_slice(if i > 0 { b",\\\"" } else { b"\\\"" });
        string_inside(out, &String::from_utf8_lossy(word).replace('"', "\"\""));
        out.extend_from_slice(b"\\\"");
    }
}

/// A 16-bit float of IEEE 754.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    let magnitude = match bits >> 10 & 0x1f {
        0 => fraction * 2_f64.powi(-14),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1.0 + fraction) * 2_f64.powi(i32::from(exponent) - 15),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Appends a number as C++ streams write it (`%g`): [`DIGITS`] significant digits, an exponent where it is large or
/// small, no trailing zeros.
fn general(out: &mut Vec<u8>, value: f64) {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let written = if value.is_nan() {
        write!(out, "{sign}nan")
    } else if value.is_infinite() {
        write!(out, "{sign}inf")
    } else {
        finite(out, value)
    };
    debug_assert!(written.is_ok(), "writing to memory");
}

fn finite(out: &mut Vec<u8>, value: f64) -> std::io::Result<()> {
    // Rounding to six digits may carry into the next power of ten, so the exponent is read off the rounded number.
    let rounded = format!("{value:.*e}", DIGITS as usize - 1);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let fixed = format!("{value:.*}", (DIGITS - 1 - exponent) as usize);
        out.write_all(short(&fixed).as_bytes())
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{}e{sign}{:02}", short(mantissa), exponent.abs())
    }
}

/// Without zeros at the end of the fraction.
fn short(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(datatype: DataType, data: &[u8], expected: &str) {
        let data = Bytes::copy_from_slice(data);
        let tensor = Tensor { activity: "", name: "".into(), datatype, shape: Shape::new(), data };
        let mut out = Vec::new();
        elements(&mut out, &tensor);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{datatype}");
    }

    #[test]
    fn every_type() {
        check(DataType::Bool, &[0, 1, 2], "0,1,1");
        check(DataType::Uint8, b"A\0\xff", "65,0,255");
        check(DataType::Int8, &[0x80, 0x7f], "-128,127");
        check(DataType::Uint16, &[1, 2, 0xff, 0xff], "513,65535");
        check(DataType::Int16, &[0, 0x80], "-32768");
        check(DataType::Uint32, &[0xff; 4], "4294967295");
        check(DataType::Int32, &[0xff; 8], "-1,-1");
        check(DataType::Uint64, &[0xff; 8], "18446744073709551615");
        check(DataType::Int64, &[0, 0, 0, 0, 0, 0, 0, 0x80], "-9223372036854775808");
        check(
            DataType::Fp16,
            &[0, 0x3c, 0x66, 0x2e, 1, 0, 0, 0xfc, 0, 0x7e],
            "1,0.0999756,5.96046e-08,-inf,nan",
        );
        check(DataType::Bf16, &[0x80, 0x3f, 0x20, 0xc1], "1,-10");
        check(DataType::Fp32, &[0xcd, 0xcc, 0xcc, 0x3d, 0, 0, 0, 0], "0.1,0");
        check(DataType::Fp64, &1e300_f64.to_le_bytes(), "1e+300");
        check(DataType::Fp32, &[], "");
        check(DataType::Fp32, &[0; 7], "0"); // what is no whole element is not there
    }

    #[test]
    fn words_of_any_bytes() {
        check(DataType::Bytes, b"\x02\0\0\0ab\0\0\0\0", r#"\"ab\",\"\""#);
        check(DataType::Bytes, b"\x05\0\0\0a\"\n\0\xff", r#"\"a\"\"\n\u0000�\""#);
        check(DataType::Bytes, b"\x01\0\0\0a\x09\0\0\0b", r#"\"a\""#);
    }

    #[test]
    fn as_printf() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (f64::from(0.1_f32), "0.1"),
            (-2.5, "-2.5"),
            (100_000.0, "100000"),
            (999_999.0, "999999"),
            (999_999.5, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.0001, "0.0001"),
            (0.000_099_999_96, "0.0001"),
            (0.000_012_345, "1.2345e-05"),
            (123.456_789, "123.457"),
            (f64::from(f32::MAX), "3.40282e+38"),
            (f64::MAX, "1.79769e+308"),
            (5e-324, "4.94066e-324"),
            (f64::NAN, "nan"),
            (-f64::NAN, "-nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut out = Vec::new();
            general(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value:e}");
        }
    }
}
