//! One step of a plan: when it takes effect, and what it does.
//!
//! Steps arm independently of their order in the file; only `after` chains them. A step that waits for a fact takes
//! effect before the call that states the fact returns, which is how a plan reaches an order of events without sleeping.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    action::{Action, KINDS, kind},
    error::{PlanError, Problem},
    field::{Field, Fields, Spot, quote},
    name::Node,
    quantity::Nanos,
    vocabulary::FieldKind,
};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it takes effect.
    pub when: When,
    /// What it does.
    pub action: Action,
}

/// When a step takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// At a time since chaos began.
    At(Nanos),
    /// A while after an earlier step took effect.
    After {
        /// That step, counted from 1; always less than this step's own number.
        step: u64,
        /// How long after.
        wait: Nanos,
    },
    /// When a fact is stated.
    On(On),
}

/// A fact that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// Its name.
    pub fact: String,
    /// The node that states it; any without.
    pub node: Option<Node>,
    /// Which of the matching facts it is, from 1.
    pub nth: u64,
    /// Fields that must have these values.
    pub fields: BTreeMap<String, FactValue>,
    /// How long the step waits, from when it arms. It never takes effect after that.
    pub within: Nanos,
    /// It arms when this earlier step (from 1) takes effect; when chaos begins without.
    pub after: Option<u64>,
}

/// The value of one field of a fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactValue {
    /// An index, a term, an id, a count.
    Number(u64),
    /// A word, a key, the name of a node.
    Text(String),
    /// True or false.
    Flag(bool),
}

/// Keys that every step may have.
const STEP_KEYS: &[&str] = &["at", "after", "wait", "on", "within", "do"];

/// A line that shows the three ways to say when.
const WHEN_EXAMPLE: &str = r#"at = "1s"` or `after = 1` or `on = { fact = "elected" }, within = "5s""#;

