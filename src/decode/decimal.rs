//! `numeric` to decimals, doubles or text.
//!
//! ```text
//! ndigits:i16  weight:i16  sign:u16  dscale:u16  digits:i16*
//! value = sum of digits[i] * 10000^(weight - i)
//! ```
//! Source: `numeric_send` and `NumericVar` in `src/backend/utils/adt/numeric.c`.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, i256};

use super::array::ArrayDecoder;
use super::fault::Fault;
use super::primitive;
use crate::types::{DECIMAL128_PRECISION, Unrepresentable};

/// A decoder into `Decimal128(precision, scale)`, or `Decimal256` where the precision is above 38.
pub(crate) fn decimal(precision: u8, scale: u8, policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    if precision <= DECIMAL128_PRECISION {
        let limit = 10_i128.pow(u32::from(precision));
        return primitive::with::<Decimal128Type, _>(
            DataType::Decimal128(precision, scale as i8),
            policy,
            move |bytes| {
                let fits = |value: &i128| -limit < *value && *value < limit;
                if let Some(value) = small(bytes, scale).map(i128::from).filter(fits) {
                    return Ok(value);
                }
                let digits = Digits::parse(bytes)?;
                digits
                    .to_i128(scale)
                    .filter(fits)
                    .ok_or_else(|| digits.does_not_fit(precision, scale))
            },
        );
    }
    let limit = i256::from_i128(10).wrapping_pow(u32::from(precision));
    primitive::with::<Decimal256Type, _>(
        DataType::Decimal256(precision, scale as i8),
        policy,
        move |bytes| {
            let digits = Digits::parse(bytes)?;
            digits
                .to_i256(scale)
                .filter(|value| limit.wrapping_neg() < *value && *value < limit)
                .ok_or_else(|| digits.does_not_fit(precision, scale))
        },
    )
}

/// A decoder into the nearest doubles; NaN and infinity are themselves.
pub(crate) fn float(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    primitive::with::<Float64Type, _>(DataType::Float64, policy, |bytes| {
        let mut text = String::new();
        write_text(bytes, &mut text)?;
        // "NaN", "Infinity" and "-Infinity" are read by Rust as well.
        text.parse()
            .map_err(|_| Fault::bad(format!("{text} is no number")))
    })
}

const BASE: u64 = 10_000;
/// NUMERIC_DSCALE_MASK
const MAX_DSCALE: u16 = 0x3fff;
/// Decimal digits in one digit of base 10,000.
const BASE_DIGITS: i32 = 4;

/// The value times 10^scale where that is quick to tell: up to four digits, as nearly all amounts
/// of money have. `None` for all else, be it larger or invalid.
#[inline]
fn small(bytes: &[u8], scale: u8) -> Option<i64> {
    let (header, rest) = bytes.split_first_chunk::<8>()?;
    let [c0, c1, w0, w1, s0, s1, d0, d1] = *header;
    let (digits, odd) = rest.as_chunks::<2>();
    let count = usize::from(u16::from_be_bytes([c0, c1]));
    if digits.len() != count || count > 4 || !odd.is_empty() {
        return None;
    }
    let negative = match u16::from_be_bytes([s0, s1]) {
        0x0000 => false,
        0x4000 => true,
        _ => return None,
    };
    if u16::from_be_bytes([d0, d1]) > MAX_DSCALE {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        let digit = u64::from(u16::from_be_bytes(*digit));
        if digit >= BASE {
            return None;
        }
        value = value * BASE + digit;
    }
    // Below 10^16 so far. Division by a constant is a multiplication, by a variable it is not.
    let weight = i32::from(i16::from_be_bytes([w0, w1]));
    let last = weight + 1 - count as i32;
    let value = match last * BASE_DIGITS + i32::from(scale) {
        0 => value,
        -1 if value.is_multiple_of(10) => value / 10,
        -2 if value.is_multiple_of(100) => value / 100,
        -3 if value.is_multiple_of(1000) => value / 1000,
        1 => value * 10,
        2 => value * 100,
        _ if value == 0 => 0,
        _ => return None,
    };
    let value = value as i64;
    Some(if negative { -value } else { value })
}

/// The value of a finite `numeric`, as its digits in base 10,000.
struct Digits<'a> {
    digits: &'a [[u8; 2]],
    weight: i32,
    negative: bool,
    dscale: usize,
}

/// The decimals of the last digit in base 10,000 that count: the first so many of four.
#[derive(Default)]
struct LastDigit {
    value: u16,
    decimal_digits: u32,
}

