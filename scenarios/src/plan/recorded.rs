//! What happened when a plan was kept: the `[recorded]` table at its end.
//!
//! It never affects a run. `replay` compares with it: class, check and fingerprint always, step and trace only if the
//! build is the same one.

use super::{
    error::PlanError,
    field::{Spot, quote},
};
use crate::verdict::{Class, Verdict};

/// What a kept plan gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The class of its verdict.
    pub class: Class,
    /// The check that accused, empty when none did.
    pub check: String,
    /// By which failures are sorted.
    pub fingerprint: String,
    /// The step of the trace at which the verdict was reached.
    pub step: u64,
    /// The rolling hash of the whole trace.
    pub trace: u64,
    /// The build that ran it.
    pub build: String,
}

impl Recorded {
    /// What to keep of a verdict of this build.
    pub fn of(verdict: &Verdict, build: &str) -> Self {
        Self {
            class: verdict.class,
            check: verdict.check.clone(),
            fingerprint: verdict.fingerprint.clone(),
            step: verdict.step,
            trace: verdict.trace,
            build: build.to_owned(),
        }
    }

    /// The keys that a run of `build` gave otherwise, as `key: recorded, now`; none when what was recorded came back.
    pub fn differences(&self, verdict: &Verdict, build: &str) -> Vec<String> {
        let now = Self::of(verdict, build);
        let mut differences = Vec::new();
        let mut compare = |key: &str, recorded: String, now: String| {
            if recorded != now {
                differences.push(format!("{key}: recorded {recorded}, now {now}"));
            }
        };
        compare("class", self.class.to_string(), now.class.to_string());
        compare("check", format!("`{}`", self.check), format!("`{}`", now.check));
        compare("fingerprint", format!("`{}`", self.fingerprint), format!("`{}`", now.fingerprint));
        if self.build == build {
            compare("step", self.step.to_string(), now.step.to_string());
            compare("trace", format!("{:016x}", self.trace), format!("{:016x}", now.trace));
        }
        differences
    }

    pub(crate) fn read(spot: &Spot<'_, '_>) -> Result<Self, PlanError> {
        let fields = spot.fields("[recorded]")?;
        fields.only(&["class", "check", "fingerprint", "step", "trace", "build"])?;
        let class = fields.spot("class");
        let names: Vec<&str> = Class::ALL.iter().map(|class| class.as_str()).collect();
        let class = match class {
            Some(spot) => spot.word("class", &names)?,
            None => fields.required::<String>("class", Some("class = \"safety\"")).map(|_| "")?,
        };
        let class = Class::ALL.iter().copied().find(|candidate| candidate.as_str() == class);
        let trace = match fields.spot("trace") {
            Some(spot) => {
                let text = spot.text("sixteen hexadecimal digits")?;
                let hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let hash = if hex { u64::from_str_radix(text, 16).ok() } else { None };
                hash.ok_or_else(|| spot.wrong_value("it should be sixteen hexadecimal digits"))?
            }
            None => 0,
        };
        Ok(Self {
            class: class.expect("the word was just found in the same list"),
            check: fields.optional("check")?.unwrap_or_default(),
            fingerprint: fields.optional("fingerprint")?.unwrap_or_default(),
            step: fields.optional("step")?.unwrap_or_default(),
            trace,
            build: fields.optional("build")?.unwrap_or_default(),
        })
    }

    pub(crate) fn write(&self, out: &mut String) {
        out.push_str("\n[recorded] # what happened when this file was kept; it never affects a run\n");
        out.push_str("class = ");
        quote(self.class.as_str(), out);
        for (key, text) in [("check", &self.check), ("fingerprint", &self.fingerprint)] {
            out.push_str(&format!("\n{key} = "));
            quote(text, out);
        }
        out.push_str(&format!("\nstep = {}\ntrace = \"{:016x}\"\nbuild = ", self.step, self.trace));
        quote(&self.build, out);
        out.push('\n');
    }
}
