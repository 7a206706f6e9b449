//! Numbers: shortest floats, decimals of a fixed scale.

use std::fmt::Display;
use std::io::Write as _;

/// `float8out`: the shortest decimal that reads back as the same value.
pub(super) fn write_float8(value: f64, out: &mut String) {
    if !write_special(value, out) {
        let bits = value.abs().to_bits();
        let parts = Binary::new(bits & ((1 << 52) - 1), (bits >> 52) as i32, 52, 1075);
        let mut digits = Digits::new(value.abs(), None);
        if digits.are_rounded_up_tie_of(&parts) {
            let even = Digits::new(value.abs(), Some(digits.len()));
            digits = if even.parse() == Some(value.abs()) {
                even
            } else {
                digits
            };
        }
        if digits.are_bound_of(&parts) {
            // At most 17 digits tell any two float8 apart, so one of these fits.
            let wider = (digits.len()..=17).map(|len| Digits::new(value.abs(), Some(len)));
            let inside = |d: &Digits| d.parse() == Some(value.abs()) && !d.are_bound_of(&parts);
            digits = wider.into_iter().find(inside).unwrap_or(digits);
        }
        digits.write(15, out);
    }
}

/// `float4out`: the shortest decimal that reads back as the same value.
pub(super) fn write_float4(value: f32, out: &mut String) {
    if !write_special(f64::from(value), out) {
        let bits = value.abs().to_bits();
        let fraction = u64::from(bits & ((1 << 23) - 1));
        let parts = Binary::new(fraction, (bits >> 23) as i32, 23, 150);
        let mut digits = Digits::new(value.abs(), None);
        if digits.are_rounded_up_tie_of(&parts) {
            let even = Digits::new(value.abs(), Some(digits.len()));
            digits = if even.parse() == Some(value.abs()) {
                even
            } else {
                digits
            };
        }
        if digits.are_bound_of(&parts) {
            let wider = (digits.len()..=9).map(|len| Digits::new(value.abs(), Some(len)));
            let inside = |d: &Digits| d.parse() == Some(value.abs()) && !d.are_bound_of(&parts);
            digits = wider.into_iter().find(inside).unwrap_or(digits);
        }
        digits.write(6, out);
    }
}

