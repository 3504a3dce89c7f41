//! Statistics against scipy, statsmodels, scikit-learn and krippendorff, whose figures `oracles/ranking.py` keeps, and
//! what is promised of data that say nothing.

use domain::id::ModelId;
use domain::ranking::{
    ELO_K, ELO_START, ModelVote, Outcome, Predicted, Tally, best_tie_threshold, bootstrap_ratings,
    clustered_standings, cohen_kappa, elo, fleiss_kappa, kendall_tau_b, krippendorff_alpha, paired_bootstrap,
    spearman, standings, tallies, tie_aware_accuracy, win_rate, win_rate_matrix,
};
use serde_json::Value;

fn cases(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("fixtures/statistics.json")).expect("the fixture");
    let cases = all[kind].as_array().expect("a kind of case").clone();
    assert!(!cases.is_empty());
    cases
}

fn of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("the fixture")
}

#[track_caller]
fn same(ours: Option<f64>, theirs: &Value) {
    match (ours, of::<Option<f64>>(theirs)) {
        (Some(ours), Some(theirs)) => assert!((ours - theirs).abs() < 1e-9, "{ours} is not {theirs}"),
        (ours, theirs) => assert_eq!(ours, theirs),
    }
}

#[test]
fn correlations_equal_scipys() {
    for case in cases("correlations") {
        let (x, y): (Vec<f64>, Vec<f64>) = (of(&case["x"]), of(&case["y"]));
        same(spearman(&x, &y), &case["spearman"]);
        same(kendall_tau_b(&x, &y), &case["kendall"]);
    }
    assert_eq!(spearman(&[1.0, 2.0], &[1.0]), None);
    assert_eq!(kendall_tau_b(&[1.0, f64::NAN], &[1.0, 2.0]), None);
    assert_eq!(spearman(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], &[1.0, 2.0, 3.0]), Some(1.0));
}

#[test]
fn kappas_and_alpha_equal_the_packages() {
    for case in cases("cohen") {
        same(cohen_kappa(&of::<Vec<(i64, i64)>>(&case["answers"])), &case["kappa"]);
    }
    for case in cases("fleiss") {
        same(fleiss_kappa(&of::<Vec<Vec<u32>>>(&case["counts"])), &case["kappa"]);
    }
    for case in cases("alpha") {
        same(krippendorff_alpha(&of::<Vec<Vec<i64>>>(&case["units"])), &case["alpha"]);
    }
    assert_eq!(cohen_kappa::<u8>(&[]), None);
    for counts in
        [vec![], vec![vec![]], vec![vec![1]], vec![vec![2, 0], vec![1, 0]], vec![vec![2, 0], vec![2]]]
    {
        assert_eq!(fleiss_kappa(&counts), None, "{counts:?}");
    }
    assert_eq!(krippendorff_alpha::<u8>(&[]), None);
}

#[test]
fn wilson_equals_statsmodels() {
    for case in cases("wilson") {
        let (wins, votes): (i64, i64) = (of(&case["wins"]), of(&case["votes"]));
        let rate = win_rate(wins, votes - wins, 0).expect("votes");
        same(Some(rate.low), &case["interval"][0]);
        same(Some(rate.high), &case["interval"][1]);
    }
}

#[test]
fn the_bootstrap_equals_numpys_on_the_same_draws() {
    for case in cases("bootstrap") {
        let draws: Vec<usize> = of(&case["draws"]);
        let mut draws = draws.into_iter();
        let pairs: Vec<(f64, f64)> = of(&case["pairs"]);
        let interval = paired_bootstrap(&pairs, of(&case["resamples"]), |_| draws.next().expect("a draw"));
        let interval = interval.expect("pairs");
        same(Some(interval.mean), &case["mean"]);
        same(Some(interval.low), &case["interval"][0]);
        same(Some(interval.high), &case["interval"][1]);
    }
    assert_eq!(paired_bootstrap(&[], 10, |_| 0), None);
    assert_eq!(paired_bootstrap(&[(1.0, 0.0)], 0, |_| 0), None);
    assert_eq!(paired_bootstrap(&[(f64::NAN, 0.0)], 10, |_| 0), None);
    // A generator that does not keep its word ends nothing.
    assert!(paired_bootstrap(&[(1.0, 0.0), (2.0, 0.0)], 10, |n| n + 7).is_some());
}

fn model(n: u8) -> ModelId {
    format!("00000000-0000-7000-8000-0000000000{n:02x}").parse().expect("an id")
}

fn vote(a: u8, b: u8, outcome: Outcome) -> ModelVote {
    ModelVote { a: model(a), b: model(b), outcome }
}