/// A `numeric` of any kind.
enum Numeric<'a> {
    Finite(Digits<'a>),
    Special(&'static str),
}

impl<'a> Numeric<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (header, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(Fault::truncated)?;
        let [c0, c1, w0, w1, s0, s1, d0, d1] = *header;
        let count = usize::from(u16::from_be_bytes([c0, c1]));
        let (digits, rest) = rest.as_chunks::<2>();
        if digits.len() != count || !rest.is_empty() {
            return Err(Fault::length(8 + 2 * count, bytes.len()));
        }
        let negative = match u16::from_be_bytes([s0, s1]) {
            0x0000 => false,
            0x4000 => true,
            0xc000 => return Ok(Self::Special("NaN")),
            0xd000 => return Ok(Self::Special("Infinity")),
            0xf000 => return Ok(Self::Special("-Infinity")),
            other => {
                return Err(Fault::bad(format!(
                    "invalid sign {other:#06x} of a numeric"
                )));
            }
        };
        let dscale = u16::from_be_bytes([d0, d1]);
        if dscale > MAX_DSCALE {
            return Err(Fault::bad(format!("invalid scale {dscale} of a numeric")));
        }
        if let Some(digit) = digits
            .iter()
            .map(|digit| u16::from_be_bytes(*digit))
            .find(|digit| u64::from(*digit) >= BASE)
        {
            return Err(Fault::bad(format!("invalid digit {digit} of a numeric")));
        }
        Ok(Self::Finite(Digits {
            digits,
            weight: i32::from(i16::from_be_bytes([w0, w1])),
            negative,
            dscale: usize::from(dscale),
        }))
    }
}

impl<'a> Digits<'a> {
    #[inline]
    fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        match Numeric::parse(bytes)? {
            Numeric::Finite(digits) => Ok(digits),
            Numeric::Special(name) => Err(Fault::Unrepresentable {
                what: format!("{name} cannot be held by a decimal"),
                hint: Some(
                    "read such values as NULL (--unrepresentable null), or the column as text \
                     (--unrepresentable text, and no --numeric but text)",
                ),
            }),
        }
    }

    /// The value times 10^scale; `None` if that is no integer, or more than 128 bits.
    fn to_i128(&self, scale: u8) -> Option<i128> {
        let (digits, last, shift) = self.significant(scale)?;
        let mut value = 0_i128;
        for digit in digits {
            value = value
                .checked_mul(i128::from(BASE))?
                .checked_add(i128::from(u16::from_be_bytes(*digit)))?;
        }
        let value = value
            .checked_mul(10_i128.pow(last.decimal_digits))?
            .checked_add(i128::from(last.value))?
            .checked_mul(10_i128.checked_pow(shift)?)?;
        Some(if self.negative { -value } else { value })
    }

    /// The value times 10^scale; `None` if that is no integer, or more than 256 bits.
    fn to_i256(&self, scale: u8) -> Option<i256> {
        let (digits, last, shift) = self.significant(scale)?;
        let power = |exponent: u32| i256::from_i128(10).checked_pow(exponent);
        let mut value = i256::ZERO;
        for digit in digits {
            value = value
                .checked_mul(i256::from_i128(i128::from(BASE)))?
                .checked_add(i256::from_i128(i128::from(u16::from_be_bytes(*digit))))?;
        }
        let value = value
            .checked_mul(power(last.decimal_digits)?)?
            .checked_add(i256::from_i128(i128::from(last.value)))?
            .checked_mul(power(shift)?)?;
        Some(if self.negative {
            value.wrapping_neg()
        } else {
            value
        })
    }

    /// The digits but the last that is not zero; that one without the decimal zeros at its end
    /// that lie behind the scale, so that no intermediate value is larger than the result; and the
    /// power of ten to multiply with in the end. `None` where digits other than zero lie behind
    /// the scale, and where there are more than any decimal has: told here, before the loop.
    fn significant(&self, scale: u8) -> Option<(&'a [[u8; 2]], LastDigit, u32)> {
        let Some((last, digits)) = self.trimmed().split_last() else {
            return Some((&[], LastDigit::default(), 0));
        };
        let integer_digits = (self.weight + 1) * BASE_DIGITS;
        // The first digit has at least one decimal digit.
        if integer_digits - 3 + i32::from(scale) > 80 || digits.len() >= 24 {
            return None;
        }
        let last = u16::from_be_bytes(*last);
        let shift = (self.weight - digits.len() as i32) * BASE_DIGITS + i32::from(scale);
        let behind = u32::try_from(-shift).unwrap_or(0);
        if behind >= BASE_DIGITS.unsigned_abs() {
            return None;
        }
        let power = 10_u16.pow(behind);
        (last % power == 0).then(|| {
            let last = LastDigit {
                value: last / power,
                decimal_digits: BASE_DIGITS.unsigned_abs() - behind,
            };
            (digits, last, u32::try_from(shift).unwrap_or(0))
        })
    }

    fn trimmed(&self) -> &'a [[u8; 2]] {
        let end = self
            .digits
            .iter()
            .rposition(|digit| *digit != [0, 0])
            .map_or(0, |last| last + 1);
        &self.digits[..end]
    }

    #[cold]
    fn does_not_fit(&self, precision: u8, scale: u8) -> Fault {
        let mut text = String::new();
        self.write(&mut text);
        if text.len() > 100 {
            text.truncate(100);
            text.push_str("...");
        }
        Fault::Inexact {
            what: format!("{text} does not fit decimal({precision},{scale}) exactly"),
            hint: "set the numeric option (--numeric) to decimal(p,s) with room for it, text or float64, or round it in the query",
        }
    }

    /// As `numeric_out` prints it: all integer digits, and `dscale` digits behind the point.
    fn write(&self, out: &mut String) {
        if self.negative {
            out.push('-');
        }
        let digit = |place: i32| -> u16 {
            usize::try_from(self.weight - place)
                .ok()
                .and_then(|index| self.digits.get(index))
                .map_or(0, |digit| u16::from_be_bytes(*digit))
        };
        // Writing to a String does not fail.
        let _ = write!(out, "{}", digit(self.weight.max(0)));
        for place in (0..self.weight).rev() {
            let _ = write!(out, "{:04}", digit(place));
        }
        if self.dscale == 0 {
            return;
        }
        out.push('.');
        let end = out.len() + self.dscale;
        let mut place = -1;
        while out.len() < end {
            let _ = write!(out, "{:04}", digit(place));
            place -= 1;
        }
        out.truncate(end);
    }
}

