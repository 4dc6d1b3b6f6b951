//! Parses actions; an error names the column, what stands there, and what may stand there.
//!
//! One pass over the bytes of the text; blanks are allowed between the parts of a term and around `->`, never inside one.

use std::time::Duration;

use super::{Action, Actions, Ratio, Term, Text, UNITS, WORDS};

/// Why a text is not an action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {} of `{text}`: found {found}, expected {expected}", .at + 1)]
pub struct ParseError {
    /// The whole text.
    pub text: String,
    /// The place of the mistake, in characters from 0.
    pub at: usize,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub expected: String,
}

pub(super) fn actions(text: &str) -> Result<Actions, ParseError> {
    let mut cursor = Cursor { text, at: 0 };
    let mut terms = vec![cursor.term()?];
    loop {
        cursor.skip_blanks();
        if cursor.rest().is_empty() {
            return Ok(Actions { terms });
        }
        if !cursor.take("->") {
            return Err(cursor.error("`->` and another action, or the end"));
        }
        terms.push(cursor.term()?);
    }
}

/// A number as written: its digits before and after the point, and where it starts.
struct Number<'a> {
    start: usize,
    whole: &'a str,
    fraction: Option<&'a str>,
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn term(&mut self) -> Result<Term, ParseError> {
        let (mut ratio, mut count, mut nth) = (None, None, None);
        loop {
            self.skip_blanks();
            if !self.rest().starts_with(|letter: char| letter.is_ascii_digit()) {
                break;
            }
            let number = self.number()?;
            self.skip_blanks();
            let place = self.at;
            if self.take("%") && ratio.is_none() && count.is_none() && nth.is_none() {
                ratio = Some(self.ratio(&number)?);
            } else if self.take("*") && count.is_none() && nth.is_none() {
                count = Some(self.positive(&number, "a count of at least 1")?);
            } else if self.take("#") && nth.is_none() {
                nth = Some(self.positive(&number, "the number of a hit, the first being 1")?);
            } else {
                self.at = place;
                return Err(self.error("`%`, `*` or `#` after the number, each once and in this order"));
            }
        }
        Ok(Term { ratio, count, nth, action: self.action()? })
    }

    fn action(&mut self) -> Result<Action, ParseError> {
        let start = self.at;
        let length = self.rest().find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        self.at += length;
        match word {
            "off" => Ok(Action::Off),
            "return" => Ok(Action::Return(self.text()?)),
            "sleep" => Ok(Action::Sleep(self.duration()?)),
            "delay" => Ok(Action::Delay(self.duration()?)),
            "pause" => Ok(Action::Pause),
            "yield" => Ok(Action::Yield),
            "panic" => Ok(Action::Panic(self.text()?)),
            "print" => Ok(Action::Print(self.text()?)),
            _ => {
                self.at = start;
                Err(self.error(&format!("one of {}", WORDS.join(", "))))
            }
        }
    }

    /// An optional text in parentheses, up to the parenthesis that matches the first.
    fn text(&mut self) -> Result<Option<Text>, ParseError> {
        let open = self.at;
        if !self.take("(") {
            return Ok(None);
        }
        let mut depth = 1;
        for (offset, letter) in self.rest().char_indices() {
            match letter {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inside = &self.rest()[..offset];
                self.at += offset + 1;
                return Ok(Some(Text(inside.to_owned())));
            }
        }
        self.at = open;
        Err(self.error("a parenthesis that is closed again"))
    }

    fn duration(&mut self) -> Result<Duration, ParseError> {
        const SHAPE: &str = "a duration in parentheses, such as (100ms), with a unit of s, ms, us, ns";
        if !self.take("(") {
            return Err(self.error(SHAPE));
        }
        self.skip_blanks();
        if !self.rest().starts_with(|letter: char| letter.is_ascii_digit()) {
            return Err(self.error("a number and a unit of s, ms, us, ns"));
        }
        let number = self.number()?;
        let place = self.at;
        let length = self.rest().find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(self.rest().len());
        let unit = &self.rest()[..length];
        self.at += length;
        let size = match unit {
            "" => 1_000_000,
            _ => match UNITS.into_iter().find(|(name, _)| *name == unit) {
                Some((_, size)) => size,
                None => {
                    self.at = place;
                    return Err(self.error("a unit of s, ms, us, ns"));
                }
            },
        };
        self.skip_blanks();
        if !self.take(")") {
            return Err(self.error("`)`"));
        }
        match exact_nanos(&number, size) {
            Some(duration) => Ok(duration),
            None => {
                self.at = number.start;
                Err(self.error("a duration of whole nanoseconds, below 2^64 of them"))
            }
        }
    }

    fn ratio(&mut self, number: &Number<'_>) -> Result<Ratio, ParseError> {
        let fraction = number.fraction.unwrap_or("").trim_end_matches('0');
        let parts = (fraction.len() <= 4)
            .then(|| format!("{}{fraction:0<4}", number.whole))
            .and_then(|digits| digits.parse::<u32>().ok())
            .and_then(Ratio::from_millionths);
        parts.ok_or_else(|| {
            self.at = number.start;
            self.error("a percentage from 0 to 100 with at most four decimals")
        })
    }

    fn positive(&mut self, number: &Number<'_>, expected: &str) -> Result<u64, ParseError> {
        let value = match number.fraction {
            None => number.whole.parse::<u64>().ok().filter(|value| *value > 0),
            Some(_) => None,
        };
        value.ok_or_else(|| {
            self.at = number.start;
            self.error(expected)
        })
    }

    fn number(&mut self) -> Result<Number<'a>, ParseError> {
        let start = self.at;
        let whole = self.digits();
        let fraction = if self.take(".") {
            let digits = self.digits();
            if digits.is_empty() {
                return Err(self.error("a digit after the point"));
            }
            Some(digits)
        } else {
            None
        };
        Ok(Number { start, whole, fraction })
    }

    fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, word: &str) -> bool {
        let taken = self.rest().starts_with(word);
        if taken {
            self.at += word.len();
        }
        taken
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn error(&self, expected: &str) -> ParseError {
        let rest = self.rest();
        let word = rest.split(|letter: char| letter.is_whitespace() || "()->%*#".contains(letter)).next().unwrap_or("");
        let found = match (rest.chars().next(), word) {
            (None, _) => "the end".to_owned(),
            (Some(letter), "") => format!("`{letter}`"),
            (Some(_), word) => format!("`{word}`"),
        };
        let at = self.text[..self.at].chars().count();
        ParseError { text: self.text.to_owned(), at, found, expected: expected.to_owned() }
    }
}

/// The exact duration of `number` units of `size` nanoseconds.
fn exact_nanos(number: &Number<'_>, size: u128) -> Option<Duration> {
    let fraction = number.fraction.unwrap_or("").trim_end_matches('0');
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = number.whole.parse::<u128>().ok()?.checked_mul(scale)?;
    let parts = parts.checked_add(if fraction.is_empty() { 0 } else { fraction.parse::<u128>().ok()? })?;
    let nanos = parts.checked_mul(size)?;
    if nanos % scale != 0 {
        return None;
    }
    u64::try_from(nanos / scale).ok().map(Duration::from_nanos)
}
