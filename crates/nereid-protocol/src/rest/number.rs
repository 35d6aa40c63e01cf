//! JSON numbers: exact integers of 64 bits, everything else a correctly rounded double.

use super::decimal;
use super::error::{Syntax, SyntaxKind};
use super::json::Reader;

/// A number by the narrowest of the kinds that Triton tells apart.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(usize)]
pub(super) enum Number {
    Unsigned(u64),
    /// Below zero.
    Negative(i64),
    /// With a fraction or an exponent, or beyond 64 bits, or not finite.
    Double(f64),
}

impl Number {
    pub(super) fn as_u64(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn as_i64(self) -> Option<i64> {
        match self {
            Self::Unsigned(value) => i64::try_from(value).ok(),
            Self::Negative(value) => Some(value),
            Self::Double(_) => None,
        }
    }

    #[inline]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Unsigned(value) => value as f64,
            Self::Negative(value) => value as f64,
            Self::Double(value) => value,
        }
    }
}

impl Reader<'_> {
    /// On a number: reads it and moves behind it.
    pub(super) fn number(&mut self) -> Result<Number, Syntax> {
        let (number, end) = read(self.text, self.at)?;
        self.at = end;
        Ok(number)
    }
}

/// Reads the number at `start` and gives it with the offset behind it.
///
/// Takes and gives offsets by value, so that loops over tensors can keep theirs in a register.
#[inline(always)]
pub(super) fn read(text: &[u8], start: usize) -> Result<(Number, usize), Syntax> {
    let negative = byte(text, start) == b'-';
    let first = start + usize::from(negative);
    let (mut mantissa, mut at) = match byte(text, first) {
        b'0' => (0, first + 1),
        b'1'..=b'9' => read_whole(text, first),
        _ => return not_finite(text, first, negative),
    };
    let mut digits = at - first;
    let mut exponent = 0;
    let mut next = byte(text, at);
    if next != b'.'
        && next | 0x20 != b'e'
        && let Some(number) = integer(text, first, at, negative, mantissa)
    {
        return Ok((number, at));
    }
    if next == b'.' {
        let fraction = at + 1;
        (mantissa, at) = read_digits(text, fraction, mantissa);
        if at == fraction {
            return Syntax::at(SyntaxKind::NumberMissFraction, at);
        }
        digits += at - fraction;
        exponent = fraction as i64 - at as i64;
        next = byte(text, at);
    }
    if next | 0x20 == b'e' {
        let (written, end) = read_exponent(text, at + 1)?;
        exponent += written;
        at = end;
    }
    let fits = digits <= MAX_DIGITS || digits - leading_zeros(text, first, at) <= MAX_DIGITS;
    let value = match decimal::to_double(mantissa, exponent) {
        Some(value) if fits => {
            if negative {
                -value
            } else {
                value
            }
        }
        _ => slow_double(text, start, at, exponent)?,
    };
    Ok((Number::Double(value), at))
}

#[inline(always)]
fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// Reads the digits of a whole part. Most have a few, for which one branch each beats eight at a time.
#[inline(always)]
fn read_whole(text: &[u8], first: usize) -> (u64, usize) {
    let mut value = 0;
    for at in first..first + 4 {
        let digit = byte(text, at).wrapping_sub(b'0');
        if digit > 9 {
            return (value, at);
        }
        value = value * 10 + u64::from(digit);
    }
    read_digits(text, first + 4, value)
}

/// Reads digits behind those of `value`; wraps beyond 19 of them, so callers count.
#[inline(always)]
fn read_digits(text: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let eight = u64::from_le_bytes(*eight);
        let count = leading_digits(eight);
        if count < 8 {
            if count > 0 {
                // Shifted up, the missing digits become leading zeros.
                let some = eight_digits(eight << (64 - 8 * count));
                value = value.wrapping_mul(SMALL_POWERS_OF_TEN[count]).wrapping_add(some);
            }
            return (value, at + count);
        }
        value = value.wrapping_mul(100_000_000).wrapping_add(eight_digits(eight));
        at += 8;
    }
    loop {
        let digit = byte(text, at).wrapping_sub(b'0');
        if digit > 9 {
            return (value, at);
        }
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
}