/// Writes an integer as the decimal it stands for: `unscaled` x 10^-`scale`, with exactly `scale`
/// decimals. A negative scale appends zeros.
pub(crate) fn write_decimal(unscaled: impl Display, scale: i8, out: &mut String) {
    use std::fmt::Write as _;
    let start = out.len();
    // Writing to a `String` cannot fail.
    let _ = write!(out, "{unscaled}");
    let negative = out[start..].starts_with('-');
    let first = start + usize::from(negative);
    if scale < 0 {
        if &out[first..] != "0" {
            let zeros = usize::from(scale.unsigned_abs());
            out.extend(std::iter::repeat_n('0', zeros));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    if scale > 0 {
        let missing = (scale + 1).saturating_sub(out.len() - first);
        if missing > 0 {
            out.insert_str(first, &"0".repeat(missing));
        }
        out.insert(out.len() - scale, '.');
    }
}

/// Writes NaN, the infinities, the sign, and zero; false if digits have to follow.
fn write_special(value: f64, out: &mut String) -> bool {
    if value.is_nan() {
        out.push_str("NaN");
        return true;
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value.is_infinite() {
        out.push_str("Infinity");
        return true;
    }
    if value == 0.0 {
        out.push('0');
    }
    value == 0.0
}

/// A positive finite float as the exact `mantissa` x 2^`exponent`.
struct Binary {
    mantissa: u64,
    exponent: i32,
    /// Whether the next smaller float is half as far as the next larger one.
    lower_is_nearer: bool,
}

impl Binary {
    fn new(fraction: u64, biased: i32, fraction_bits: u32, bias: i32) -> Self {
        if biased == 0 {
            return Self {
                mantissa: fraction,
                exponent: 1 - bias,
                lower_is_nearer: false,
            };
        }
        Self {
            mantissa: fraction | 1 << fraction_bits,
            exponent: biased - bias,
            lower_is_nearer: fraction == 0 && biased > 1,
        }
    }
}

/// The significant decimal digits of a positive float, and where its decimal point goes.
struct Digits {
    text: [u8; 32],
    len: usize,
    /// The exponent of the first digit: 2 for 123.4.
    exponent: i32,
}

impl Digits {
    /// The shortest digits, or exactly `len` correctly rounded ones.
    fn new(value: impl std::fmt::LowerExp, len: Option<usize>) -> Self {
        let mut buffer = [0; 32];
        let mut rest = &mut buffer[..];
        // At most 17 digits, a point, and `e-324` fit into 32 bytes.
        let _ = match len {
            Some(len) => write!(rest, "{value:.*e}", len.saturating_sub(1)),
            None => write!(rest, "{value:e}"),
        };
        let end = 32 - rest.len();
        let mut digits = Self {
            text: [b'0'; 32],
            len: 0,
            exponent: 0,
        };
        for (index, &byte) in buffer[..end].iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    digits.text[digits.len] = byte;
                    digits.len += 1;
                }
                b'e' => {
                    let exponent = std::str::from_utf8(&buffer[index + 1..end]);
                    digits.exponent = exponent.ok().and_then(|e| e.parse().ok()).unwrap_or(0);
                    break;
                }
                _ => {}
            }
        }
        while digits.len > 1 && digits.text[digits.len - 1] == b'0' {
            digits.len -= 1;
        }
        digits
    }

    fn len(&self) -> usize {
        self.len
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or("0")
    }

    /// The number that the digits stand for.
    fn parse<F: std::str::FromStr>(&self) -> Option<F> {
        let (integer, fraction) = self.as_str().split_at(1);
        format!("{integer}.{fraction}e{}", self.exponent)
            .parse()
            .ok()
    }

    /// The power of ten of the last digit.
    fn power(&self) -> i32 {
        self.exponent - (self.len as i32 - 1)
    }

    /// Whether the float lies exactly half-way below these digits and the next smaller ones.
    ///
    /// Rust rounds such a tie up, PostgreSQL to even; formatting with a fixed number of digits
    /// rounds to even as well.
    fn are_rounded_up_tie_of(&self, float: &Binary) -> bool {
        let digits: u64 = self.as_str().parse().unwrap_or(0);
        digits % 2 == 1
            && equals(
                digits * 10 - 5,
                self.power() - 1,
                float.mantissa,
                float.exponent,
            )
    }

    /// Whether the digits lie exactly half-way between the float and one of its neighbours.
    ///
    /// Rust takes such digits when round-half-even reads them back; PostgreSQL does not rely on
    /// how a reader rounds and takes longer ones (`acceptBounds` in `src/common/d2s.c`), so it
    /// prints 1e23 as 9.999999999999999e+22.
    fn are_bound_of(&self, float: &Binary) -> bool {
        if float.mantissa % 2 == 1 {
            // Rust keeps to the inside of the interval as well.
            return false;
        }
        let Ok(digits) = self.as_str().parse() else {
            return false;
        };
        let power = self.power();
        let (m, e) = (float.mantissa, float.exponent);
        let lower = match float.lower_is_nearer {
            true => (4 * m - 1, e - 2),
            false => (2 * m - 1, e - 1),
        };
        equals(digits, power, 2 * m + 1, e - 1) || equals(digits, power, lower.0, lower.1)
    }

    /// Writes plain digits, or an exponent where `%g` of C with this precision would have one.
    fn write(&self, precision: i32, out: &mut String) {
        use std::fmt::Write as _;
        let digits = self.as_str();
        if self.exponent < -4 || self.exponent >= precision {
            let (integer, fraction) = digits.split_at(1);
            out.push_str(integer);
            if !fraction.is_empty() {
                out.push('.');
                out.push_str(fraction);
            }
            let sign = if self.exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", self.exponent.abs());
        } else if self.exponent < 0 {
            out.push_str("0.");
            let zeros = usize::try_from(-self.exponent - 1).unwrap_or(0);
            out.extend(std::iter::repeat_n('0', zeros));
            out.push_str(digits);
        } else {
            let integers = usize::try_from(self.exponent + 1).unwrap_or(1);
            match digits.split_at_checked(integers) {
                Some((integer, fraction)) => {
                    out.push_str(integer);
                    if !fraction.is_empty() {
                        out.push('.');
                        out.push_str(fraction);
                    }
                }
                None => {
                    out.push_str(digits);
                    out.extend(std::iter::repeat_n('0', integers - digits.len()));
                }
            }
        }
    }
}

/// Whether `digits` x 10^`power` is exactly `mantissa` x 2^`exponent` (neither is zero).
fn equals(digits: u64, power: i32, mantissa: u64, exponent: i32) -> bool {
    // 5^|power| would have to divide the other side, which is below 10^18 < 5^26; and products with
    // 5^27 still fit.
    if power.abs() > 27 {
        return false;
    }
    let (mut left, mut right) = (u128::from(digits), u128::from(mantissa));
    let fives = 5u128.pow(power.unsigned_abs());
    if power >= 0 {
        left *= fives;
    } else {
        right *= fives;
    }
    let (twos_left, twos_right) = (left.trailing_zeros(), right.trailing_zeros());
    left >> twos_left == right >> twos_right
        && twos_left as i32 + power == twos_right as i32 + exponent
}
