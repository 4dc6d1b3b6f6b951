//! An interval of seeds, as the command line writes it: `7`, or `1..50` with both ends included.

use std::str::FromStr;

/// Seeds from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Seeds {
    /// Every seed, in order.
    pub fn iter(self) -> std::ops::RangeInclusive<u64> {
        self.first..=self.last
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            true => text.parse::<u64>().map_err(|_| format!("`{text}` is more than {}", u64::MAX)),
            false => Err(format!("`{text}` is not a decimal number; write `1..50`, which includes both ends")),
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let seeds = Self { first: number(first)?, last: number(last)? };
        if seeds.first > seeds.last {
            return Err(format!("it ends before it begins; write `{}..{}`", seeds.last, seeds.first));
        }
        Ok(seeds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_includes_both_ends() {
        assert_eq!("1..3".parse::<Seeds>().map(|seeds| seeds.iter().collect()), Ok(vec![1, 2, 3]));
        assert_eq!("7".parse(), Ok(Seeds { first: 7, last: 7 }));
        assert_eq!("18446744073709551615".parse(), Ok(Seeds { first: u64::MAX, last: u64::MAX }));
    }

    #[test]
    fn what_is_no_interval_says_why() {
        assert_eq!("9..3".parse::<Seeds>().unwrap_err(), "it ends before it begins; write `3..9`");
        for text in ["", "..", "1..", "..2", "a..b", "-1", "1...2", "+1", "18446744073709551616"] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}
