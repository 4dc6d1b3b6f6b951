//! What all searches came to: the file that is compared, and the table for people.

use comfy_table::{CellAlignment, Table, presets};
use scenarios::registry;
use serde::{Deserialize, Serialize};

use super::search::{Finding, Search};

/// The version of the file's form.
const VERSION: u64 = 1;

/// A defect that took at most so many seeds is found soon, and looked for again in every comparison.
const SOON: u64 = 40;

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

    /// The first search, if it found it soon.
    pub fn found_soon(&self) -> Option<(&Search, &Finding)> {
        let search = self.searches.first().filter(|search| search.runs <= SOON)?;
        Some((search, search.found.as_ref()?))
    }
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
        assert!(zoo.rows[0].found_soon().is_some() && zoo.rows[2].found_soon().is_none());
        assert!(zoo.check(&["tikv-994".to_owned()]).is_ok(), "only what is asked for has to be known");
        assert!(zoo.check(&[]).is_err_and(|error| error.contains("`a-1`")));
        assert!(Zoo { zoo: 9, ..zoo.clone() }.check(&[]).is_err_and(|error| error.contains("version 9")));
        let again: Zoo = serde_json::from_str(&serde_json::to_string(&zoo).expect("it is plain")).expect("it is whole");
        assert_eq!(again, zoo);
    }
}