/// The text of a numeric, as PostgreSQL prints it.
pub(crate) fn write_text(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    match Numeric::parse(bytes)? {
        Numeric::Finite(digits) => digits.write(out),
        Numeric::Special(name) => out.push_str(name),
    }
    Ok(())
}

/// The same for what is a number; NaN and infinity are unrepresentable.
pub(crate) fn write_finite(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    match Numeric::parse(bytes)? {
        Numeric::Finite(digits) => {
            digits.write(out);
            Ok(())
        }
        Numeric::Special(name) => Err(Fault::unrepresentable(format!(
            "{name} is no finite number"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numeric_send` of a value: weight, sign, dscale, digits.
    fn numeric(weight: i16, sign: u16, dscale: u16, digits: &[u16]) -> Vec<u8> {
        let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(dscale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        bytes
    }

    fn text(bytes: &[u8]) -> String {
        let mut out = String::new();
        write_text(bytes, &mut out).unwrap();
        out
    }

    fn scaled(bytes: &[u8], scale: u8) -> Option<i128> {
        let digits = Digits::parse(bytes).ok()?;
        let value = digits.to_i128(scale);
        if let Some(small) = small(bytes, scale) {
            assert_eq!(Some(i128::from(small)), value);
        }
        let wide = digits.to_i256(scale);
        assert_eq!(wide, value.map(i256::from_i128));
        value
    }

    #[test]
    fn values_are_scaled_exactly() {
        let price = numeric(0, 0, 2, &[12, 3400]);
        assert_eq!(scaled(&price, 2), Some(1234));
        assert_eq!(scaled(&price, 4), Some(123_400));
        assert_eq!(scaled(&price, 1), None);
        assert_eq!(text(&price), "12.34");
        let negative = numeric(1, 0x4000, 0, &[1, 2]);
        assert_eq!(scaled(&negative, 0), Some(-10_002));
        assert_eq!(text(&negative), "-10002");
        let zero = numeric(0, 0, 3, &[]);
        assert_eq!(scaled(&zero, 20), Some(0));
        assert_eq!(text(&zero), "0.000");
        let small = numeric(-2, 0, 6, &[100]);
        assert_eq!(scaled(&small, 6), Some(1));
        assert_eq!(text(&small), "0.000001");
        let large = numeric(3, 0, 0, &[5]);
        assert_eq!(scaled(&large, 1), Some(50_000_000_000_000));
        assert_eq!(text(&large), "5000000000000");
    }

    #[test]
    fn all_digits_of_a_decimal_fit_wherever_the_point_is() {
        // 38 digits behind the point: nine of base 10,000 and half a one.
        let mut digits = vec![9999; 9];
        digits.push(9900);
        let nines = numeric(-1, 0, 38, &digits);
        assert_eq!(scaled(&nines, 38), Some(10_i128.pow(38) - 1));
        assert_eq!(scaled(&nines, 37), None);
        let mut digits = vec![9; 1];
        digits.extend([9999; 18]);
        digits.push(9990);
        let bytes = numeric(0, 0x4000, 75, &digits);
        let nines = Digits::parse(&bytes).ok();
        let expected = i256::from_i128(1).wrapping_sub(i256::from_i128(10).wrapping_pow(76));
        assert_eq!(nines.and_then(|nines| nines.to_i256(75)), Some(expected));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let huge = numeric(200, 0, 0, &[1]);
        assert_eq!(scaled(&huge, 0), None);
        let Err(Fault::Unrepresentable { what, hint }) =
            Digits::parse(&numeric(0, 0xc000, 0, &[])).map(|_| ())
        else {
            panic!("NaN was read")
        };
        assert_eq!(what, "NaN cannot be held by a decimal");
        assert!(hint.is_some());
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [
            vec![0; 7],
            numeric(0, 1, 0, &[]),
            numeric(0, 0, 0x4000, &[]),
            numeric(0, 0, 0, &[10_000]),
            vec![0xff, 0xff, 0, 0, 0, 0, 0, 0],
            [numeric(0, 0, 0, &[1]), vec![0]].concat(),
        ] {
            assert!(matches!(Numeric::parse(&bytes), Err(Fault::Bad(_))));
        }
    }
}
