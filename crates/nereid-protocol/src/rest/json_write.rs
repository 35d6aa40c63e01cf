//! JSON text, written the way RapidJSON writes it for Triton: compact, doubles at their shortest with a fraction or
//! an exponent, `NaN` and `Infinity` as bare words, string bytes above 0x1f as they are.

/// Appends `text` in quotes. Bytes that are not UTF-8 stay what they are, as in Triton.
pub(super) fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut plain = 0;
    for (at, &byte) in text.iter().enumerate() {
        let escape = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text[plain..at]);
        plain = at + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    out.extend_from_slice(&text[plain..]);
    out.push(b'"');
}

/// Appends an integer.
pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `true` or `false`.
pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a double: plain from 1e-6 to below 1e21, with an exponent beyond.
pub(super) fn double(out: &mut Vec<u8>, value: f64) {
    if !value.is_finite() {
        let word: &[u8] = match (value.is_nan(), value < 0.0) {
            (true, _) => b"NaN",
            (_, true) => b"-Infinity",
            _ => b"Infinity",
        };
        out.extend_from_slice(word);
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value);
    let plain = (1e-6..1e21).contains(&value.abs());
    match text.split_once('e') {
        Some((mantissa, exponent)) if plain => spread(out, mantissa, exponent.parse().unwrap_or(0)),
        _ => out.extend_from_slice(text.as_bytes()),
    }
}

/// Writes `mantissa * 10^exponent` without an exponent, for exponents outside of ryu's plain range.
fn spread(out: &mut Vec<u8>, mantissa: &str, exponent: i32) {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    out.extend_from_slice(sign.as_bytes());
    let zeros =
        |out: &mut Vec<u8>, count: i32| out.resize(out.len() + usize::try_from(count).unwrap_or(0), b'0');
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        zeros(out, -exponent - 1);
        out.extend_from_slice(whole.as_bytes());
        out.extend_from_slice(fraction.as_bytes());
    } else {
        out.extend_from_slice(whole.as_bytes());
        let moved = usize::try_from(exponent).unwrap_or(0).min(fraction.len());
        let (before, behind) = fraction.split_at(moved);
        out.extend_from_slice(before.as_bytes());
        zeros(out, exponent - moved as i32);
        out.push(b'.');
        out.extend_from_slice(if behind.is_empty() { b"0" } else { behind.as_bytes() });
    }
}
