//! A smaller cluster, fewer clients, operations and keys, and defaults instead of knobs.

use super::Reduction;
use crate::plan::{Knobs, Plan, Workload};

/// Every way to make cluster, knobs or workload smaller or plainer. None can undo another, or the search would not end.
pub(super) fn smaller(plan: &Plan) -> Vec<Reduction> {
    let mut all = cluster(plan);
    all.extend(workload(plan));
    all.extend(knobs(plan));
    all.extend(marks(plan));
    all
}

/// Proposes smaller counts for one number of a plan: the least, a half, one less.
fn fewer(plan: &Plan, what: &str, least: u64, count: impl Fn(&mut Plan) -> &mut u64) -> Vec<Reduction> {
    let now = *count(&mut plan.clone());
    let mut counts = vec![least, least + now.saturating_sub(least) / 2, now.saturating_sub(1)];
    counts.dedup();
    let smaller = counts.into_iter().filter(|next| (least..now).contains(next));
    let propose = |next| {
        let mut plan = plan.clone();
        *count(&mut plan) = next;
        Reduction::new(format!("{next} {what}"), plan)
    };
    smaller.map(propose).collect()
}

fn cluster(plan: &Plan) -> Vec<Reduction> {
    let mut all = fewer(plan, "regions", 1, |plan| &mut plan.cluster.regions);
    all.extend(fewer(plan, "stores with columns", 0, |plan| &mut plan.cluster.tiflash));
    all.extend(fewer(plan, "spare stores", 0, |plan| &mut plan.cluster.spare));
    all.extend(fewer(plan, "stores", 1, |plan| &mut plan.cluster.stores));
    all
}

fn workload(plan: &Plan) -> Vec<Reduction> {
    let plain = Workload::default();
    let mut all = Vec::new();
    let mut propose = |what: &str, change: &dyn Fn(&mut Workload)| {
        let mut plan = plan.clone();
        change(&mut plan.workload);
        all.push(Reduction::new(what, plan));
    };
    propose("the usual mix of operations", &|workload| workload.mix = plain.mix);
    propose("values of 16 bytes", &|workload| workload.value_bytes = [16, 16]);
    all.extend(fewer(plan, "clients", 1, |plan| &mut plan.workload.clients));
    all.extend(fewer(plan, "keys", 1, |plan| &mut plan.workload.keys));
    all.extend(fewer(plan, "operations a second", 1, |plan| &mut plan.workload.rate));
    all
}

fn knobs(plan: &Plan) -> Vec<Reduction> {
    let names: Vec<&str> = plan.knobs.iter().map(|(name, _)| name).collect();
    let without_any = Plan { knobs: Knobs::default(), ..plan.clone() };
    let mut all = vec![Reduction::new("every knob as usual", without_any)];
    for name in names {
        let mut plan = plan.clone();
        plan.knobs.reset(name);
        all.push(Reduction::new(format!("`{name}` as usual"), plan));
    }
    all
}

/// Defects and planted bugs that the failure does not need. One of them stays, or the story would be another.
fn marks(plan: &Plan) -> Vec<Reduction> {
    let mut all = Vec::new();
    if plan.defects.len() + plan.plant.len() < 2 {
        return all;
    }
    for defect in &plan.defects {
        let mut plan = plan.clone();
        plan.defects.retain(|other| other != defect);
        all.push(Reduction::new(format!("without the defect {defect}"), plan));
    }
    for plant in &plan.plant {
        let mut plan = plan.clone();
        plan.plant.retain(|other| other != plant);
        all.push(Reduction::new(format!("without the plant {plant}"), plan));
    }
    all
}
