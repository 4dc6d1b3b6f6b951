//! Text to plan.
//!
//! TOML is read into a tree with spans, and that tree by hand: every error then names the word that is wrong. The order of
//! reading is that of need, not of the text: the version first, then cluster and workload, which say what nodes there
//! are, then the rest.

use toml::{Spanned, de::DeTable};

use super::{
    Cluster, DEFAULT_CONVERGE_WITHIN, FORMAT, Plan, Workload,
    error::{PlanError, Problem},
    field::{Context, Field, Fields, Spot},
    knobs::Knobs,
    recorded::Recorded,
    step::Step,
    vocabulary::Vocabulary,
};

/// Every key that a plan may have, in the order of printing.
pub(crate) const KEYS: &[&str] = &[
    "reenact",
    "scenario",
    "history",
    "seed",
    "defects",
    "plant",
    "cluster",
    "knobs",
    "workload",
    "trigger",
    "steps",
    "converge-within",
    "recorded",
];

/// A plan that needs no explanation, for errors about what is missing.
const EXAMPLES: &[(&str, &str)] = &[
    ("reenact", "reenact = 1"),
    ("scenario", "scenario = \"snapshot-gc\""),
    ("seed", "seed = \"7\""),
    ("cluster", "cluster = { stores = 3, release = \"8.1.0\" }"),
];

impl Plan {
    /// Reads a plan from the bytes of a file.
    pub fn parse_bytes(bytes: &[u8], vocabulary: &Vocabulary) -> Result<Self, PlanError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text, vocabulary),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                Err(PlanError::at(&valid, valid.len()..valid.len(), Problem::NotText))
            }
        }
    }

    /// Reads a plan from its text.
    pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Self, PlanError> {
        if let Some(at) = text.find('\0') {
            return Err(PlanError::at(text, at..at, Problem::NotText));
        }
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Err(PlanError::at(text, 0..0, Problem::Empty));
        }
        let document = DeTable::parse(text).map_err(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            PlanError::at(text, span, Problem::Syntax(error.message().trim().replace('\n', "; ")))
        })?;
        let mut context = Context { text, vocabulary, nodes: Vec::new(), ends: Vec::new() };
        let (cluster, workload) = shape(&document, &context)?;
        context.nodes = cluster.nodes();
        context.ends = context.nodes.iter().cloned().chain(workload.client_names()).collect();
        Self::read(&root(&document, &context), cluster, workload)
    }

    fn read(fields: &Fields<'_, '_>, cluster: Cluster, workload: Workload) -> Result<Self, PlanError> {
        let vocabulary = fields.context.vocabulary;
        let name = |key, what, allowed: &[&str]| fields.spot(key).map(|spot| spot.word(what, allowed)).transpose();
        let scenario = match name("scenario", "scenario", &vocabulary.scenarios)? {
            Some(scenario) => scenario.to_owned(),
            None => return Err(missing(fields, "scenario")),
        };
        let facts = vocabulary.facts.iter().map(|fact| fact.name);
        let triggers: Vec<&str> = facts.chain(vocabulary.triggers.iter().copied()).collect();
        let knobs = fields.spot("knobs").map(|spot| Knobs::read(&spot.fields("the knobs")?)).transpose()?;
        Ok(Self {
            scenario,
            history: name("history", "history", &vocabulary.histories)?.map(str::to_owned),
            seed: seed(&fields.spot("seed").ok_or_else(|| missing(fields, "seed"))?)?,
            defects: names(fields, "defects", "defect", &vocabulary.defects)?,
            plant: names(fields, "plant", "planted bug", &vocabulary.plants)?,
            cluster,
            knobs: knobs.unwrap_or_default(),
            workload,
            trigger: names(fields, "trigger", "trigger", &triggers)?,
            steps: match fields.spot("steps") {
                Some(spot) => {
                    let steps = spot.items("a list of steps, such as [{ at = \"9s\", do = \"heal\" }]")?;
                    (1..).zip(steps).map(|(number, step)| Step::read(&step, number)).collect::<Result<_, _>>()?
                }
                None => Vec::new(),
            },
            converge_within: fields.optional("converge-within")?.unwrap_or(DEFAULT_CONVERGE_WITHIN),
            recorded: fields.spot("recorded").map(|spot| Recorded::read(&spot)).transpose()?,
        })
    }
}

/// Version, keys, cluster and workload: what must be known before names of nodes can be read.
fn shape(document: &Spanned<DeTable<'_>>, context: &Context<'_>) -> Result<(Cluster, Workload), PlanError> {
    let fields = root(document, context);
    let Some(version) = fields.spot("reenact") else {
        // Without a version, a misspelt one is the likeliest reason.
        fields.only(KEYS)?;
        return Err(missing(&fields, "reenact"));
    };
    match version.integer() {
        Ok(FORMAT) => {}
        Ok(other) => return Err(version.error(Problem::Version(other.to_string()))),
        Err(error) => return Err(error),
    }
    fields.only(KEYS)?;
    let cluster = fields.spot("cluster").ok_or_else(|| missing(&fields, "cluster"))?;
    let cluster = Cluster::read(&cluster.fields("the cluster")?)?;
    let workload = fields.spot("workload").map(|spot| Workload::read(&spot.fields("the workload")?)).transpose()?;
    Ok((cluster, workload.unwrap_or_default()))
}

