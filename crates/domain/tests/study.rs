//! Studies: what is due next, what is refused, and what the report says.

use domain::job::{JobSpec, JobState};
use domain::study::{
    Cell, CellResult, CurveRow, Measure, Planned, ScoreRow, StudySpec, cells, chosen, dependents, plan,
    report,
};
use std::collections::BTreeMap;

const SPEC: &str = r#"
name = "tiny"
base = "shapes"
seeds = [1, 2]
budget = { pairs = 32 }
train = { batch_size = 4, learning_rate.rate = 1e-4 }

[[data]]
name = "winter"
set = { source = "shapes", set = "winter", count = 16 }

[[methods]]
name = "sft"
objective = { kind = "sft" }
search = { "learning_rate.rate" = [1e-4, 2e-4] }

[[methods]]
name = "sft-contrast"
after = "sft"
objective = { kind = "diff_contrast", beta = 500, tau = 0.1 }
search = { "objective.beta" = [500, 2000] }

[[ablations]]
name = "batch"
method = "sft-contrast"
key = "batch_size"
values = [4, 8]

[tuning]
metric = "clip_score"
[[tuning.evaluate]]
name = "validation"
prompts = { source = "list", prompts = ["a red circle"] }

[[evaluate]]
name = "held_out"
prompts = { source = "shapes_held_out", count = 2 }
"#;

fn spec() -> StudySpec {
    let spec: StudySpec = toml::from_str(SPEC).expect("a spec");
    spec.validate().expect("a valid spec");
    spec
}

type Results = BTreeMap<String, CellResult>;

fn due(spec: &StudySpec, results: &Results) -> Vec<(String, JobSpec)> {
    let planned = plan(spec, results).into_iter();
    let due = planned.filter_map(|cell| match cell.state {
        Planned::Due(job) => Some((cell.key, *job)),
        _ => None,
    });
    due.collect()
}

/// Ends every due cell with what `value` says of the trials; returns the keys in the order of their submission.
fn run(spec: &StudySpec, results: &mut Results, fail: &[&str], value: impl Fn(&str) -> f64) -> Vec<String> {
    let mut order = Vec::new();
    loop {
        let due = due(spec, results);
        if due.is_empty() {
            return order;
        }
        for (key, job) in due {
            let state = if fail.contains(&key.as_str()) { JobState::Failed } else { JobState::Succeeded };
            let model = matches!(&job, JobSpec::Train(_)).then(|| job.name().to_owned());
            let value = key.ends_with("/evaluate").then(|| value(&key));
            job.validate().expect("a valid job");
            results.insert(key.clone(), CellResult { state, model, value });
            order.push(key);
        }
    }
}

#[test]
fn trials_come_first_then_finals_then_evaluations_and_every_cell_once() {
    let (spec, mut results) = (spec(), Results::new());
    let first: Vec<String> = due(&spec, &results).into_iter().map(|(key, _)| key).collect();
    assert_eq!(first, ["trial/sft/winter/1", "trial/sft/winter/2"]);
    let order = run(&spec, &mut results, &[], |key| if key.contains("/2/") { 0.9 } else { 0.5 });
    let mut sorted = order.clone();
    sorted.sort();
    let mut expected: Vec<String> = cells(&spec).into_iter().map(|cell| cell.key(&spec)).collect();
    expected.sort();
    assert_eq!(sorted, expected);
    let at = |key: &str| order.iter().position(|of| of == key).expect("submitted");
    assert!(at("trial/sft/winter/2/evaluate") < at("final/sft/winter/seed1"));
    // The second stage is searched from the first one's final model.
    assert!(at("final/sft/winter/seed1") < at("trial/sft-contrast/winter/1"));
    assert!(at("final/sft-contrast/winter/seed2") < at("evaluate/held_out/winter/seed2"));
    assert_eq!(chosen(&spec, &results, 0, 0).map(|(trial, _)| trial), Some(1));
}

