//! What all searches came to: the file that is compared, and the table for people.

use comfy_table::{CellAlignment, Table, presets};
use scenarios::registry;
use serde::{Deserialize, Serialize};

use super::search::{Finding, Search};

/// The version of the file's form.
const VERSION: u64 = 1;

/// A search that looks again is given so many times the seeds that it took on average, and some more: by chance alone two
/// findings in all the searches of a file make one in a hundred fail that sees as well as ever, and three one in five hundred.
const PATIENCE: u64 = 20;

/// All defects that were looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Zoo {
    /// The version of this form.
    pub zoo: u64,
    /// Processor seconds that a search could take.
    pub seconds: u64,
    /// One a defect.
    pub rows: Vec<Row>,
}

/// One defect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its id.
    pub defect: String,
    /// The check that catches it in its scenario.
    pub expected: Option<String>,
    /// One a base seed.
    pub searches: Vec<Search>,
}

impl Row {
    /// Whether the first search found it.
    pub fn is_found(&self) -> bool {
        self.searches.first().is_some_and(|search| search.found.is_some())
    }

    /// What to expect of a search that looks again from the same seed on, for the check that found it first; nothing
    /// where that took more than `within` seeds on average, or happened once only.
    pub fn expected(&self, within: u64) -> Option<Expected<'_>> {
        let first = self.searches.first()?;
        let Finding { check, .. } = first.found.as_ref()?;
        let by = |search: &&Search| search.found.as_ref().is_some_and(|found| found.check == *check);
        let (runs, found): (u64, usize) =
            (self.searches.iter().map(|search| search.runs).sum(), self.searches.iter().filter(by).count());
        let mean = runs.div_ceil(found as u64);
        (found > 1 && mean <= within).then(|| Expected { first: first.first, check, runs: PATIENCE * (mean + 1) })
    }
}

/// What was found often enough to be looked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected<'a> {
    /// The seed to begin with.
    pub first: u64,
    /// The check that is to accuse.
    pub check: &'a str,
    /// Within so many seeds.
    pub runs: u64,
}

impl Zoo {
    /// Nothing yet.
    pub fn new(seconds: u64) -> Self {
        Self { zoo: VERSION, seconds, rows: Vec::new() }
    }

    /// Whether this build can look again for what a file has: all of it, or what was `asked` for.
    pub fn check(&self, asked: &[String]) -> Result<(), String> {
        if self.zoo != VERSION {
            return Err(format!("it is of version {}, and this build reads {VERSION}: make it anew", self.zoo));
        }
        let known = registry::vocabulary().defects;
        let unknown = |row: &&Row| asked.is_empty() && !known.contains(&row.defect.as_str());
        match self.rows.iter().find(unknown) {
            Some(row) => {
                Err(format!("this build has no defect `{}`: name those to look for, or make it anew", row.defect))
            }
            None => Ok(()),
        }
    }

    /// Whether a plan failed without its defect, too.
    pub fn accuses_the_sound(&self) -> bool {
        self.rows.iter().flat_map(|row| &row.searches).any(|search| !search.fails_sound.is_empty())
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(["defect", "found", "seeds", "CPU seconds", "by"]);
        for column in 2..4 {
            table.column_mut(column).expect("the header has five columns").set_cell_alignment(CellAlignment::Right);
        }
        for row in &self.rows {
            let found = row.searches.iter().filter(|search| search.found.is_some()).count();
            let mut checks: Vec<&str> =
                row.searches.iter().filter_map(|search| search.found.as_ref()).map(|found| &*found.check).collect();
            checks.sort_unstable();
            checks.dedup();
            let mut by = checks.join(", ");
            if let Some(expected) = row.expected.as_deref().filter(|expected| found > 0 && !checks.contains(expected)) {
                by.push_str(&format!(" (expected {expected})"));
            }
            table.add_row([
                row.defect.clone(),
                format!("{found}/{}", row.searches.len()),
                interval(row.searches.iter().map(|search| search.runs as f64)),
                interval(row.searches.iter().map(|search| search.cpu_seconds.ceil())),
                by,
            ]);
        }
        let found = self.rows.iter().filter(|row| row.is_found()).count();
        let mut text = format!("{}\n{found} of {} defects found\n", table.trim_fmt(), self.rows.len());
        let mut sound: Vec<u64> =
            self.rows.iter().flat_map(|row| &row.searches).flat_map(|search| &search.fails_sound).copied().collect();
        sound.sort_unstable();
        sound.dedup();
        if !sound.is_empty() {
            let seeds: Vec<String> = sound.iter().map(u64::to_string).collect();
            text.push_str(&format!("fail without a defect, too: swarm seeds {}\n", seeds.join(", ")));
        }
        text
    }
}

/// The least and the greatest.
fn interval(values: impl Iterator<Item = f64>) -> String {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    if least >= most { format!("{most}") } else { format!("{least}..{most}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(first: u64, runs: u64, check: Option<&str>) -> Search {
        let found =
            check.map(|check| Finding { seed: first + runs, check: check.to_owned(), fingerprint: check.to_owned() });
        Search { first, runs, cpu_seconds: 1.5, found, fails_sound: Vec::new() }
    }

    #[test]
    fn what_was_found_twice_and_soon_enough_is_looked_for_again() {
        let cases: [(&str, &[Search], Option<u64>); 6] = [
            ("never", &[search(1, 50, None)], None),
            ("once is chance", &[search(1, 3, Some("one"))], None),
            ("twice", &[search(1, 3, Some("one")), search(100, 9, Some("one"))], Some(PATIENCE * 7)),
            (
                "one did not",
                &[search(1, 3, Some("one")), search(100, 9, Some("one")), search(200, 28, None)],
                Some(PATIENCE * 21),
            ),
            ("two checks", &[search(1, 3, Some("one")), search(100, 9, Some("two"))], None),
            ("too late", &[search(1, 30, Some("one")), search(100, 90, Some("one"))], None),
        ];
        for (name, searches, runs) in cases {
            let row = Row { defect: "a-1".to_owned(), expected: None, searches: searches.to_vec() };
            let expected = runs.map(|runs| Expected { first: 1, check: "one", runs });
            assert_eq!(row.expected(40), expected, "{name}");
        }
    }

    #[test]
    fn a_table_says_what_was_found_and_by_whom() {
        let row =
            |defect: &str, searches| Row { defect: defect.to_owned(), expected: Some("one".to_owned()), searches };
        let mut zoo = Zoo::new(60);
        zoo.rows.push(row("a-1", vec![search(1, 3, Some("one")), search(100, 9, Some("two"))]));
        zoo.rows.push(row("a-2", vec![search(1, 7, Some("two"))]));
        zoo.rows.push(row("a-3", vec![search(1, 50, None)]));
        let table = zoo.table();
        assert!(table.contains("3..9") && table.contains("one, two") && table.contains("2/2"), "{table}");
        assert!(table.contains("two (expected one)") && table.contains("0/1"), "{table}");
        assert!(table.contains("2 of 3 defects found"), "{table}");
        assert!(zoo.check(&["tikv-994".to_owned()]).is_ok(), "only what is asked for has to be known");
        assert!(zoo.check(&[]).is_err_and(|error| error.contains("`a-1`")));
        assert!(Zoo { zoo: 9, ..zoo.clone() }.check(&[]).is_err_and(|error| error.contains("version 9")));
        let again: Zoo = serde_json::from_str(&serde_json::to_string(&zoo).expect("it is plain")).expect("it is whole");
        assert_eq!(again, zoo);
    }
}