fn root<'a, 'i>(document: &'a Spanned<DeTable<'i>>, context: &'a Context<'a>) -> Fields<'a, 'i> {
    Fields { table: document.get_ref(), start: 0, inside: "the plan".to_owned(), context }
}

fn missing(fields: &Fields<'_, '_>, key: &'static str) -> PlanError {
    let example = EXAMPLES.iter().find(|(name, _)| *name == key).map(|(_, line)| *line);
    fields.error(Problem::Missing { what: fields.inside.clone(), key, example })
}

/// Seeds are quoted: TOML's integers are signed, a seed uses all 64 bits.
fn seed(spot: &Spot<'_, '_>) -> Result<u64, PlanError> {
    let text = spot.text("a quoted decimal number such as \"7\"")?;
    let decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seed = if decimal { text.parse().ok() } else { None };
    seed.ok_or_else(|| spot.wrong_value("a seed is a decimal number from 0 to 18446744073709551615"))
}

/// A list of distinct names.
fn names(fields: &Fields<'_, '_>, key: &str, what: &'static str, allowed: &[&str]) -> Result<Vec<String>, PlanError> {
    let Some(spot) = fields.spot(key) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for item in spot.items("a list of names")? {
        let name = item.word(what, allowed)?.to_owned();
        if names.contains(&name) {
            return Err(item.wrong_value("it stands in the list twice"));
        }
        names.push(name);
    }
    Ok(names)
}

/// Refuses a number outside its range.
fn in_range(fields: &Fields<'_, '_>, key: &str, value: u64, least: u64, most: u64) -> Result<u64, PlanError> {
    match fields.spot(key) {
        Some(spot) if value < least || value > most => {
            Err(spot.wrong_value(format!("it should be in {least} to {most}")))
        }
        _ => Ok(value),
    }
}

impl Cluster {
    fn read(fields: &Fields<'_, '_>) -> Result<Self, PlanError> {
        fields.only(&["stores", "tiflash", "spare", "release", "regions"])?;
        let example = Some(EXAMPLES[3].1);
        let number = |key, default, least, most| {
            in_range(fields, key, fields.optional::<u64>(key)?.unwrap_or(default), least, most)
        };
        fields.required::<u64>("stores", example)?;
        Ok(Self {
            stores: number("stores", 0, 1, 1_000)?,
            tiflash: number("tiflash", 0, 0, 1_000)?,
            spare: number("spare", 0, 0, 1_000)?,
            release: fields.required("release", example)?,
            regions: number("regions", 1, 1, 100_000)?,
        })
    }
}

impl Workload {
    fn read(fields: &Fields<'_, '_>) -> Result<Self, PlanError> {
        let mix = super::Mix::KEYS;
        let own = ["kind", "clients", "rate", "keys", "value-bytes", "for"];
        fields.only(&own.iter().chain(mix).copied().collect::<Vec<_>>())?;
        let default = Self::default();
        let number = |key, default, least, most| {
            in_range(fields, key, fields.optional::<u64>(key)?.unwrap_or(default), least, most)
        };
        let kinds = &fields.context.vocabulary.workloads;
        let mut workload = Self {
            kind: match fields.spot("kind") {
                Some(kind) => kind.word("kind of workload", kinds)?.to_owned(),
                None => default.kind,
            },
            clients: number("clients", default.clients, 0, 1_000)?,
            rate: number("rate", default.rate, 0, 1_000_000)?,
            keys: number("keys", default.keys, 1, 1_000_000)?,
            value_bytes: default.value_bytes,
            lasting: fields.optional("for")?.unwrap_or(default.lasting),
            mix: default.mix,
        };
        if let Some(spot) = fields.spot("value-bytes") {
            let expected = "two numbers, such as [16, 4096]";
            let bounds = spot.items(expected)?.map(|item| u64::read(&item)).collect::<Result<Vec<_>, _>>()?;
            let [least, most] = bounds[..] else { return Err(spot.wrong_type(expected)) };
            if least > most || least < 16 || most > 1 << 20 {
                return Err(spot.wrong_value("it should be two sizes from 16 to 1048576, the smaller first"));
            }
            workload.value_bytes = [least, most];
        }
        for key in mix {
            let weight = workload.mix.weight(key).expect("the list of keys is the mix's own");
            *weight = number(key, *weight, 0, 1_000_000)?;
        }
        Ok(workload)
    }
}
