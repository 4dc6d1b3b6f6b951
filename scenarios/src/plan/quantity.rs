//! The quantities of a plan: times, sizes and ratios, each with one text form.
//!
//! A quantity is an integer of its smallest unit (nanoseconds, bytes, parts per million), so that a run never meets a
//! rounded number. It prints exactly, in the largest unit that it reaches, and parses what it prints:
//! `1.25s`, `300ms`, `32KiB`, `0.5%`.
//!
//! Not here: instants of a run (they are times since its start), and floating point.

use std::{fmt, str::FromStr};

/// A length of simulated time, or a time since the start of a run, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many microseconds.
    pub const fn micros(count: u64) -> Self {
        Self(count * 1_000)
    }

    /// So many milliseconds.
    pub const fn millis(count: u64) -> Self {
        Self(count * 1_000_000)
    }

    /// So many seconds.
    pub const fn secs(count: u64) -> Self {
        Self(count * 1_000_000_000)
    }

    /// The same length as the standard library has it.
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

/// A time that may be negative: how far a wall clock is stepped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignedNanos(pub i64);

/// A count of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// So many KiB.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
}

/// A share from 0% to 100%, in parts per million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio {
    ppm: u32,
}

impl Ratio {
    /// Never.
    pub const ZERO: Self = Self { ppm: 0 };
    /// Always.
    pub const ONE: Self = Self { ppm: 1_000_000 };

    /// So many parts per million; more than a million count as a million.
    pub const fn ppm(parts: u32) -> Self {
        Self { ppm: if parts > 1_000_000 { 1_000_000 } else { parts } }
    }

    /// So many hundredths; more than a hundred count as a hundred.
    pub const fn percent(parts: u32) -> Self {
        Self::ppm(if parts > 100 { 1_000_000 } else { parts * 10_000 })
    }

    /// Parts per million.
    pub const fn as_ppm(self) -> u32 {
        self.ppm
    }
}

/// Why a text is not a quantity. It completes the sentence "`…` is not a time: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// A minus sign where only a length makes sense.
    #[error("it is negative")]
    Negative,
    /// No digits where the number should stand.
    #[error("a number should come first, as in {0}")]
    NoNumber(&'static str),
    /// A number without unit, or with another one.
    #[error("its unit should be one of {0}")]
    Unit(&'static str),
    /// More decimals than the smallest unit has.
    #[error("it is finer than {0}")]
    TooFine(&'static str),
    /// Past what the integer holds, or past 100%.
    #[error("it is more than {0}")]
    TooLarge(&'static str),
}

const TIME_UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
const TIME_UNIT_NAMES: &str = "ns, us, ms, s, m, h";
const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const SIZE_UNIT_NAMES: &str = "B, KiB, MiB, GiB";

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Minutes and hours are read but not printed: "90s" compares at a glance with "30s".
        let (unit, scale) = match self.0 {
            0 => ("s", 1_000_000_000),
            ns => *TIME_UNITS[..4].iter().rfind(|(_, scale)| *scale <= ns).expect("a nanosecond is the least of all"),
        };
        decimal(f, self.0, scale)?;
        f.write_str(unit)
    }
}

impl FromStr for Nanos {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        scaled(text, TIME_UNITS, TIME_UNIT_NAMES, "\"1.5s\"", "a nanosecond", "584 years").map(Self)
    }
}

impl fmt::Display for SignedNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}", Nanos(self.0.unsigned_abs()))
    }
}

impl FromStr for SignedNanos {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let too_large = |_| QuantityError::TooLarge("292 years");
        match text.strip_prefix('-') {
            Some(rest) => {
                let magnitude = i64::try_from(rest.parse::<Nanos>()?.0).map_err(too_large)?;
                Ok(Self(-magnitude))
            }
            None => Ok(Self(i64::try_from(text.parse::<Nanos>()?.0).map_err(too_large)?)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes are whole numbers of a unit: 1536 is "1536B", which says more than "1.5KiB" when blocks are counted.
        let (unit, scale) = SIZE_UNITS
            .iter()
            .rfind(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale))
            .unwrap_or(&SIZE_UNITS[0]);
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl FromStr for Size {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        scaled(text, SIZE_UNITS, SIZE_UNIT_NAMES, "\"32KiB\"", "a byte", "16 EiB").map(Self)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(f, u64::from(self.ppm), 10_000)?;
        f.write_str("%")
    }
}

impl FromStr for Ratio {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let ppm = scaled(text, &[("%", 10_000)], "%", "\"2.5%\"", "0.0001%", "100%")?;
        match u32::try_from(ppm) {
            Ok(ppm) if ppm <= 1_000_000 => Ok(Self { ppm }),
            _ => Err(QuantityError::TooLarge("100%")),
        }
    }
}

