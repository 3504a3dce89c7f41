//! Ratings against published and hand-computed numbers, and properties that hold for any votes.

use super::{Comparisons, PRIOR_PRECISION, Rating, Standing, Tally, ranks, standings};
use crate::id::ContestantId;
use uuid::Uuid;

fn model(n: u128) -> ContestantId {
    ContestantId(Uuid::from_u128(n))
}

fn tally(a: u128, b: u128, wins_a: i64, wins_b: i64, ties: i64) -> Tally {
    Tally { a: model(a), b: model(b), wins_a, wins_b, ties }
}

fn close(actual: f64, expected: f64, within: f64) {
    assert!((actual - expected).abs() < within, "{actual} is not {expected} (within {within})");
}

/// The example of Wikipedia's article on the Bradley-Terry model: A beats B in 2 of 5 games and D in 1 of 5, B beats
/// C in 5 of 8, C beats D in 1 of 4.
fn published() -> [Tally; 4] {
    [tally(0, 1, 2, 3, 0), tally(0, 3, 1, 4, 0), tally(1, 2, 5, 3, 0), tally(2, 3, 1, 3, 0)]
}

#[test]
fn the_published_example_is_reproduced() {
    let estimates = Comparisons::new(&published()).estimate(1e-7);
    let expected = [0.640, 1.043, 0.660, 2.270];
    // Strengths are e^r with geometric mean 1. The standard errors are from the formulas in numpy, the sandwich's
    // where it is larger.
    let errors = [0.548_069_7, 0.484_654_9, 0.528_173_3, 0.623_970_0];
    for (i, estimate) in estimates.iter().enumerate() {
        close(estimate.r.exp(), expected[i], 5e-4);
        close(estimate.standard_error, errors[i], 1e-6);
    }
}

#[test]
fn the_prior_moves_the_published_example_little() {
    let standings = standings(&published());
    let order: Vec<_> = standings.iter().map(|s| s.model).collect();
    assert_eq!(order, [model(3), model(1), model(2), model(0)]);
    let expected = [1136.02664, 1009.32313, 930.13310, 924.51713];
    for (standing, value) in standings.iter().zip(expected) {
        close(standing.rating.value, value, 1e-5);
        assert_eq!(standing.rank, 1, "20 votes are too few for ranks: {standing:?}");
    }
}

#[test]
fn votes_that_contradict_the_model_widen_the_interval() {
    // A beats B, B beats C and C beats A, which no strengths explain. The numbers are from the formulas in numpy.
    let cycle = [tally(0, 1, 30, 2, 0), tally(1, 2, 20, 5, 0), tally(0, 2, 6, 18, 4)];
    let estimates = Comparisons::new(&cycle).estimate(0.1);
    let r = [0.358_701_54, -0.293_996_09, -0.064_705_45];
    let (sandwich_of_c, model_of_a_and_b) = (0.198_039_97, [0.178_426_74, 0.182_026_94]);
    for (estimate, expected) in estimates.iter().zip(r) {
        close(estimate.r, expected, 1e-7);
    }
    close(estimates[0].standard_error, model_of_a_and_b[0], 1e-7);
    close(estimates[1].standard_error, model_of_a_and_b[1], 1e-7);
    close(estimates[2].standard_error, sandwich_of_c, 1e-7);
}

#[test]
fn the_difference_of_two_models_is_the_log_odds_of_their_votes() {
    // 300 of 400: odds of 3 to 1. The standard error of the difference is 1 / sqrt(400 * 3/4 * 1/4), half of it for
    // each.
    let estimates = Comparisons::new(&[tally(1, 2, 280, 80, 40)]).estimate(1e-9);
    close(estimates[0].r - estimates[1].r, 3.0_f64.ln(), 1e-6);
    close(estimates[0].standard_error, 0.5 / 75.0_f64.sqrt(), 1e-6);
    let rating = estimates[0].rating();
    close(rating.value, 1000.0 + 200.0 * 3.0_f64.log10(), 1e-4);
    close(rating.high - rating.value, 1.959_964 * 400.0 / 10.0_f64.ln() * 0.5 / 75.0_f64.sqrt(), 1e-3);
}

#[test]
fn the_order_of_pairs_and_tallies_does_not_matter() {
    let tallies = [tally(1, 2, 7, 3, 2), tally(2, 3, 5, 5, 0), tally(3, 1, 1, 9, 4)];
    let reversed = [tally(1, 3, 9, 1, 4), tally(3, 2, 5, 5, 0), tally(2, 1, 3, 7, 2)];
    let split = [tally(1, 2, 4, 3, 0), tally(3, 2, 5, 5, 0), tally(2, 1, 0, 3, 2), tally(3, 1, 1, 9, 4)];
    let expected = standings(&tallies);
    assert_eq!(expected.len(), 3);
    for other in [standings(&reversed), standings(&split)] {
        for (x, y) in expected.iter().zip(&other) {
            assert_eq!((x.model, x.rank, x.win_rate), (y.model, y.rank, y.win_rate));
            close(x.rating.value, y.rating.value, 1e-6);
            close(x.rating.low, y.rating.low, 1e-6);
        }
    }
}

#[test]
fn equal_votes_give_every_model_the_mean_rating() {
    for standing in standings(&[tally(1, 2, 4, 4, 1), tally(2, 3, 4, 4, 1), tally(3, 1, 4, 4, 1)]) {
        close(standing.rating.value, 1000.0, 1e-6);
        close(standing.win_rate.value, 0.5, 1e-12);
        assert_eq!(standing.rank, 1);
    }
}