#[test]
fn elo_follows_the_votes() {
    assert!(elo(&[], ELO_K, ELO_START).is_empty());
    assert!(elo(&[vote(1, 1, Outcome::First)], ELO_K, ELO_START).is_empty());
    let after = |votes: &[ModelVote]| -> Vec<f64> { elo(votes, 32.0, 1000.0).into_values().collect() };
    assert_eq!(after(&[vote(1, 2, Outcome::First)]), [1016.0, 984.0]);
    assert_eq!(after(&[vote(2, 1, Outcome::Second)]), [1016.0, 984.0]);
    assert_eq!(after(&[vote(1, 2, Outcome::Neither)]), [1000.0, 1000.0]);
    // The second win was more expected: 32 (1 - 1 / (1 + 10^(-32/400))).
    let twice = after(&[vote(1, 2, Outcome::First), vote(1, 2, Outcome::First)]);
    assert!((twice[0] - (1016.0 + 32.0 * (1.0 - 1.0 / (1.0 + 10_f64.powf(-0.08))))).abs() < 1e-9);
    assert!((twice.iter().sum::<f64>() - 2000.0).abs() < 1e-9);
    // Never beaten, it climbs ever slower and stays finite.
    let undefeated = after(&vec![vote(1, 2, Outcome::First); 100_000]);
    assert!(undefeated.iter().all(|rating| rating.is_finite()) && undefeated[0] < 3000.0, "{undefeated:?}");
}

#[test]
fn the_matrix_has_every_pair_from_both_sides() {
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
    // Never compared, and oneself.
    assert_eq!([matrix.rows[1][2], matrix.rows[0][0]], [None, None]);
    assert_eq!(win_rate_matrix(&[]).models, []);
}

#[test]
fn accuracy_gives_half_for_half_right() {
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
    assert_eq!(best_tie_threshold(&pairs[2..3]), Some((0.1, 1.0)));
    assert_eq!(best_tie_threshold(&pairs[..1]), Some((0.0, 1.0)));
    assert_eq!(tie_aware_accuracy(&[], 0.0), None);
    assert_eq!(best_tie_threshold(&[]), None);
}

#[test]
fn one_rater_with_many_votes_settles_less_than_many_raters() {
    let votes = |raters: u64| -> Vec<(ModelVote, u64)> {
        (0..60)
            .map(|i| (vote(1, 2, if i % 3 == 0 { Outcome::Second } else { Outcome::First }), i % raters))
            .collect()
    };
    // Of three raters, each always says the same: rater 0 the one thing, 1 and 2 the other.
    let (few, many) = (clustered_standings(&votes(3)), clustered_standings(&votes(60)));
    let width = |standings: &[domain::ranking::Standing]| standings[0].rating.high - standings[0].rating.low;
    assert!(width(&few) > 2.0 * width(&many), "{few:?} {many:?}");
    // Each vote a cluster of its own: the plain standings.
    let plain = standings(&tallies(votes(60).iter().map(|(vote, _)| *vote)));
    assert!((width(&many) - width(&plain)).abs() < 1e-9);
    assert_eq!(few[0].rating.value, plain[0].rating.value);

    let mut state = 1_usize;
    let mut draw = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let by_three = bootstrap_ratings(&votes(3), 200, &mut draw)[&model(1)];
    let by_sixty = bootstrap_ratings(&votes(60), 200, &mut draw)[&model(1)];
    assert!(by_three.high - by_three.low > 2.0 * (by_sixty.high - by_sixty.low), "{by_three:?} {by_sixty:?}");
    assert_eq!(by_sixty.value, plain[0].rating.value);
}

#[test]
fn votes_that_say_nothing_give_finite_answers() {
    let two_worlds = [(vote(1, 2, Outcome::First), 0), (vote(3, 4, Outcome::First), 1)];
    for votes in [&[][..], &two_worlds[..1], &two_worlds, &[(vote(1, 1, Outcome::First), 0)]] {
        let standings = clustered_standings(votes);
        assert_eq!(standings.is_empty(), votes.iter().all(|(vote, _)| vote.a == vote.b));
        let drawn = bootstrap_ratings(votes, 20, |n| n / 2);
        for rating in standings.iter().map(|standing| standing.rating).chain(drawn.into_values()) {
            assert!(rating.low.is_finite() && rating.low <= rating.value, "{rating:?}");
            assert!(rating.high.is_finite() && rating.value <= rating.high, "{rating:?}");
        }
        // Nothing is settled.
        assert!(standings.iter().all(|standing| standing.rank == 1));
    }
    assert!(bootstrap_ratings(&two_worlds, 0, |_| 0).is_empty());
}
