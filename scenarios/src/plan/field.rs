//! How one value of a plan is read from its place in the text, and written back.
//!
//! Every type that can stand behind a key implements [`Field`]; the tables of steps, knobs and plans are made of such
//! types. A [`Spot`] is a value with its span, so that an error can name the word; [`Fields`] are the keys of one table.
//!
//! Names are types of their own (a node, a release, a site): reading one asks the vocabulary or the cluster, so that no
//! reader can forget to. serde is not used here: its errors know the span of a table, not that of a word in it.

use std::fmt::Write as _;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{PlanError, Problem},
    quantity::{Nanos, QuantityError, Ratio, SignedNanos, Size},
    vocabulary::Vocabulary,
};

/// What every reader knows: the text for places, and the names that are allowed.
pub(crate) struct Context<'a> {
    pub(crate) text: &'a str,
    pub(crate) vocabulary: &'a Vocabulary,
    /// Nodes of the plan's cluster.
    pub(crate) nodes: Vec<String>,
    /// Everything with a network address: nodes and clients.
    pub(crate) ends: Vec<String>,
}

/// One value behind a key, at its place in the text.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'a, 'i> {
    pub(crate) key: &'a str,
    pub(crate) value: &'a Spanned<DeValue<'i>>,
    pub(crate) context: &'a Context<'a>,
}

impl<'a, 'i> Spot<'a, 'i> {
    /// An error about this value.
    pub(crate) fn error(&self, problem: Problem) -> PlanError {
        PlanError::at(self.context.text, self.value.span(), problem)
    }

    /// This value has another type than `expected`, which comes with its article.
    pub(crate) fn wrong_type(&self, expected: impl Into<String>) -> PlanError {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.error(Problem::Type { key: self.key.to_owned(), expected: expected.into(), found })
    }

    /// This value makes no sense, because of `why`.
    pub(crate) fn wrong_value(&self, why: impl Into<String>) -> PlanError {
        let value = self.context.text.get(self.value.span()).unwrap_or("").to_owned();
        self.error(Problem::Value { key: self.key.to_owned(), value, why: why.into() })
    }

    /// This word is not in its list.
    pub(crate) fn unknown(&self, what: &'static str, word: &str, allowed: Vec<String>) -> PlanError {
        self.error(Problem::Unknown { what, inside: None, word: word.to_owned(), allowed })
    }

    /// The text of a string.
    pub(crate) fn text(&self, expected: &str) -> Result<&'a str, PlanError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong_type(expected)),
        }
    }

    /// A string that is one of `allowed`.
    pub(crate) fn word<S: AsRef<str>>(&self, what: &'static str, allowed: &[S]) -> Result<&'a str, PlanError> {
        let word = self.text(&format!("the name of a {what}"))?;
        if allowed.iter().any(|name| name.as_ref() == word) {
            return Ok(word);
        }
        Err(self.unknown(what, word, allowed.iter().map(|name| name.as_ref().to_owned()).collect()))
    }

    /// The items of an array.
    pub(crate) fn items(&self, expected: &str) -> Result<impl Iterator<Item = Spot<'a, 'i>> + use<'a, 'i>, PlanError> {
        let (key, context) = (self.key, self.context);
        match self.value.get_ref() {
            DeValue::Array(items) => Ok(items.iter().map(move |value| Spot { key, value, context })),
            _ => Err(self.wrong_type(expected)),
        }
    }

    /// The keys of a table. `inside` says what the table is, with its article.
    pub(crate) fn fields(&self, inside: impl Into<String>) -> Result<Fields<'a, 'i>, PlanError> {
        match self.value.get_ref() {
            DeValue::Table(table) => {
                Ok(Fields { table, start: self.value.span().start, inside: inside.into(), context: self.context })
            }
            _ => Err(self.wrong_type("a table")),
        }
    }

    /// An integer of any radix.
    pub(crate) fn integer(&self) -> Result<i64, PlanError> {
        match self.value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| self.wrong_value("it does not fit into 64 bits")),
            _ => Err(self.wrong_type("an integer")),
        }
    }

    fn quantity<T: std::str::FromStr<Err = QuantityError>>(&self, what: &str) -> Result<T, PlanError> {
        self.text(what)?.parse().map_err(|error: QuantityError| self.wrong_value(error.to_string()))
    }
}

/// The keys of one table and what it is, for errors.
pub(crate) struct Fields<'a, 'i> {
    pub(crate) table: &'a DeTable<'i>,
    pub(crate) start: usize,
    pub(crate) inside: String,
    pub(crate) context: &'a Context<'a>,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// Refuses the first key that is not one of `allowed`.
    pub(crate) fn only(&self, allowed: &[&str]) -> Result<(), PlanError> {
        let Some(stray) = self.table.keys().find(|key| !allowed.contains(&key.get_ref().as_ref())) else {
            return Ok(());
        };
        Err(self.key_error(stray, "key", allowed.iter().map(|key| (*key).to_owned()).collect()))
    }

    /// An error about a key.
    pub(crate) fn key_error(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        what: &'static str,
        allowed: Vec<String>,
    ) -> PlanError {
        let (inside, word) = (Some(self.inside.clone()), key.get_ref().to_string());
        PlanError::at(self.context.text, key.span(), Problem::Unknown { what, inside, word, allowed })
    }

    /// This key contradicts another one.
    pub(crate) fn conflict(&self, key: &Spanned<std::borrow::Cow<'_, str>>, why: &str) -> PlanError {
        PlanError::at(self.context.text, key.span(), Problem::Conflict(format!("{} {why}", self.inside)))
    }