/// Writes `value / scale` with exactly as many decimals as it needs.
fn decimal(f: &mut fmt::Formatter<'_>, value: u64, scale: u64) -> fmt::Result {
    write!(f, "{}", value / scale)?;
    let mut rest = value % scale;
    if rest > 0 {
        f.write_str(".")?;
        let mut place = scale;
        while rest > 0 {
            place /= 10;
            write!(f, "{}", rest / place)?;
            rest %= place;
        }
    }
    Ok(())
}

/// Reads `digits[.digits]unit` as an integer of the smallest unit.
fn scaled(
    text: &str,
    units: &[(&'static str, u64)],
    unit_names: &'static str,
    example: &'static str,
    smallest: &'static str,
    largest: &'static str,
) -> Result<u64, QuantityError> {
    if text.starts_with('-') {
        return Err(QuantityError::Negative);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') || fraction.contains('.') {
        return Err(QuantityError::NoNumber(example));
    }
    let scale = units.iter().find(|(name, _)| *name == unit).ok_or(QuantityError::Unit(unit_names))?.1;
    let too_large = QuantityError::TooLarge(largest);
    let whole = whole.parse::<u64>().map_err(|_| too_large.clone())?;
    let mut value = whole.checked_mul(scale).ok_or_else(|| too_large.clone())?;
    // Digit by digit: each has to be worth a whole number of the smallest unit. 128 bits hold scale * 9 exactly.
    let (mut numerator, mut denominator) = (0u128, 1u128);
    for digit in fraction.trim_end_matches('0').bytes() {
        denominator *= 10;
        if denominator > 1_000_000_000_000_000_000 {
            return Err(QuantityError::TooFine(smallest));
        }
        numerator = numerator * 10 + u128::from(digit - b'0');
    }
    let part = numerator * u128::from(scale);
    if part % denominator != 0 {
        return Err(QuantityError::TooFine(smallest));
    }
    let part = u64::try_from(part / denominator).expect("a fraction of one unit is less than that unit");
    value = value.checked_add(part).ok_or(too_large)?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_unit_reached_is_printed_exactly() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5us"),
            (200_000, "200us"),
            (300_000_000, "300ms"),
            (1_250_000_000, "1.25s"),
            (90_000_000_000, "90s"),
            (1_000_000_001, "1.000000001s"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
        assert_eq!("2m".parse(), Ok(Nanos::secs(120)));
        assert_eq!("0.2ms".parse(), Ok(Nanos::micros(200)));
        assert_eq!(SignedNanos(-2_000_000_000).to_string(), "-2s");
        assert_eq!(Size(32 << 10).to_string(), "32KiB");
        assert_eq!(Size(1536).to_string(), "1536B");
        assert_eq!(Ratio::percent(1).to_string(), "1%");
        assert_eq!(Ratio::ppm(2_500).to_string(), "0.25%");
    }

    #[test]
    fn a_bad_quantity_says_what_is_wrong_with_it() {
        let time = |text: &str| text.parse::<Nanos>().unwrap_err().to_string();
        assert_eq!(time("-1s"), "it is negative");
        assert_eq!(time("s"), "a number should come first, as in \"1.5s\"");
        assert_eq!(time("1.s"), "a number should come first, as in \"1.5s\"");
        assert_eq!(time("1.2.3s"), "a number should come first, as in \"1.5s\"");
        assert_eq!(time("15"), "its unit should be one of ns, us, ms, s, m, h");
        assert_eq!(time("1.5ns"), "it is finer than a nanosecond");
        assert_eq!(time("99999999999999999999s"), "it is more than 584 years");
        assert_eq!(time("18446744074s"), "it is more than 584 years");
        assert_eq!("101%".parse::<Ratio>(), Err(QuantityError::TooLarge("100%")));
        assert_eq!("1KB".parse::<Size>(), Err(QuantityError::Unit(SIZE_UNIT_NAMES)));
        assert_eq!("-3ms".parse::<SignedNanos>(), Ok(SignedNanos(-3_000_000)));
        assert_eq!("--3ms".parse::<SignedNanos>(), Err(QuantityError::Negative));
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(nanos: u64, signed in -i64::MAX..=i64::MAX, bytes: u64, ppm in 0..=1_000_000u32) {
            prop_assert_eq!(Nanos(nanos).to_string().parse(), Ok(Nanos(nanos)));
            prop_assert_eq!(SignedNanos(signed).to_string().parse(), Ok(SignedNanos(signed)));
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
            prop_assert_eq!(Ratio::ppm(ppm).to_string().parse(), Ok(Ratio::ppm(ppm)));
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC*", digits in "[0-9.]{0,24}(ns|us|ms|s|m|h|B|KiB|%)") {
            for text in [&text, &digits] {
                let _ = text.parse::<Nanos>();
                let _ = text.parse::<SignedNanos>();
                let _ = text.parse::<Size>();
                let _ = text.parse::<Ratio>();
            }
        }
    }
}
