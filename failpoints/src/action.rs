//! The language of actions: what a site is told to do, in the grammar that users of fail-rs know.
//!
//! ```text
//! actions = term { "->" term }
//! term    = [ percent "%" ] [ count "*" ] [ nth "#" ] action
//! action  = off | return[(text)] | sleep(duration) | delay(duration) | pause | yield | panic[(text)] | print[(text)]
//! ```
//!
//! At each hit the first term that is willing fires. A percentage is drawn from the seeded stream, a count is how many
//! times a term fires, and `nth` (not in fail-rs) lets a term fire at the nth hit that reaches it: once, or with a count
//! that many times from there. When no term is willing, nothing happens. A duration has a unit (`250us`, `1.5s`); bare, it
//! is milliseconds, as in fail-rs. A text may hold parentheses that match.
//!
//! Printing and parsing are inverse: what is printed parses to the same value, and is the shortest exact form of it.

mod parse;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use parse::ParseError;

/// What a site does: one or more terms, of which the first that is willing fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actions {
    terms: Vec<Term>,
}

impl Actions {
    /// A chain of terms; `None` when there is none.
    pub fn new(terms: Vec<Term>) -> Option<Self> {
        (!terms.is_empty()).then_some(Self { terms })
    }

    /// One action at every hit.
    pub fn always(action: Action) -> Self {
        Self { terms: vec![Term::always(action)] }
    }

    /// The terms, in order.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The first action that waits.
    pub fn waiting(&self) -> Option<&Action> {
        self.terms.iter().map(|term| &term.action).find(|action| action.waits())
    }
}

impl FromStr for Actions {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse::actions(text)
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                out.write_str("->")?;
            }
            term.fmt(out)?;
        }
        Ok(())
    }
}

/// One action and when it is willing to fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The chance of each willing hit.
    pub ratio: Option<Ratio>,
    /// How many times it fires at most.
    pub count: Option<u64>,
    /// From which hit on, counted from 1 among those that reach this term; exactly at that hit when there is no `count`.
    pub nth: Option<u64>,
    /// What it does.
    pub action: Action,
}

impl Term {
    /// A term that fires whenever it is reached.
    pub fn always(action: Action) -> Self {
        Self { ratio: None, count: None, nth: None, action }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ratio) = self.ratio {
            write!(out, "{ratio}%")?;
        }
        if let Some(count) = self.count {
            write!(out, "{count}*")?;
        }
        if let Some(nth) = self.nth {
            write!(out, "{nth}#")?;
        }
        self.action.fmt(out)
    }
}

/// What happens at a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing, and the terms behind it are not reached.
    Off,
    /// The code at the site gets the text and returns by it.
    Return(Option<Text>),
    /// Waits on the owner's clock; other tasks run.
    Sleep(Duration),
    /// Waits while it holds the processor, as the owner's timer models it.
    Delay(Duration),
    /// Waits until the site is told something else.
    Pause,
    /// Lets the other ready tasks run once.
    Yield,
    /// Panics.
    Panic(Option<Text>),
    /// Tells the observer, and no more.
    Print(Option<Text>),
}

/// The words that start an action.
pub(crate) const WORDS: [&str; 8] = ["off", "return", "sleep", "delay", "pause", "yield", "panic", "print"];

impl Action {
    /// Whether code that cannot wait cannot do this.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Sleep(_) | Self::Delay(_) | Self::Pause | Self::Yield)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match self {
            Self::Off => ("off", &None),
            Self::Return(text) => ("return", text),
            Self::Sleep(duration) => return write!(out, "sleep({})", Exact(*duration)),
            Self::Delay(duration) => return write!(out, "delay({})", Exact(*duration)),
            Self::Pause => ("pause", &None),
            Self::Yield => ("yield", &None),
            Self::Panic(text) => ("panic", text),
            Self::Print(text) => ("print", text),
        };
        out.write_str(word)?;
        match text {
            Some(text) => write!(out, "({})", text.as_str()),
            None => Ok(()),
        }
    }
}

/// A text between parentheses: any text whose own parentheses match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// The text, or `None` when its parentheses do not match.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let mut depth = 0_usize;
        for letter in text.chars() {
            match letter {
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1)?,
                _ => {}
            }
        }
        (depth == 0).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A chance in parts per million, printed as a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    const PER_PERCENT: u32 = 10_000;
    const WHOLE: u32 = 1_000_000;

    /// `parts` of a million, or `None` above a million.
    pub const fn from_millionths(parts: u32) -> Option<Self> {
        if parts <= Self::WHOLE { Some(Self(parts)) } else { None }
    }

    /// Whether a uniform 64-bit draw falls inside the ratio.
    pub fn holds(self, draw: u64) -> bool {
        let scaled = (u128::from(draw) * u128::from(Self::WHOLE)) >> 64;
        scaled < u128::from(self.0)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / Self::PER_PERCENT, self.0 % Self::PER_PERCENT);
        if rest == 0 {
            return write!(out, "{whole}");
        }
        let digits = format!("{rest:04}");
        write!(out, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Units of a duration, the largest first, in nanoseconds.
pub(crate) const UNITS: [(&str, u128); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// Prints a duration in the largest unit that is exact.
struct Exact(Duration);

impl fmt::Display for Exact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, size) = UNITS
            .into_iter()
            .find(|(_, size)| nanos.is_multiple_of(*size))
            .expect("every duration is a multiple of 1 ns");
        write!(out, "{}{unit}", nanos / size)
    }
}