/// Reads what follows the `e`.
fn read_exponent(text: &[u8], mut at: usize) -> Result<(i64, usize), Syntax> {
    let sign = byte(text, at);
    at += usize::from(matches!(sign, b'-' | b'+'));
    if !byte(text, at).is_ascii_digit() {
        return Syntax::at(SyntaxKind::NumberMissExponent, at);
    }
    let mut value = 0_i64;
    while let digit @ b'0'..=b'9' = byte(text, at) {
        value = (value * 10 + i64::from(digit - b'0')).min(1_000_000_000);
        at += 1;
    }
    Ok((if sign == b'-' { -value } else { value }, at))
}

/// The integer whose digits stand from `start` to `end`, unless it needs more than 64 bits.
#[inline(always)]
fn integer(text: &[u8], start: usize, end: usize, negative: bool, mantissa: u64) -> Option<Number> {
    let magnitude = match end - start {
        0..=19 => mantissa,
        20 => std::str::from_utf8(text.get(start..end)?).ok()?.parse().ok()?,
        _ => return None,
    };
    match (negative, magnitude) {
        (false, _) | (true, 0) => Some(Number::Unsigned(magnitude)), // `-0` is an integer to Triton as well
        (true, _) => Some(Number::Negative(0_i64.checked_sub_unsigned(magnitude)?)),
    }
}

/// `NaN`, `Inf` or `Infinity`, or no number at all.
#[cold]
fn not_finite(text: &[u8], start: usize, negative: bool) -> Result<(Number, usize), Syntax> {
    let (word, value) = match byte(text, start) {
        b'N' => ("NaN", f64::NAN),
        _ if byte(text, start + 3) == b'i' => ("Infinity", f64::INFINITY),
        _ => ("Inf", f64::INFINITY),
    };
    for (i, expected) in word.bytes().enumerate() {
        if byte(text, start + i) != expected {
            return Syntax::at(SyntaxKind::ValueInvalid, start + i);
        }
    }
    Ok((Number::Double(if negative { -value } else { value }), start + word.len()))
}

/// The number between `start` and `end`, for those that the fast way leaves over.
///
/// `exponent` is that of its last digit. One that is too large counts even when all digits are 0, as in Triton. (What
/// overflows with a smaller exponent, such as `10e308`, is refused here as well; RapidJSON 1.1.0 makes it an infinity.)
fn slow_double(text: &[u8], start: usize, end: usize, exponent: i64) -> Result<f64, Syntax> {
    match text.get(start..end).map(fast_float2::parse::<f64, _>) {
        Some(Ok(value)) if value.is_finite() && exponent <= 308 => Ok(value),
        _ => Syntax::at(SyntaxKind::NumberTooBig, start),
    }
}

/// Digits that fit a `u64` whatever they are.
const MAX_DIGITS: usize = 19;

/// Zeros before the first digit that counts, of the number between `first` and `end`.
#[cold]
fn leading_zeros(text: &[u8], first: usize, end: usize) -> usize {
    let digits = text.get(first..end).unwrap_or_default().iter().filter(|byte| **byte != b'.');
    digits.take_while(|byte| **byte == b'0').count()
}

const SMALL_POWERS_OF_TEN: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// How many of eight characters are digits before the first that is not; first character in the lowest byte.
fn leading_digits(eight: u64) -> usize {
    let above = eight.wrapping_add(0x4646_4646_4646_4646); // sets the high bit of what is above '9'
    let below = eight.wrapping_sub(0x3030_3030_3030_3030); // and this one of what is below '0'
    ((above | below) & 0x8080_8080_8080_8080).trailing_zeros() as usize / 8
}

/// The value of eight ASCII digits, first digit in the lowest byte.
fn eight_digits(eight: u64) -> u64 {
    let digits = eight & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}
