//! The decimal digits of a double as Triton prints them: Grisu2 (Loitsch, "Printing Floating-Point Numbers Quickly and
//! Accurately with Integers", 2010).
//!
//! Reading the digits gives the double back. They are nearly always the fewest possible, but not always the closest:
//! 0.16141219437122344… is `0.16141219437122346`, as Triton (RapidJSON 1.1.0) has it. A shortest-and-closest printer
//! would differ in such last digits.

/// Digits and a power of ten: the value is `digits * 10^exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    digits: [u8; MAX_DIGITS],
    len: usize,
    pub(super) exponent: i32,
}

/// Grisu2 stops within 17 digits; one more leaves room for the digit that is written before it is known.
const MAX_DIGITS: usize = 18;

impl Decimal {
    /// The digits of `value`, which must be finite and above zero.
    pub(super) fn of(value: f64) -> Self {
        let float = Float::of(value);
        let (lower, upper) = float.boundaries();
        let (power, exponent) = cached_power(upper.exponent);
        let exact = float.normalized().times(power);
        let upper = upper.times(power);
        let lower = lower.times(power);
        // One unit inwards on both sides makes up for the rounding of the products.
        let high = Float { significand: upper.significand - 1, ..upper };
        let width = high.significand - (lower.significand + 1);
        let mut decimal = Self { digits: [0; MAX_DIGITS], len: 0, exponent };
        decimal.generate(high, width, high.significand - exact.significand);
        decimal
    }

    /// ASCII digits; the first is not 0.
    pub(super) fn digits(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }

    /// Writes digits of `high` until what is left is within `width`, then moves the last one towards the exact value,
    /// which lies `distance` below `high`.
    fn generate(&mut self, high: Float, mut width: u64, distance: u64) {
        let shift = high.exponent.unsigned_abs();
        let one = 1_u64 << shift;
        let mut whole = (high.significand >> shift) as u32; // the power was chosen so that it fits
        let mut fraction = high.significand & (one - 1);
        let mut position = whole.checked_ilog10().map_or(0, |log| log as usize + 1);
        while position > 0 {
            position -= 1;
            let unit = POWERS_OF_TEN[position];
            let digit = whole / unit;
            self.push(digit as u8);
            whole -= digit * unit;
            let rest = (u64::from(whole) << shift) + fraction;
            if rest <= width {
                self.exponent += position as i32;
                self.round(width, rest, u64::from(unit) << shift, distance);
                return;
            }
        }
        let mut behind = 0_usize;
        loop {
            fraction *= 10;
            width *= 10;
            behind += 1;
            self.push((fraction >> shift) as u8);
            fraction &= one - 1;
            if fraction < width {
                self.exponent -= behind as i32;
                // Beyond eight places RapidJSON 1.1.0 lacks the power of ten and does not round.
                let scale = if behind < 9 { POWERS_OF_TEN[behind].into() } else { 0 };
                self.round(width, fraction, one, distance * scale);
                return;
            }
        }
    }

    #[inline]
    fn push(&mut self, digit: u8) {
        if (digit > 0 || self.len > 0)
            && let Some(slot) = self.digits.get_mut(self.len)
        {
            *slot = b'0' + digit;
            self.len += 1;
        }
    }

    /// Lowers the last digit, worth `unit`, while that brings the rest closer to `distance` and keeps it within
    /// `width`.
    fn round(&mut self, width: u64, mut rest: u64, unit: u64, distance: u64) {
        while rest < distance
            && width - rest >= unit
            && (rest + unit < distance || distance - rest > rest + unit - distance)
        {
            if let Some(last) = self.digits.get_mut(self.len.wrapping_sub(1)) {
                *last -= 1;
            }
            rest += unit;
        }
    }
}

/// `significand * 2^exponent`, without a hidden bit.
#[derive(Debug, Clone, Copy)]
struct Float {
    significand: u64,
    exponent: i32,
}

const HIDDEN_BIT: u64 = 1 << 52;

impl Float {
    fn of(value: f64) -> Self {
        let bits = value.to_bits();
        let fraction = bits & (HIDDEN_BIT - 1);
        match (bits >> 52 & 0x7ff) as i32 {
            0 => Self { significand: fraction, exponent: -1074 },
            biased => Self { significand: fraction | HIDDEN_BIT, exponent: biased - 1075 },
        }
    }

    fn normalized(self) -> Self {
        let shift = self.significand.leading_zeros();
        Self { significand: self.significand << shift, exponent: self.exponent - shift as i32 }
    }

    /// The middles between this and its neighbours, with equal exponents, the upper one normalized.
    fn boundaries(self) -> (Self, Self) {
        let Self { significand, exponent } = self;
        let upper = Self { significand: (significand << 1) + 1, exponent: exponent - 1 }.normalized();
        let lower = if significand == HIDDEN_BIT {
            Self { significand: (significand << 2) - 1, exponent: exponent - 2 } // the neighbour below is nearer
        } else {
            Self { significand: (significand << 1) - 1, exponent: exponent - 1 }
        };
        let shift = lower.exponent - upper.exponent;
        (Self { significand: lower.significand << shift, exponent: upper.exponent }, upper)
    }

    /// The product, rounded to 64 bits.
    fn times(self, other: Self) -> Self {
        let product = u128::from(self.significand) * u128::from(other.significand) + (1 << 63);
        Self { significand: (product >> 64) as u64, exponent: self.exponent + other.exponent + 64 }
    }
}

