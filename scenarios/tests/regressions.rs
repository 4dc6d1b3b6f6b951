//! Plans that failed once, on a node without defects, and pass since it was mended. The file's first lines say what it was.

use scenarios::{
    plan::Plan,
    registry,
    run::{RunOptions, run},
    verdict::Class,
};

#[test]
#[expect(clippy::disallowed_methods, reason = "plans lie beside the test")]
fn every_plan_that_once_failed_passes() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of regressions") {
        let path = entry.expect("its entries").path();
        let text = std::fs::read_to_string(&path).expect("a plan's text");
        let plan =
            Plan::parse(&text, &registry::vocabulary()).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
        assert!(plan.defects.is_empty() && plan.plant.is_empty(), "{}: the sound node is meant", path.display());
        let outcome = run(&plan, &RunOptions::default());
        let fine = matches!(outcome.verdict.class, Class::Pass | Class::Unarmed);
        assert!(fine, "{}: {}: {}", path.display(), outcome.verdict.class, outcome.verdict.detail);
        replayed += 1;
    }
    assert!(replayed > 0, "there are regressions to replay");
}
