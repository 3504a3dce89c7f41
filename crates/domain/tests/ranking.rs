//! Statistics compared with scipy, statsmodels, scikit-learn and krippendorff (`oracles/ranking.py` writes the
//! fixture), and their results on empty or degenerate data.

use domain::id::ContestantId;
use domain::ranking::{
    ELO_K, ELO_START, ModelVote, Outcome, Predicted, Tally, cohen_kappa, elo, krippendorff_alpha,
    paired_bootstrap, spearman, tie_aware_accuracy, win_rate, win_rate_matrix,
};
use serde_json::Value;

fn cases(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("fixtures/statistics.json")).expect("the fixture");
    let cases = all[kind].as_array().expect("a kind of case").clone();
    assert!(!cases.is_empty());
    cases
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("the fixture")
}

#[track_caller]
fn assert_same(ours: Option<f64>, theirs: &Value) {
    match (ours, read::<Option<f64>>(theirs)) {
        (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() < 1e-9, "{ours} is not {theirs}"),
        (ours, theirs) => assert_eq!(ours, theirs),
    }
}

#[test]
fn spearman_equals_scipy() {
    for case in cases("correlations") {
        let (x, y): (Vec<f64>, Vec<f64>) = (read(&case["x"]), read(&case["y"]));
        assert_same(spearman(&x, &y), &case["spearman"]);
    }
    assert_eq!(spearman(&[1.0, 2.0], &[1.0]), None);
    assert_eq!(spearman(&[1.0, f64::NAN], &[1.0, 2.0]), None);
    assert_eq!(spearman(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], &[1.0, 2.0, 3.0]), Some(1.0));
}

#[test]
fn kappa_equals_scikit_learn_and_alpha_equals_krippendorff() {
    for case in cases("cohen") {
        assert_same(cohen_kappa(&read::<Vec<(i64, i64)>>(&case["answers"])), &case["kappa"]);
    }
    for case in cases("alpha") {
        assert_same(krippendorff_alpha(&read::<Vec<Vec<i64>>>(&case["units"])), &case["alpha"]);
    }
    assert_eq!(cohen_kappa::<u8>(&[]), None);
    assert_eq!(krippendorff_alpha::<u8>(&[]), None);
}

#[test]
fn wilson_intervals_equal_statsmodels() {
    for case in cases("wilson") {
        let (wins, votes): (i64, i64) = (read(&case["wins"]), read(&case["votes"]));
        let rate = win_rate(wins, votes - wins, 0).expect("votes");
        assert_same(Some(rate.low), &case["interval"][0]);
        assert_same(Some(rate.high), &case["interval"][1]);
    }
}

#[test]
fn the_bootstrap_equals_numpy_on_the_same_draws() {
    for case in cases("bootstrap") {
        let draws: Vec<usize> = read(&case["draws"]);
        let mut draws = draws.into_iter();
        let pairs: Vec<(f64, f64)> = read(&case["pairs"]);
        let interval = paired_bootstrap(&pairs, read(&case["resamples"]), |_| draws.next().expect("a draw"));
        let interval = interval.expect("pairs");
        assert_same(Some(interval.mean), &case["mean"]);
        assert_same(Some(interval.low), &case["interval"][0]);
        assert_same(Some(interval.high), &case["interval"][1]);
    }
    assert_eq!(paired_bootstrap(&[], 10, |_| 0), None);
    assert_eq!(paired_bootstrap(&[(1.0, 0.0)], 0, |_| 0), None);
    assert_eq!(paired_bootstrap(&[(f64::NAN, 0.0)], 10, |_| 0), None);
    // A draw out of range does not panic.
    assert!(paired_bootstrap(&[(1.0, 0.0), (2.0, 0.0)], 10, |n| n + 7).is_some());
}

fn model(n: u8) -> ContestantId {
    format!("00000000-0000-7000-8000-0000000000{n:02x}").parse().expect("an id")
}

fn vote(a: u8, b: u8, outcome: Outcome) -> ModelVote {
    ModelVote { a: model(a), b: model(b), outcome }
}

#[test]
fn elo_moves_with_each_vote() {
    assert!(elo(&[], ELO_K, ELO_START).is_empty());
    assert!(elo(&[vote(1, 1, Outcome::First)], ELO_K, ELO_START).is_empty());
    let after = |votes: &[ModelVote]| -> Vec<f64> { elo(votes, 32.0, 1000.0).into_values().collect() };
    assert_eq!(after(&[vote(1, 2, Outcome::First)]), [1016.0, 984.0]);
    assert_eq!(after(&[vote(2, 1, Outcome::Second)]), [1016.0, 984.0]);
    assert_eq!(after(&[vote(1, 2, Outcome::Neither)]), [1000.0, 1000.0]);
    // The second win was more likely, so it gains less: 32 (1 - 1 / (1 + 10^(-32/400))).
    let twice = after(&[vote(1, 2, Outcome::First), vote(1, 2, Outcome::First)]);
    assert!((twice[0] - (1016.0 + 32.0 * (1.0 - 1.0 / (1.0 + 10_f64.powf(-0.08))))).abs() < 1e-9);
    assert!((twice.iter().sum::<f64>() - 2000.0).abs() < 1e-9);
    // An undefeated model gains ever less.
    let undefeated = after(&vec![vote(1, 2, Outcome::First); 100_000]);
    assert!(undefeated.iter().all(|rating| rating.is_finite()) && undefeated[0] < 3000.0, "{undefeated:?}");
}

#[test]
fn the_matrix_has_every_pair_in_both_orders() {
    let tally = |a, b, wins_a, wins_b, ties| Tally { a: model(a), b: model(b), wins_a, wins_b, ties };
    let matrix = win_rate_matrix(&[
        tally(2, 1, 3, 1, 0),
        tally(1, 2, 0, 2, 2),
        tally(3, 1, 0, 0, 1),
        tally(4, 5, 0, 0, 0),
        tally(1, 1, 9, 9, 9),
    ]);
    assert_eq!(matrix.models, [model(1), model(2), model(3)]);
    assert_eq!(matrix.rows[1][0], win_rate(5, 1, 2));
    assert_eq!(matrix.rows[0][1], win_rate(1, 5, 2));
    assert_eq!(matrix.rows[0][2], win_rate(0, 0, 1));
    // No votes between models 2 and 3; the diagonal is empty.
    assert_eq!([matrix.rows[1][2], matrix.rows[0][0]], [None, None]);
    assert_eq!(win_rate_matrix(&[]).models, []);
}

#[test]
fn a_tie_on_one_side_only_counts_half() {
    let pair = |first, outcome| Predicted { first, outcome };
    let pairs = [
        pair(0.9, Outcome::First),
        pair(0.9, Outcome::Second),
        pair(0.52, Outcome::Neither),
        pair(0.45, Outcome::Second),
        pair(0.5, Outcome::First),
    ];
    // At 0 only equal probabilities are a tie: 1, 0, 0.5, 1, 0.5. At 0.1 also 0.52 and 0.45: 1, 0, 1, 0.5, 0.5.
    assert_eq!(tie_aware_accuracy(&pairs, 0.0), Some(0.6));
    assert_eq!(tie_aware_accuracy(&pairs, 0.15), Some(0.6));
    assert_eq!(tie_aware_accuracy(&pairs, 1.0), Some(0.6));
    assert_eq!(tie_aware_accuracy(&pairs, 0.05), Some(0.7));
    assert_eq!(tie_aware_accuracy(&[], 0.0), None);
}
