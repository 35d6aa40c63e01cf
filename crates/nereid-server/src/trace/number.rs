//! Floating point numbers as C++ streams write them (`%g`): six significant digits, an exponent where the number is
//! large or small, no trailing zeros.

use std::io::Write;

const DIGITS: i32 = 6;

/// Appends `value`.
pub(super) fn general(out: &mut Vec<u8>, value: f64) {
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