#[test]
fn jobs_have_the_chosen_settings_the_budget_and_the_base_of_their_stage() {
    let (spec, mut results) = (spec(), Results::new());
    run(&spec, &mut results, &[], |key| if key.contains("/2/") { 0.9 } else { 0.5 });
    let job = |key: &str| {
        let mut without = results.clone();
        without.remove(key);
        let job = due(&spec, &without).into_iter().find(|(of, _)| of == key).expect("due again").1;
        serde_json::to_value(job).expect("JSON")
    };
    let sft = job("final/sft/winter/seed2");
    assert_eq!((&sft["base"], &sft["seed"], &sft["steps"]), (&"shapes".into(), &2.into(), &8.into()));
    assert_eq!(sft["learning_rate"]["rate"], 2e-4);
    assert_eq!(sft["name"], "tiny-final-sft-winter-seed2");
    let contrast = job("final/sft-contrast/winter/seed2");
    assert_eq!(contrast["base"], "tiny-final-sft-winter-seed2");
    assert_eq!(
        (&contrast["objective"]["beta"], &contrast["objective"]["tau"]),
        (&2000.0.into(), &0.1.into())
    );
    let ablation = job("ablation/batch/8/winter/seed1");
    assert_eq!((&ablation["batch_size"], &ablation["steps"]), (&8.into(), &4.into()));
    assert_eq!(ablation["objective"]["beta"], 2000.0);
    let evaluation = job("evaluate/held_out/winter/seed1");
    let models = ["shapes", "tiny-final-sft-winter-seed1", "tiny-final-sft-contrast-winter-seed1"];
    assert_eq!(evaluation["models"], serde_json::json!(models));
    assert_eq!(evaluation["baseline"], "shapes");
}