fn assert_valid(standings: &[Standing]) {
    for s in standings {
        let Rating { value, low, high } = s.rating;
        assert!(value.is_finite() && low.is_finite() && high.is_finite(), "{s:?}");
        assert!(low < value && value < high, "{s:?}");
        assert!((0.0..=1.0).contains(&s.win_rate.low) && s.win_rate.low <= s.win_rate.value, "{s:?}");
        assert!((0.0..=1.0).contains(&s.win_rate.high) && s.win_rate.value <= s.win_rate.high, "{s:?}");
    }
    assert!(standings.is_sorted_by(|x, y| x.rating.value >= y.rating.value));
    if !standings.is_empty() {
        let mean = standings.iter().map(|s| s.rating.value).sum::<f64>() / standings.len() as f64;
        close(mean, 1000.0, 1e-6);
    }
}

#[test]
fn ratings_are_finite_for_any_votes() {
    let cases: [&[Tally]; 9] = [
        &[],
        &[tally(1, 2, 0, 0, 0)],
        &[tally(1, 2, 1, 0, 0)],
        &[tally(1, 2, 0, 0, 1)],
        &[tally(1, 1, 5, 5, 5)],
        &[tally(1, 2, -3, 4, 0)],
        // A model that never lost, and one that never won.
        &[tally(1, 2, 1_000_000, 0, 0), tally(2, 3, 1, 1, 0)],
        &[tally(1, 2, 0, 1_000_000_000_000, 0)],
        // Two groups without votes between them.
        &[tally(1, 2, 90, 10, 0), tally(3, 4, 10, 90, 0), tally(4, 5, 3, 3, 3)],
    ];
    for case in cases {
        assert_valid(&standings(case));
    }
    assert_eq!(standings(cases[0]), []);
    assert_eq!(standings(cases[1]), []);
    assert_eq!(standings(cases[4]), []);
}

#[test]
fn ranks_differ_after_many_votes_that_agree_not_after_few() {
    let ranks_after = |wins| {
        let standings = standings(&[tally(1, 2, wins, 0, 0)]);
        assert!(standings[0].rating.value > standings[1].rating.value);
        [standings[0].rank, standings[1].rank]
    };
    assert_eq!(ranks_after(1), [1, 1]);
    assert_eq!(ranks_after(4), [1, 1]);
    assert_eq!(ranks_after(15), [1, 2]);
}

#[test]
fn groups_without_votes_between_them_share_ranks() {
    let standings = standings(&[tally(1, 2, 90, 10, 0), tally(3, 4, 90, 10, 0)]);
    let rank = |n| standings.iter().find(|s| s.model == model(n)).map(|s| s.rank);
    assert_eq!([rank(1), rank(3)], [Some(1), Some(1)]);
    // 100 votes separate the members of a group, but nothing is known across groups.
    let votes = Comparisons::new(&[tally(1, 2, 90, 10, 0), tally(3, 4, 90, 10, 0)]);
    assert!(votes.estimate(0.1).iter().all(|estimate| estimate.standard_error > 1.0));
}

#[test]
fn ranks_count_intervals_that_are_entirely_above() {
    let rating = |low, high| Rating { value: (low + high) / 2.0, low, high };
    let ratings =
        [rating(1100.0, 1200.0), rating(1050.0, 1150.0), rating(900.0, 1100.0), rating(800.0, 1049.0)];
    assert_eq!(ranks(&ratings), [1, 1, 1, 3]);
    assert_eq!(ranks(&[]), Vec::<u32>::new());
}

#[test]
fn about_95_percent_of_the_intervals_cover_the_truth() {
    // Votes simulated from known strengths with a small generator (splitmix64).
    let mut state = 42_u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let truth = [0.9, 0.3, -0.2, -1.0];
    let (mut covered, mut all) = (0, 0);
    for _ in 0..300 {
        let mut tallies = Vec::new();
        for i in 0..4 {
            for j in i + 1..4 {
                let p = 1.0 / (1.0 + f64::exp(truth[j] - truth[i]));
                let wins = (0..60).filter(|_| uniform() < p).count() as i64;
                tallies.push(tally(i as u128, j as u128, wins, 60 - wins, 0));
            }
        }
        for (estimate, truth) in Comparisons::new(&tallies).estimate(PRIOR_PRECISION).iter().zip(truth) {
            covered += i32::from((estimate.r - truth).abs() <= super::Z * estimate.standard_error);
            all += 1;
        }
    }
    let share = f64::from(covered) / f64::from(all);
    assert!((0.93..0.98).contains(&share), "{share}");
}

/// statsmodels' binomial regression has no prior; a precision of 1e-9 is negligible.
#[test]
fn ratings_and_standard_errors_equal_those_of_statsmodels_and_lmarena() {
    let all: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/statistics.json")).expect("the fixture");
    for case in all["bradley_terry"].as_array().expect("cases") {
        let votes: Vec<(u128, u128, f64, u64)> =
            serde_json::from_value(case["votes"].clone()).expect("votes");
        let tallies: Vec<Tally> = votes
            .into_iter()
            .map(|(a, b, points, _rater)| match points {
                1.0 => tally(a, b, 1, 0, 0),
                0.0 => tally(a, b, 0, 1, 0),
                _ => tally(a, b, 0, 0, 1),
            })
            .collect();
        let estimates = Comparisons::new(&tallies).estimate(1e-9);
        let expected = |name: &str, i: usize| case[name][i].as_f64().expect("a number");
        for (i, estimate) in estimates.iter().enumerate() {
            close(estimate.r, expected("r", i), 1e-6);
            close(estimate.standard_error, expected("model", i).max(expected("sandwich", i)), 1e-6);
            // LMArena's package, which computes the sandwich estimate only.
            let arena = |name: &str| case["arena"][name][i].as_f64().expect("a number");
            close(estimate.r, arena("r"), 1e-5);
            close(estimate.standard_error, expected("model", i).max(arena("sandwich")), 1e-4);
        }
    }
}
