//! A source as words: identifiers, texts and signs, each with its line; comments are left out.
//!
//! Just enough of Rust's lexer to tell code from comments and texts. Not a parser: it knows no items and expands no macro.

/// One word of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// An identifier, a keyword or a number.
    Name(&'a str),
    /// What stands between quotes, as written.
    Text(&'a str),
    /// `::`.
    Path,
    /// Any other sign.
    Sign(char),
}

/// A word and the line that it stands on, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The word.
    pub word: Word<'a>,
    /// Its line.
    pub line: usize,
}

/// The words of a source, in order.
pub fn words(text: &str) -> Vec<Placed<'_>> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut words = Vec::new();
    while let Some(placed) = lexer.next() {
        words.push(placed);
    }
    words
}

/// Whether the word at `at` is the first segment of a path or the whole of an import: `name::…`, `use name;`.
pub fn is_crate(words: &[Placed<'_>], at: usize, name: &str) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| words.get(at)).map(|placed| &placed.word);
    if word(Some(at)) != Some(&Word::Name(name)) || is_inner_segment(words, at) {
        return false;
    }
    let imported = matches!(word(at.checked_sub(1)), Some(Word::Name("use" | "crate")));
    imported || word(Some(at + 1)) == Some(&Word::Path)
}

/// Whether `::` stands before the word and a name before that: a later segment of a path, not `::name` or `<T>::name`.
fn is_inner_segment(words: &[Placed<'_>], at: usize) -> bool {
    at >= 1
        && words[at - 1].word == Word::Path
        && at >= 2
        && matches!(words[at - 2].word, Word::Name(_) | Word::Sign('>'))
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Placed<'a>> {
        loop {
            let rest = self.rest();
            let letter = rest.chars().next()?;
            if letter.is_whitespace() {
                self.advance(letter.len_utf8());
            } else if rest.starts_with("//") {
                self.advance(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                self.advance(block_comment(rest));
            } else {
                break;
            }
        }
        let line = self.line;
        let rest = self.rest();
        let (word, length) = word(rest);
        self.advance(length);
        Some(Placed { word, line })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn advance(&mut self, length: usize) {
        self.line += self.rest()[..length].matches('\n').count();
        self.at += length;
    }
}

/// The first word of `rest`, which is not empty, and its length in bytes.
fn word(rest: &str) -> (Word<'_>, usize) {
    if let Some((inside, length)) = raw_text(rest).or_else(|| quoted(rest)) {
        return (Word::Text(inside), length);
    }
    let letter = rest.chars().next().expect("the caller skipped to a letter");
    if letter == '\'' {
        return match character(rest) {
            Some(length) => (Word::Text(&rest[1..length - 1]), length),
            None => (Word::Sign('\''), 1),
        };
    }
    if letter.is_alphanumeric() || letter == '_' {
        let length = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        return (Word::Name(&rest[..length]), length);
    }
    if rest.starts_with("::") { (Word::Path, 2) } else { (Word::Sign(letter), letter.len_utf8()) }
}

/// `"…"`, `b"…"` or `c"…"`: what is inside, and the length of all.
fn quoted(rest: &str) -> Option<(&str, usize)> {
    let open = rest.strip_prefix(['b', 'c']).map_or(0, |_| 1);
    let inside = rest[open..].strip_prefix('"')?;
    let mut escaped = false;
    for (offset, letter) in inside.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some((&inside[..offset], open + offset + 2)),
            _ => {}
        }
    }
    Some((inside, rest.len()))
}

/// `r"…"` or `r#"…"#` with any number of `#`, also after `b` or `c`: what is inside, and the length of all.
fn raw_text(rest: &str) -> Option<(&str, usize)> {
    let after = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inside.find(&close).unwrap_or(inside.len());
    let length = (rest.len() - inside.len() + end + close.len()).min(rest.len());
    Some((&inside[..end], length))
}

/// The length of a character between quotes, or `None` for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let mut letters = rest.char_indices().skip(1);
    let (_, first) = letters.next()?;
    if first == '\\' {
        letters.next();
        return letters.find(|(_, letter)| *letter == '\'').map(|(offset, _)| offset + 1);
    }
    letters.next().filter(|(_, letter)| *letter == '\'').map(|(offset, _)| offset + 1)
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&str> {
        let name = |placed: &Placed<'_>| matches!(placed.word, Word::Name(_));
        words(text)
            .iter()
            .filter(|placed| name(placed))
            .map(|placed| match placed.word {
                Word::Name(name) => name,
                _ => unreachable!("filtered"),
            })
            .collect()
    }

    #[test]
    fn comments_and_texts_are_not_names() {
        let text = "a // b\n/* c /* d */ e */ f \"g \\\" h\" r#\"i \" j\"# 'k' '\\'' l<'m> b\"n\" o";
        assert_eq!(names(text), ["a", "f", "l", "m", "o"]);
    }

    #[test]
    fn lines_count_through_texts_and_comments() {
        let text = "/* a\nb */ \"c\nd\"\ne";
        assert_eq!(words(text).last(), Some(&Placed { word: Word::Name("e"), line: 4 }));
    }

    #[test]
    fn a_crate_is_the_root_of_a_path() {
        for (text, expected) in [
            ("use sim::World;", true),
            ("use sim;", true),
            ("extern crate sim;", true),
            ("let x = ::sim::new();", true),
            ("use {sim::World};", true),
            ("let sim = 1; sim.run();", false),
            ("use crate::sim::World;", false),
            ("// sim::World", false),
            ("\"sim::World\"", false),
        ] {
            let words = words(text);
            let found = (0..words.len()).any(|at| is_crate(&words, at, "sim"));
            assert_eq!(found, expected, "{text}");
        }
    }
}