#[test]
fn a_failed_cell_blocks_what_needs_it_and_nothing_else() {
    let (spec, mut results) = (spec(), Results::new());
    let failing = ["final/sft/winter/seed2", "trial/sft/winter/1"];
    let order = run(&spec, &mut results, &failing, |_| 0.5);
    // The other trial is chosen, and the other seed goes on.
    assert_eq!(chosen(&spec, &results, 0, 0).map(|(trial, _)| trial), Some(1));
    assert!(order.contains(&"evaluate/held_out/winter/seed1".to_owned()));
    assert!(!order.contains(&"evaluate/held_out/winter/seed2".to_owned()));
    let blocked: Vec<(String, String)> = plan(&spec, &results)
        .into_iter()
        .filter_map(|cell| match cell.state {
            Planned::Blocked(by) => Some((cell.key, by)),
            _ => None,
        })
        .collect();
    assert!(blocked.contains(&("trial/sft/winter/1/evaluate".to_owned(), "trial/sft/winter/1".to_owned())));
    let by = "final/sft/winter/seed2".to_owned();
    assert!(blocked.contains(&("final/sft-contrast/winter/seed2".to_owned(), by)), "{blocked:?}");
    assert!(plan(&spec, &results).iter().all(|cell| !matches!(cell.state, Planned::Waiting)));
    // Doing the failed cell again does what depends on it again, and nothing else.
    let again = dependents(&spec, Cell::Final { method: 0, data: 0, seed: 2 });
    let expected = [
        "ablation/batch/4/winter/seed2",
        "ablation/batch/8/winter/seed2",
        "evaluate-ablation/held_out/batch/winter/seed2",
        "evaluate/held_out/winter/seed2",
        "final/sft-contrast/winter/seed2",
    ];
    assert_eq!(again.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn a_distance_is_better_if_it_is_smaller() {
    let mut spec = spec();
    let tuning = spec.tuning.as_mut().expect("tuning");
    tuning.metric = Measure::Distance;
    let mut results = Results::new();
    run(&spec, &mut results, &[], |key| if key.contains("/2/") { 0.9 } else { 0.5 });
    assert_eq!(chosen(&spec, &results, 0, 0).map(|(trial, _)| trial), Some(0));
}

/// The fields that are refused after a change of the spec.
fn refused(from: &str, to: &str) -> Vec<String> {
    assert!(SPEC.contains(from), "{from}");
    let spec: StudySpec = toml::from_str(&SPEC.replacen(from, to, 1)).expect("a spec");
    let problems = spec.validate().expect_err("an invalid study");
    problems.0.into_iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect()
}

#[test]
fn what_would_be_unfair_or_fail_later_is_refused_with_its_field() {
    let unequal = refused("[500, 2000]", "[500]");
    assert!(
        unequal[0].starts_with("methods.1.search: method \"sft-contrast\" has 1 trials and \"sft\" has 2"),
        "{unequal:?}"
    );
    let unsearched = refused("search = { \"objective.beta\" = [500, 2000] }", "");
    assert!(unsearched[0].contains("set untuned = true"), "{unsearched:?}");
    for (from, to, field) in [
        ("pairs = 32", "pairs = 30", "budget.pairs"),
        ("seeds = [1, 2]", "seeds = [1, 1]", "seeds"),
        ("seeds = [1, 2]", "seeds = [0, 1]", "tuning.seed"),
        ("after = \"sft\"", "after = \"dpo\"", "methods.1.after"),
        ("batch_size = 4,", "batch_size = 4, steps = 9,", "train.steps"),
        ("batch_size = 4,", "batch_siz = 4, batch_size = 4,", "train"),
        ("key = \"batch_size\"", "key = \"seed\"", "ablations.0.key"),
        ("values = [4, 8]", "values = [4, 5]", "budget.pairs"),
        ("tau = 0.1", "tau = -1", "objective.tau"),
        (
            "source = \"list\", prompts = [\"a red circle\"]",
            "source = \"shapes_held_out\", count = 9",
            "tuning.evaluate.0.prompts",
        ),
        ("metric = \"clip_score\"", "metric = \"distance\"", "tuning.evaluate.0.fid"),
        ("name = \"tiny\"", "name = \"a/b\"", "name"),
    ] {
        let problems = refused(from, to);
        assert!(problems[0].starts_with(&format!("{field}: ")), "{from} -> {to}: {problems:?}");
    }
    let unknown = toml::from_str::<StudySpec>(&SPEC.replacen("pairs = 32", "pairs = 32, hours = 1", 1));
    assert!(unknown.is_err());
}

#[test]
fn differences_of_specs_are_named_by_field() {
    let (a, mut b) = (spec(), spec());
    b.seeds = vec![1, 2, 3];
    b.methods[1].after = None;
    b.budget.pairs = 64;
    assert_eq!(a.differences(&b), ["budget.pairs", "methods.1.after", "seeds"]);
    assert_eq!(a.differences(&a), [""; 0]);
}

fn score(model: &str, seed: Option<u64>, image: usize, measure: &str, score: f64) -> ScoreRow {
    ScoreRow {
        data: "winter".to_owned(),
        evaluation: "held_out".to_owned(),
        model: model.to_owned(),
        seed,
        image: (measure != "distance").then_some(image),
        measure: measure.parse().expect("a measure"),
        score,
    }
}

#[test]
fn the_report_pairs_by_prompt_and_seed() {
    let mut scores = vec![];
    for (image, base) in [0.2, 0.4].into_iter().enumerate() {
        scores.push(score("base", None, image, "clip_score", base));
        for seed in [1, 2] {
            // Better than the base by 0.1 with seed 1 and by 0.3 with seed 2, on every prompt.
            let gain = if seed == 1 { 0.1 } else { 0.3 };
            scores.push(score("final/sft", Some(seed), image, "clip_score", base + gain));
            scores.push(score("final/sft-contrast", Some(seed), image, "clip_score", base));
        }
    }
    for (seed, distance) in [(1, 5.0), (2, 7.0)] {
        scores.push(score("final/sft", Some(seed), 0, "distance", distance));
    }
    let trial = |trial: usize, value: f64| ScoreRow {
        evaluation: "validation".to_owned(),
        model: format!("trial/sft/{trial}"),
        seed: Some(0),
        ..score("", None, 0, "clip_score", value)
    };
    scores.extend([trial(1, 0.5), trial(2, 0.25)]);
    let curve = |seed, value| CurveRow {
        data: "winter".to_owned(),
        model: "final/sft".to_owned(),
        seed,
        curve: "loss".to_owned(),
        step: 4,
        value,
    };
    let report = report(&spec(), &scores, &[curve(1, 1.0), curve(2, 3.0)], Vec::new());
    let table = &report.tables[0];
    let row = |method: &str, measure: &str| {
        table.rows.iter().find(|row| row.method == method && row.measure.as_str() == measure).expect("a row")
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    close(row("sft", "clip_score").mean.mean, 0.5);
    let gain = row("sft", "clip_score").difference.expect("a difference");
    close(gain.mean, 0.2);
    // Two seeds: the standard error is 0.1, and 12.7062 the quantile of one degree of freedom.
    close(gain.interval.expect("an interval")[1], 0.2 + 0.1 * 12.706_204_7);
    let distance = row("sft", "distance").mean;
    close(distance.mean, 6.0);
    close(distance.interval.expect("an interval")[0], 6.0 - 12.706_204_7);
    let win = |method: &str, against: &str| {
        table.wins.iter().find(|row| row.method == method && row.against == against).expect("a row")
    };
    assert_eq!((win("sft", "base").wins, win("sft", "base").losses), (4, 0));
    assert_eq!((win("sft-contrast", "base").ties, win("sft-contrast", "base").rate.mean), (4, 0.5));
    assert_eq!(win("sft-contrast", "sft").losses, 4);
    let search = &report.searches[0];
    assert_eq!(search.trials.iter().map(|of| of.chosen).collect::<Vec<_>>(), [true, false]);
    assert_eq!(search.trials[0].settings["learning_rate.rate"], "0.0001");
    let point = &report.curves[0].points[0];
    assert_eq!((point.step, point.mean.mean), (4, 2.0));
}
