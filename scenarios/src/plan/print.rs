//! Plan to text: what the parser reads back to an equal plan.
//!
//! One step a line, keys in a fixed order, and nothing that has its default, so that a plan reads as a story and a
//! difference between two of them means something.

use std::fmt;

use super::{
    Cluster, FORMAT, Mix, Plan, Workload,
    field::{Field, quote, write_list},
};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = format!("reenact = {FORMAT}\n");
        line(&mut out, "scenario", |out| quote(&self.scenario, out));
        if let Some(history) = &self.history {
            line(&mut out, "history", |out| quote(history, out));
        }
        line(&mut out, "seed", |out| quote(&self.seed.to_string(), out));
        for (key, names) in [("defects", &self.defects), ("plant", &self.plant)] {
            if !names.is_empty() {
                line(&mut out, key, |out| write_list(names, out, |name, out| quote(name, out)));
            }
        }
        line(&mut out, "cluster", |out| self.cluster.write(out));
        let knobs: Vec<_> = self.knobs.iter().collect();
        if !knobs.is_empty() {
            line(&mut out, "knobs", |out| {
                let keys: Vec<String> = knobs.iter().map(|(name, value)| format!("\"{name}\" = {value}")).collect();
                out.push_str(&format!("{{ {} }}", keys.join(", ")));
            });
        }
        line(&mut out, "workload", |out| self.workload.write(out));
        if !self.trigger.is_empty() {
            line(&mut out, "trigger", |out| write_list(&self.trigger, out, |name, out| quote(name, out)));
        }
        if !self.steps.is_empty() {
            out.push_str("steps = [\n");
            for step in &self.steps {
                out.push_str("  ");
                step.write(&mut out);
                out.push_str(",\n");
            }
            out.push_str("]\n");
        }
        line(&mut out, "converge-within", |out| self.converge_within.write(out));
        if let Some(recorded) = &self.recorded {
            recorded.write(&mut out);
        }
        f.write_str(&out)
    }
}

fn line(out: &mut String, key: &str, write: impl FnOnce(&mut String)) {
    out.push_str(key);
    out.push_str(" = ");
    write(out);
    out.push('\n');
}

impl Cluster {
    fn write(&self, out: &mut String) {
        out.push_str(&format!("{{ stores = {}", self.stores));
        for (key, count, default) in [("tiflash", self.tiflash, 0), ("spare", self.spare, 0)] {
            if count != default {
                out.push_str(&format!(", {key} = {count}"));
            }
        }
        out.push_str(", release = ");
        self.release.write(out);
        if self.regions != 1 {
            out.push_str(&format!(", regions = {}", self.regions));
        }
        out.push_str(" }");
    }
}

impl Workload {
    /// All but the mix is always printed: it says at a glance how large a run is.
    fn write(&self, out: &mut String) {
        out.push_str("{ kind = ");
        quote(&self.kind, out);
        let [least, most] = self.value_bytes;
        out.push_str(&format!(", clients = {}, rate = {}, keys = {}", self.clients, self.rate, self.keys));
        out.push_str(&format!(", value-bytes = [{least}, {most}], for = "));
        self.lasting.write(out);
        let (mut mix, mut default) = (self.mix, Mix::default());
        for key in Mix::KEYS {
            let (weight, default) = (mix.weight(key), default.weight(key));
            if let (Some(weight), Some(default)) = (weight, default)
                && weight != default
            {
                out.push_str(&format!(", {key} = {weight}"));
            }
        }
        out.push_str(" }");
    }
}