    /// An error about the table as a whole.
    pub(crate) fn error(&self, problem: Problem) -> PlanError {
        PlanError::at(self.context.text, self.start..self.start + 1, problem)
    }

    /// All keys and their values, in the order of the text.
    pub(crate) fn spots(&self) -> impl Iterator<Item = (&'a Spanned<std::borrow::Cow<'i, str>>, Spot<'a, 'i>)> {
        let (table, context) = (self.table, self.context);
        table.iter().map(move |(key, value)| (key, Spot { key: key.get_ref(), value, context }))
    }

    /// The value behind a key, if it is there.
    pub(crate) fn spot(&self, key: &str) -> Option<Spot<'a, 'i>> {
        self.spots().map(|(_, spot)| spot).find(|spot| spot.key == key)
    }

    /// Reads a key that may be absent.
    pub(crate) fn optional<T: Field>(&self, key: &str) -> Result<Option<T>, PlanError> {
        self.spot(key).map(|spot| T::read(&spot)).transpose()
    }

    /// Reads a key that must be there; `example` is a line that has it.
    pub(crate) fn required<T: Field>(&self, key: &'static str, example: Option<&'static str>) -> Result<T, PlanError> {
        match self.spot(key) {
            Some(spot) => T::read(&spot),
            None => Err(self.error(Problem::Missing { what: self.inside.clone(), key, example })),
        }
    }
}

/// A type that can stand behind a key of a plan.
pub(crate) trait Field: Sized {
    /// What `list` says one may write.
    const UNIT: &'static str;

    /// Reads a value, or says what is wrong with it.
    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError>;

    /// Appends the value as TOML that `read` reads back, on one line.
    fn write(&self, out: &mut String);

    /// Shows `change` the length of time that this is, if it is one.
    fn each_time(&mut self, _change: &mut dyn FnMut(&mut Nanos)) {}

    /// Any value that may stand in the plan of the tests.
    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self>;
}

/// Appends a string as TOML, always on one line.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => write!(out, "\\u{:04X}", u32::from(c)).expect("a String takes every write"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a list with `, ` between its items.
pub(crate) fn write_list<T>(items: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(item, out);
    }
    out.push(']');
}

macro_rules! quantity_field {
    ($type:ty, $unit:literal, $expected:literal, $any:expr $(, $more:item)?) => {
        impl Field for $type {
            const UNIT: &'static str = $unit;

            fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
                spot.quantity($expected)
            }

            fn write(&self, out: &mut String) {
                write!(out, "\"{self}\"").expect("a String takes every write");
            }

            $($more)?

            #[cfg(test)]
            fn any() -> proptest::strategy::BoxedStrategy<Self> {
                use proptest::prelude::*;
                Strategy::boxed($any)
            }
        }
    };
}

quantity_field!(
    Nanos,
    "time",
    "a time such as \"1.5s\"",
    any::<u64>().prop_map(Nanos),
    fn each_time(&mut self, change: &mut dyn FnMut(&mut Nanos)) {
        change(self);
    }
);
quantity_field!(
    SignedNanos,
    "time, may be negative",
    "a time such as \"-1.5s\"",
    (-i64::MAX..=i64::MAX).prop_map(SignedNanos)
);
quantity_field!(Size, "size", "a size such as \"32KiB\"", any::<u64>().prop_map(Size));
quantity_field!(Ratio, "ratio", "a ratio such as \"2.5%\"", (0..=1_000_000u32).prop_map(Ratio::ppm));

impl Field for u64 {
    const UNIT: &'static str = "number";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        u64::try_from(spot.integer()?).map_err(|_| spot.wrong_value("it is negative"))
    }

    fn write(&self, out: &mut String) {
        write!(out, "{self}").expect("a String takes every write");
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        // TOML's integers are signed.
        proptest::strategy::Strategy::boxed(0..=i64::MAX as u64)
    }
}

impl Field for i64 {
    const UNIT: &'static str = "number, may be negative";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        spot.integer()
    }

    fn write(&self, out: &mut String) {
        write!(out, "{self}").expect("a String takes every write");
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        proptest::strategy::Strategy::boxed(proptest::num::i64::ANY)
    }
}

impl Field for bool {
    const UNIT: &'static str = "true|false";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        match spot.value.get_ref() {
            DeValue::Boolean(flag) => Ok(*flag),
            _ => Err(spot.wrong_type("true or false")),
        }
    }

    fn write(&self, out: &mut String) {
        write!(out, "{self}").expect("a String takes every write");
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        proptest::strategy::Strategy::boxed(proptest::bool::ANY)
    }
}

impl Field for String {
    const UNIT: &'static str = "text";

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        Ok(spot.text("a string")?.to_owned())
    }

    fn write(&self, out: &mut String) {
        quote(self, out);
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        proptest::strategy::Strategy::boxed(proptest::string::string_regex("(?s).{0,12}").expect("a fixed expression"))
    }
}

/// Absent is `None`; the tables never write a default, so `None` is never written.
impl<T: Field + std::fmt::Debug + 'static> Field for Option<T> {
    const UNIT: &'static str = T::UNIT;

    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        T::read(spot).map(Some)
    }

    fn write(&self, out: &mut String) {
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn each_time(&mut self, change: &mut dyn FnMut(&mut Nanos)) {
        if let Some(value) = self {
            value.each_time(change);
        }
    }

    #[cfg(test)]
    fn any() -> proptest::strategy::BoxedStrategy<Self> {
        proptest::strategy::Strategy::boxed(proptest::option::of(T::any()))
    }
}
