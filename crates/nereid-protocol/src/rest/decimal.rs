//! From a decimal significand and exponent to the nearest double, where 64 bits of precision decide it.
//!
//! Two fast ways, Clinger's and Lemire's; each knows when it does not know and leaves the number to the caller.

/// `mantissa * 10^exponent`, correctly rounded, or `None` where that needs a closer look.
#[inline(always)]
pub(super) fn to_double(mantissa: u64, exponent: i64) -> Option<f64> {
    if mantissa <= 1 << 53 {
        // Significand and power are doubles themselves, so that one operation rounds once (Clinger).
        let power = |exponent: i64| EXACT_POWERS.get(usize::try_from(exponent).ok()?);
        let exact = match exponent {
            0.. => power(exponent).map(|power| mantissa as f64 * power),
            _ => power(-exponent).map(|power| mantissa as f64 / power),
        };
        if exact.is_some() {
            return exact;
        }
    }
    approximate(mantissa, exponent)
}

/// Multiplies by the leading 64 bits of the power of five (Lemire, "Number Parsing at a Gigabyte per Second").
///
/// The bits that the power lacks add less than 1 to the upper half of the product. So the rounding is sure unless the
/// nine bits that are cut off in any case are all zeros or all ones.
fn approximate(mantissa: u64, exponent: i64) -> Option<f64> {
    let power = *FIVES.get(usize::try_from(exponent + MOST_FIVES as i64).ok()?)?;
    if mantissa == 0 {
        return Some(0.0);
    }
    let shift = mantissa.leading_zeros();
    let product = u128::from(mantissa << shift) * u128::from(power);
    let upper = (product >> 64) as u64;
    if matches!(upper & 0x1ff, 0 | 0x1ff) {
        return None;
    }
    let carry = upper >> 63;
    let rounded = ((upper >> (9 + carry)) + 1) >> 1; // 53 bits, or 2^53, which carries into the exponent below
    let log2 = (exponent * 217_706) >> 16; // floor of the binary logarithm of 10^exponent, for small exponents
    let exponent = 63 + log2 + carry as i64 - i64::from(shift);
    Some(f64::from_bits((((exponent + 1023) as u64) << 52) + rounded - (1 << 52)))
}

/// The powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Powers of five from `5^-MOST_FIVES` to `5^MOST_FIVES`: the leading 64 bits, cut off. Beyond, 128 bits do not
/// suffice to compute them; floats from 1e-37 to 1e54 with 17 digits are within.
static FIVES: [u64; 2 * MOST_FIVES + 1] = fives();
const MOST_FIVES: usize = 54;

const fn fives() -> [u64; 2 * MOST_FIVES + 1] {
    let mut table = [0; 2 * MOST_FIVES + 1];
    let mut power = 1_u128;
    let mut n = 0;
    while n <= MOST_FIVES {
        table[MOST_FIVES + n] = ((power << power.leading_zeros()) >> 64) as u64;
        table[MOST_FIVES - n] = reciprocal(power);
        if n < MOST_FIVES {
            power *= 5;
        }
        n += 1;
    }
    table
}

/// The leading 64 bits of `1 / divisor`, by long division.
const fn reciprocal(divisor: u128) -> u64 {
    let mut rest = 1_u128;
    while rest < divisor {
        rest <<= 1;
    }
    let mut quotient = 0;
    let mut bit = 0;
    while bit < 64 {
        quotient <<= 1;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1;
        }
        rest <<= 1;
        bit += 1;
    }
    quotient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_standard_library() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut known = 0;
        for round in 0..200_000_i64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mantissa = state >> (round % 64);
            let exponent = round % 120 - 60;
            if let Some(value) = to_double(mantissa, exponent) {
                let expected: f64 = format!("{mantissa}e{exponent}").parse().unwrap();
                assert_eq!(value.to_bits(), expected.to_bits(), "{mantissa}e{exponent}");
                known += 1;
            }
        }
        assert!(known > 170_000, "only {known} were decided");
    }

    #[test]
    fn neighbours_of_halfway_points_are_not_guessed_wrong() {
        for bits in 52..64 {
            for low in 0..64_u64 {
                for exponent in [-54, -23, -22, -1, 0, 1, 22, 23, 27, 28, 54] {
                    for mantissa in [(1 << bits) + low, ((1 << bits) - 1) + low, (3 << (bits - 1)) + low] {
                        if let Some(value) = to_double(mantissa, exponent) {
                            let expected: f64 = format!("{mantissa}e{exponent}").parse().unwrap();
                            assert_eq!(value.to_bits(), expected.to_bits(), "{mantissa}e{exponent}");
                        }
                    }
                }
            }
        }
    }
}
