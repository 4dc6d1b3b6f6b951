//! What is wrong with the text of a plan, and where.
//!
//! Each error names one place, that of the word that is wrong and not of the line or table around it, and where a word
//! was expected from a list, that list and the nearest of it. A plan with several errors reports the first.

use std::fmt;

/// A place in a text: both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place of the byte at `offset`; past the end it is the end.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is not a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct PlanError {
    /// Where the wrong word begins.
    pub place: Place,
    /// How many characters it has, on its first line.
    pub width: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

impl PlanError {
    /// An error about `span`, in bytes of `text`.
    pub(crate) fn at(text: &str, span: std::ops::Range<usize>, problem: Problem) -> Self {
        let word = text.get(span.clone()).unwrap_or("");
        let width = word.lines().next().unwrap_or("").chars().count().max(1);
        Self { place: Place::of(text, span.start), width, problem }
    }

    /// The error as people read it: `file:line:column: problem`, and the line with the word underlined.
    pub fn render(&self, file: &str, text: &str) -> String {
        let Place { line, column } = self.place;
        let shown = text.lines().nth(line - 1).filter(|shown| !shown.trim().is_empty());
        let Some(shown) = shown else { return format!("{file}:{self}") };
        let (number, indent) = (line.to_string(), " ".repeat(line.to_string().len()));
        // Tabs stay tabs, so that the mark stands below the word however wide they are.
        let before: String = shown.chars().take(column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
        let mark = "^".repeat(self.width);
        format!("{file}:{self}\n{indent} |\n{number} | {shown}\n{indent} | {before}{mark}")
    }
}

/// What is wrong at one place of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not text at all.
    #[error("the file is not text: a plan is a TOML file in UTF-8")]
    NotText,
    /// Nothing but white space and comments.
    #[error("the plan is empty: its first line should be `reenact = 1`")]
    Empty,
    /// Not TOML: cut in half, a key twice, a bracket missing.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// A version of the format that this build does not read.
    #[error("this build reads plans of version 1, not {0}: write `reenact = 1`")]
    Version(String),
    /// A word that is not in its list.
    #[error("unknown {what} `{word}`{}{}", .inside.as_ref().map(|i| format!(" in {i}")).unwrap_or_default(), expected(.word, .allowed))]
    Unknown {
        /// What the word should name: "key", "fact", "node".
        what: &'static str,
        /// What it stands in, with an article: "a `heal` step".
        inside: Option<String>,
        /// The word itself.
        word: String,
        /// Every word that would do, in the order of their registry.
        allowed: Vec<String>,
    },
    /// A key that must be there and is not.
    #[error("{what} needs `{key}`{}", .example.map(|line| format!(", as in `{line}`")).unwrap_or_default())]
    Missing {
        /// What lacks it: "the plan", "a step `crash`".
        what: String,
        /// The key.
        key: &'static str,
        /// A line that has it.
        example: Option<&'static str>,
    },
    /// A value of another type.
    #[error("`{key}` should be {expected}, not {found}")]
    Type {
        /// Its key.
        key: String,
        /// The type it should have, with an article.
        expected: String,
        /// The type it has, with an article.
        found: &'static str,
    },
    /// A value of the right type that makes no sense.
    #[error("`{key}` is {value}: {why}")]
    Value {
        /// Its key.
        key: String,
        /// The value as it was written.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// Keys that contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// ", did you mean `…`? Allowed: …".
fn expected(word: &str, allowed: &[String]) -> String {
    let hint = nearest(word, allowed).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    match allowed {
        [] => "; none is allowed here".to_owned(),
        many if hint.is_empty() => format!("; allowed: {}", many.join(", ")),
        many => format!("{hint} Allowed: {}", many.join(", ")),
    }
}

/// The word of the list that was probably meant: one slip, or as many as a third of its letters.
pub fn nearest<'a>(word: &str, allowed: &'a [String]) -> Option<&'a str> {
    allowed
        .iter()
        .map(|candidate| (distance(word, candidate), candidate.as_str()))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(word.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many slips make `b` of `a`: a letter too many, too few, another, or two exchanged. In bytes: names are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let other = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = other.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_from_one() {
        assert_eq!(Place::of("ab\nçd", 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of("ab\nçd", 5), Place { line: 2, column: 2 });
        assert_eq!(Place::of("ab", 99), Place { line: 1, column: 3 });
    }

    #[test]
    fn the_nearest_word_is_near() {
        let words: Vec<String> = ["crash", "clock", "compact"].map(String::from).into();
        assert_eq!(nearest("crsh", &words), Some("crash"));
        assert_eq!(nearest("compcat", &words), Some("compact"));
        assert_eq!(nearest("od", &["do".to_owned()]), Some("do"));
        assert_eq!(nearest("zzzzz", &words), None);
    }
}