/// The power of ten that brings a significand of binary exponent `exponent` to one between -60 and -32, and what
/// decimal exponent undoes it.
fn cached_power(exponent: i32) -> (Float, i32) {
    let least = (f64::from(-61 - exponent) * std::f64::consts::LOG10_2).ceil() as i32 - FIRST_POWER - 1;
    let index = (least >> 3) + 1;
    let power = FIRST_POWER + index * 8;
    let significand = usize::try_from(index).ok().and_then(|index| CACHED_POWERS.get(index)).copied();
    let binary = ((power * 1_741_647) >> 19) - 63; // floor of the binary logarithm of 10^power
    (Float { significand: significand.unwrap_or(1 << 63), exponent: binary }, -power)
}

const POWERS_OF_TEN: [u32; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

const FIRST_POWER: i32 = -348;

/// `10^-348`, `10^-340` … `10^340`: the leading 64 bits, rounded.
#[rustfmt::skip]
static CACHED_POWERS: [u64; 87] = [
    0xfa8fd5a0081c0288, 0xbaaee17fa23ebf76, 0x8b16fb203055ac76, 0xcf42894a5dce35ea, 0x9a6bb0aa55653b2d,
    0xe61acf033d1a45df, 0xab70fe17c79ac6ca, 0xff77b1fcbebcdc4f, 0xbe5691ef416bd60c, 0x8dd01fad907ffc3c,
    0xd3515c2831559a83, 0x9d71ac8fada6c9b5, 0xea9c227723ee8bcb, 0xaecc49914078536d, 0x823c12795db6ce57,
    0xc21094364dfb5637, 0x9096ea6f3848984f, 0xd77485cb25823ac7, 0xa086cfcd97bf97f4, 0xef340a98172aace5,
    0xb23867fb2a35b28e, 0x84c8d4dfd2c63f3b, 0xc5dd44271ad3cdba, 0x936b9fcebb25c996, 0xdbac6c247d62a584,
    0xa3ab66580d5fdaf6, 0xf3e2f893dec3f126, 0xb5b5ada8aaff80b8, 0x87625f056c7c4a8b, 0xc9bcff6034c13053,
    0x964e858c91ba2655, 0xdff9772470297ebd, 0xa6dfbd9fb8e5b88f, 0xf8a95fcf88747d94, 0xb94470938fa89bcf,
    0x8a08f0f8bf0f156b, 0xcdb02555653131b6, 0x993fe2c6d07b7fac, 0xe45c10c42a2b3b06, 0xaa242499697392d3,
    0xfd87b5f28300ca0e, 0xbce5086492111aeb, 0x8cbccc096f5088cc, 0xd1b71758e219652c, 0x9c40000000000000,
    0xe8d4a51000000000, 0xad78ebc5ac620000, 0x813f3978f8940984, 0xc097ce7bc90715b3, 0x8f7e32ce7bea5c70,
    0xd5d238a4abe98068, 0x9f4f2726179a2245, 0xed63a231d4c4fb27, 0xb0de65388cc8ada8, 0x83c7088e1aab65db,
    0xc45d1df942711d9a, 0x924d692ca61be758, 0xda01ee641a708dea, 0xa26da3999aef774a, 0xf209787bb47d6b85,
    0xb454e4a179dd1877, 0x865b86925b9bc5c2, 0xc83553c5c8965d3d, 0x952ab45cfa97a0b3, 0xde469fbd99a05fe3,
    0xa59bc234db398c25, 0xf6c69a72a3989f5c, 0xb7dcbf5354e9bece, 0x88fcf317f22241e2, 0xcc20ce9bd35c78a5,
    0x98165af37b2153df, 0xe2a0b5dc971f303a, 0xa8d9d1535ce3b396, 0xfb9b7cd9a4a7443c, 0xbb764c4ca7a44410,
    0x8bab8eefb6409c1a, 0xd01fef10a657842c, 0x9b10a4e5e9913129, 0xe7109bfba19c0c9d, 0xac2820d9623bf429,
    0x80444b5e7aa7cf85, 0xbf21e44003acdd2d, 0x8e679c2f5e44ff8f, 0xd433179d9c8cb841, 0x9e19db92b4e31ba9,
    0xeb96bf6ebadf77d9, 0xaf87023b9bf0ee6b,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64) -> String {
        let decimal = Decimal::of(value);
        format!("{}e{}", std::str::from_utf8(decimal.digits()).unwrap(), decimal.exponent)
    }

    #[test]
    fn digits_give_the_double_back() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..100_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let double = f64::from_bits(state >> 1);
            let single = f64::from(f32::from_bits(state as u32 >> 1));
            for value in [double, single, (state >> 44) as f64 / 1024.0] {
                if value.is_finite() && value > 0.0 {
                    assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), value.to_bits(), "{value:e}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        for (value, expected) in [
            (5e-324, "5e-324"),
            (f64::MIN_POSITIVE, "22250738585072014e-324"),
            (f64::MAX, "17976931348623157e292"),
            (1.0, "1e0"),
            (0.1, "1e-1"),
            (1e22, "1e22"),
            (9_007_199_254_740_992.0, "9007199254740992e0"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    /// Digits that a real Triton printed, where the closest would end otherwise.
    #[test]
    fn not_the_closest() {
        assert_eq!(text(0.161_412_194_371_223_45), "16141219437122346e-17");
        assert_eq!(text(2.7735e-6), "27735000000000004e-22");
    }

    /// Each entry is the one before times 10^8, as far as rounded 64 bits can tell; 10^4 is exact.
    #[test]
    fn cached_powers_are_powers_of_ten() {
        assert_eq!(CACHED_POWERS[44], 10_000 << 50);
        for pair in CACHED_POWERS.windows(2) {
            let product = u128::from(pair[0]) * 100_000_000;
            let next = (product >> (64 - product.leading_zeros())) as u64;
            assert!(next.abs_diff(pair[1]) <= 2, "{:#x} is followed by {:#x}", pair[0], pair[1]);
        }
    }
}