impl Step {
    /// Reads the step that has this number, counted from 1.
    pub(crate) fn read(spot: &Spot<'_, '_>, number: u64) -> Result<Self, PlanError> {
        let mut fields = spot.fields("a step")?;
        let Some(word) = fields.spot("do") else {
            // A misspelt `do` is a better error than a missing one.
            let own: BTreeSet<&str> = KINDS.iter().flat_map(|kind| kind.fields).map(|field| field.name).collect();
            fields.only(&STEP_KEYS.iter().copied().chain(own).collect::<Vec<_>>())?;
            return Err(fields.error(Problem::Missing {
                what: fields.inside.clone(),
                key: "do",
                example: Some(r#"{ at = "9s", do = "heal" }"#),
            }));
        };
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        let kind = kind(word.word("kind of step", &names)?).expect("the word was just found in the same table");
        fields.inside = format!("a `{}` step", kind.name);
        let own = kind.fields.iter().map(|field| field.name);
        fields.only(&STEP_KEYS.iter().copied().chain(own).collect::<Vec<_>>())?;
        Ok(Self { when: When::read(&fields, number)?, action: Action::read(kind, &fields)? })
    }

    /// Appends the step as one inline table.
    pub(crate) fn write(&self, out: &mut String) {
        out.push_str("{ ");
        self.when.write(out);
        out.push_str(", do = ");
        quote(self.action.kind(), out);
        self.action.write(out);
        out.push_str(" }");
    }
}

impl When {
    fn read(fields: &Fields<'_, '_>, number: u64) -> Result<Self, PlanError> {
        let earlier = |spot: Spot<'_, '_>| match u64::read(&spot)? {
            step if step >= 1 && step < number => Ok(step),
            _ => Err(spot.wrong_value(format!(
                "it should be the number of an earlier step, counted from 1, and this is step {number}"
            ))),
        };
        let conflict = |key: &str, why: String| match fields.spots().find(|(_, spot)| spot.key == key) {
            Some((key, _)) => Err(fields.conflict(key, &why)),
            None => Ok(()),
        };
        match (fields.spot("at"), fields.spot("after"), fields.spot("on")) {
            (Some(at), ..) => {
                for other in ["after", "on"] {
                    conflict(other, format!("has `at` already: `{other}` would be a second time"))?;
                }
                conflict("wait", "has `wait` without `after`".to_owned())?;
                conflict("within", "has `within` without `on`".to_owned())?;
                Ok(Self::At(Nanos::read(&at)?))
            }
            (None, Some(after), None) => {
                conflict("within", "has `within` without `on`".to_owned())?;
                Ok(Self::After { step: earlier(after)?, wait: fields.optional("wait")?.unwrap_or_default() })
            }
            (None, after, Some(on)) => {
                conflict("wait", "waits for a fact: `wait` belongs to a step that has `after` alone".to_owned())?;
                let on = On::read(&on)?;
                let example = Some(r#"{ on = { fact = "elected" }, within = "5s", do = "heal" }"#);
                let within = fields.required("within", example)?;
                Ok(Self::On(On { within, after: after.map(earlier).transpose()?, ..on }))
            }
            (None, None, None) => Err(fields.error(Problem::Missing {
                what: fields.inside.clone(),
                key: "at",
                example: Some(WHEN_EXAMPLE),
            })),
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::At(at) => {
                out.push_str("at = ");
                at.write(out);
            }
            Self::After { step, wait } => {
                out.push_str("after = ");
                step.write(out);
                if *wait != Nanos::ZERO {
                    out.push_str(", wait = ");
                    wait.write(out);
                }
            }
            Self::On(on) => {
                if let Some(after) = on.after {
                    out.push_str("after = ");
                    after.write(out);
                    out.push_str(", ");
                }
                out.push_str("on = ");
                on.write(out);
                out.push_str(", within = ");
                on.within.write(out);
            }
        }
    }
}

impl On {
    /// Reads the table behind `on`; `within` and `after` stand beside it and are filled in by the step.
    fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        let mut fields = spot.fields("an `on`")?;
        let facts = &spot.context.vocabulary.facts;
        let Some(name) = fields.spot("fact") else {
            let own: BTreeSet<&str> = facts.iter().flat_map(|fact| &fact.fields).map(|(name, _)| *name).collect();
            fields.only(&["fact", "node", "nth"].into_iter().chain(own).collect::<Vec<_>>())?;
            let example = Some(r#"on = { fact = "elected", node = "store-1" }"#);
            return Err(fields.error(Problem::Missing { what: fields.inside.clone(), key: "fact", example }));
        };
        let names: Vec<&str> = facts.iter().map(|fact| fact.name).collect();
        let fact = name.word("fact", &names)?;
        let spec = spot.context.vocabulary.fact(fact).expect("the word was just found in the same list");
        fields.inside = format!("an `on` of the fact `{fact}`");
        let own = spec.fields.iter().map(|(name, _)| *name);
        fields.only(&["fact", "node", "nth"].into_iter().chain(own).collect::<Vec<_>>())?;
        let nth = match fields.spot("nth") {
            Some(spot) => match u64::read(&spot)? {
                0 => return Err(spot.wrong_value("facts are counted from 1")),
                nth => nth,
            },
            None => 1,
        };
        let mut wanted = BTreeMap::new();
        for (name, kind) in &spec.fields {
            if let Some(value) = fields.spot(name) {
                wanted.insert((*name).to_owned(), FactValue::read(&value, *kind)?);
            }
        }
        let node = fields.optional("node")?;
        Ok(Self { fact: fact.to_owned(), node, nth, fields: wanted, within: Nanos::ZERO, after: None })
    }

    fn write(&self, out: &mut String) {
        out.push_str("{ fact = ");
        quote(&self.fact, out);
        if let Some(node) = &self.node {
            out.push_str(", node = ");
            node.write(out);
        }
        if self.nth != 1 {
            out.push_str(", nth = ");
            self.nth.write(out);
        }
        for (name, value) in &self.fields {
            out.push_str(", ");
            out.push_str(name);
            out.push_str(" = ");
            match value {
                FactValue::Number(number) => number.write(out),
                FactValue::Text(text) => quote(text, out),
                FactValue::Flag(flag) => flag.write(out),
            }
        }
        out.push_str(" }");
    }
}

impl FactValue {
    fn read(spot: &Spot<'_, '_>, kind: FieldKind) -> Result<Self, PlanError> {
        Ok(match kind {
            FieldKind::Number => Self::Number(u64::read(spot)?),
            FieldKind::Text => Self::Text(String::read(spot)?),
            FieldKind::Flag => Self::Flag(bool::read(spot)?),
            FieldKind::Node => Self::Text(Node::read(spot)?.as_str().to_owned()),
        })
    }
}
