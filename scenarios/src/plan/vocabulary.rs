//! The names that a plan may use: facts with their fields, defects, checks, releases and the rest.
//!
//! The registries themselves stand with what they name (facts and defects in `node`, checks and scenarios in their rooms
//! here); the parser only asks whether a name is one of them, so that a typo is an error with a place, and never a step
//! that waits for nothing.
//!
//! Not here: nodes, which follow from the plan's own cluster, and knobs and step kinds, which are tables of this room.

/// The type of one field of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A whole number: an index, a term, an id, a count.
    Number,
    /// A word or a key.
    Text,
    /// True or false.
    Flag,
    /// The name of a node of the plan's cluster.
    Node,
}

impl FieldKind {
    /// What `list facts` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Flag => "true|false",
            Self::Node => "node",
        }
    }
}

/// One kind of fact that a node can state.
#[derive(Clone, Debug)]
pub struct FactSpec {
    /// Its name, as in `snapshot-generating`.
    pub name: &'static str,
    /// What is true when it is stated, in a sentence.
    pub doc: &'static str,
    /// Its fields; `node`, `nth` and `fact` are none of them, every fact has these.
    pub fields: Vec<(&'static str, FieldKind)>,
}

/// Every name that a plan may use.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// What nodes state.
    pub facts: Vec<FactSpec>,
    /// Historic defects, as in `tikv-11746`; also the names of histories.
    pub defects: Vec<&'static str>,
    /// Planted bugs that only tests switch on.
    pub plants: Vec<&'static str>,
    /// Checks.
    pub checks: Vec<&'static str>,
    /// Sites of failpoints.
    pub sites: Vec<&'static str>,
    /// Scenarios of the catalog, and what else makes plans.
    pub scenarios: Vec<&'static str>,
    /// Histories of all scenarios.
    pub histories: Vec<&'static str>,
    /// Releases that a process may run as.
    pub releases: Vec<&'static str>,
    /// Orders of events that are triggers beside facts.
    pub triggers: Vec<&'static str>,
    /// Kinds of workload.
    pub workloads: Vec<&'static str>,
    /// The grammar of failpoint actions; any text will do without.
    pub failpoint_action: Option<ActionCheck>,
}

/// Says why a text is not the action of a failpoint, if it is not.
pub type ActionCheck = fn(&str) -> Result<(), String>;

impl Vocabulary {
    /// The fact of this name.
    pub fn fact(&self, name: &str) -> Option<&FactSpec> {
        self.facts.iter().find(|fact| fact.name == name)
    }
}
