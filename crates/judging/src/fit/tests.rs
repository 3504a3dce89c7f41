//! Estimates against statsmodels and choix, worked numbers, and what must hold for any answers.

use super::{Fit, Weighting, fit, fit_from, solve};
use crate::answers::{Answer, Answers, Refused, Said};
use crate::{Goal, Item, choose, influential, open_contrasts, votes_to_separate};
use serde_json::Value;

fn close(actual: f64, expected: f64, within: f64) {
    assert!((actual - expected).abs() < within, "{actual} is not {expected} (within {within})");
}

/// Rater, prompt, left, right, outcome: 0 left, 1 right, 2 neither.
fn answers(models: usize, list: &[[usize; 5]]) -> Answers {
    let mut answers = Answers::new(models);
    for &[rater, prompt, left, right, outcome] in list {
        let said = if outcome == 2 { Said::Neither } else { Said::Best(outcome) };
        answers.push(&Answer { rater, prompt, shown: vec![left, right], said }).expect("an answer");
    }
    answers
}

/// `counts`: answers for left, for right and for neither, each of another rater about another prompt.
fn counted(models: usize, counts: &[([usize; 2], [usize; 3])]) -> Answers {
    let mut list = Vec::new();
    for &([left, right], outcomes) in counts {
        for (outcome, &count) in outcomes.iter().enumerate() {
            list.extend((0..count).map(|_| [0, 0, left, right, outcome]));
        }
    }
    for (number, answer) in list.iter_mut().enumerate() {
        (answer[0], answer[1]) = (number, number);
    }
    answers(models, &list)
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/judging.json")).expect("the fixture")
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("numbers")
}

/// A prior too weak to matter, as the references have none.
fn without_prior(answers: &Answers) -> Fit {
    solve(answers, Weighting::Plain, None, [1e-10, 1e-9])
}

#[test]
fn ties_and_positions_equal_statsmodels_log_linear_model() {
    let case = &fixture()["davidson"];
    let list: Vec<[usize; 3]> = serde_json::from_value(case["answers"].clone()).expect("answers");
    let list: Vec<[usize; 5]> =
        list.iter().enumerate().map(|(n, &[i, j, outcome])| [n, n, i, j, outcome]).collect();
    let fitted = without_prior(&answers(5, &list));
    for (r, expected) in fitted.ratings().iter().zip(numbers(&case["r"])) {
        close(*r, expected, 1e-6);
    }
    close(fitted.position().value, case["position"].as_f64().expect("a number"), 1e-6);
    close(fitted.parameters[6], case["tie"].as_f64().expect("a number"), 1e-6);
    let errors = numbers(&case["errors"]);
    for model in 1..5 {
        let [variance, ..] = fitted.clusters.parts(&[(model, 1.0), (0, -1.0)]);
        close(variance.sqrt(), errors[model - 1], 1e-6);
    }
    let [position, ..] = fitted.clusters.parts(&[(5, 1.0)]);
    close(position.sqrt(), errors[4], 1e-6);
}

#[test]
fn clustered_errors_equal_statsmodels_by_rater_by_prompt_and_by_both() {
    let case = &fixture()["clustered"];
    let list: Vec<[usize; 5]> = serde_json::from_value(case["answers"].clone()).expect("answers");
    let fitted = without_prior(&answers(5, &list));
    for (r, expected) in fitted.ratings().iter().zip(numbers(&case["r"])) {
        close(*r, expected, 1e-5);
    }
    let expected = |name: &str, model: usize| numbers(&case[name])[model - 1].powi(2);
    for model in 1..5 {
        let [own, rater, prompt, both] = fitted.clusters.parts(&[(model, 1.0), (0, -1.0)]);
        close(own, expected("model", model), 1e-5);
        close(rater, expected("rater", model), 1e-5);
        close(prompt, expected("prompt", model), 1e-5);
        close(rater + prompt - both, expected("both", model), 1e-5);
    }
}

#[test]
fn rankings_and_choices_of_the_best_equal_choix() {
    let case = &fixture()["luce"];
    let rankings: Vec<Vec<usize>> = serde_json::from_value(case["rankings"].clone()).expect("rankings");
    let mut ranked = Answers::new(5);
    for (number, ranking) in rankings.iter().enumerate() {
        // Shown in the order of the models, so that the ranking is not that of the places.
        let mut shown = ranking.clone();
        shown.sort_unstable();
        let place = |model: &usize| shown.iter().position(|shown| shown == model).expect("a place");
        let said = Said::Ranking(ranking.iter().map(place).collect());
        ranked.push(&Answer { rater: number, prompt: number, shown, said }).expect("a ranking");
    }
    let choices: Vec<(usize, Vec<usize>)> = serde_json::from_value(case["choices"].clone()).expect("choices");
    let mut chosen = Answers::new(5);
    for (number, (best, shown)) in choices.into_iter().enumerate() {
        let said = Said::Best(shown.iter().position(|&model| model == best).expect("a place"));
        chosen.push(&Answer { rater: number, prompt: number, shown, said }).expect("a choice");
    }
    for (answers, name) in [(ranked, "of_rankings"), (chosen, "of_choices")] {
        let expected = numbers(&case[name]);
        let mean = expected.iter().sum::<f64>() / 5.0;
        for (r, expected) in without_prior(&answers).ratings().iter().zip(expected) {
            close(*r, expected - mean, 1e-5);
        }
    }
}

#[test]
fn two_models_have_the_numbers_that_davidson_gives_by_hand() {
    // Each is left in half of the 200 answers. 90 wins to 60 without a lean to a side: r = ln(90 / 60) / 1, for left to
    // right is e^d, and 50 ties in 200 are e^tie / (e^(d/2) + e^(-d/2) + e^tie) = 1/4.
    let fitted = without_prior(&counted(2, &[([0, 1], [45, 30, 25]), ([1, 0], [30, 45, 25])]));
    let d = 1.5_f64.ln();
    close(fitted.difference(0, 1).value, d, 1e-8);
    close(fitted.position().value, 0.0, 1e-8);
    close(fitted.parameters[3], ((0.25 / 0.75) * 2.0 * (d / 2.0).cosh()).ln(), 1e-8);
    // The information about d alone: n (left + right - (left - right)^2) / 4; by symmetry of the sides the others add
    // nothing but for the tie.
    let (left, right, neither) = (0.45, 0.3, 0.25);
    let (dd, dt, tt) =
        (0.25 * (left + right - 0.15_f64.powi(2)), -0.5 * 0.15 * neither, neither * (1.0 - neither));
    close(fitted.difference(0, 1).standard_error, (200.0 * (dd - dt * dt / tt)).sqrt().recip(), 5e-3);
}

#[test]
fn a_liking_for_the_left_is_no_merit_of_the_model_on_the_left() {
    let fitted = without_prior(&counted(2, &[([0, 1], [80, 20, 0]), ([1, 0], [80, 20, 0])]));
    close(fitted.difference(0, 1).value, 0.0, 1e-6);
    close(fitted.position().value, 4.0_f64.ln(), 1e-3);
}

/// Eight raters who agree on 30 pairs each, and one who always presses left.
fn with_a_careless_rater() -> Answers {
    let mut list = Vec::new();
    for rater in 0..9 {
        for n in 0..30 {
            let (left, right) = [(0, 1), (1, 2), (0, 2), (1, 0), (2, 1), (2, 0)][n % 6];
            let better = usize::from(right < left);
            let outcome = if rater == 8 {
                0
            } else if (n + rater) % 10 == 0 {
                1 - better
            } else {
                better
            };
            list.push([rater, n, left, right, outcome]);
        }
    }
    answers(3, &list)
}

#[test]
fn a_rater_who_presses_one_button_is_found_and_counts_for_nothing() {
    let all = with_a_careless_rater();
    let weighted = fit(&all, Weighting::ByReliability);
    let careless: Vec<usize> = (0..9).filter(|&rater| weighted.raters()[rater].is_careless()).collect();
    assert_eq!(careless, [8]);
    assert!(weighted.raters()[8].mean < 0.1 && weighted.raters()[0].mean > 0.9, "{:?}", weighted.raters());
    let others = fit(&all.filtered(|index| index < 240), Weighting::ByReliability);
    close(weighted.difference(0, 1).value, others.difference(0, 1).value, 0.1);
    let plain = fit(&all, Weighting::Plain);
    assert!(plain.difference(0, 1).value < weighted.difference(0, 1).value - 0.1);
    assert!(plain.position().value > weighted.position().value + 0.1);
    // A fit that starts from another ends at the same place.
    let again = fit_from(&all, Weighting::ByReliability, &plain);
    close(again.difference(0, 2).value, weighted.difference(0, 2).value, 0.01);
}

#[test]
fn wrong_answers_about_gold_pairs_lower_a_raters_reliability() {
    let mut all = with_a_careless_rater();
    let before = fit(&all, Weighting::ByReliability).raters()[0];
    (0..6).for_each(|_| all.push_gold(0, false));
    let after = fit(&all, Weighting::ByReliability).raters()[0];
    assert!(after.mean < before.mean - 0.2, "{before:?} {after:?}");
    (0..6).for_each(|_| all.push_gold(1, true));
    assert!(fit(&all, Weighting::ByReliability).raters()[1].mean > 0.9);
    // Without the checks, everything is as before.
    let without = fit(&all.without_checks(), Weighting::ByReliability).raters()[0];
    close(without.mean, before.mean, 1e-9);
    assert_eq!((all.checks_of(0), all.checks_of(1), all.checks_of(99)), ([0, 6], [6, 6], [0, 0]));
}

/// Repeated pairs that are answered otherwise say less than wrong answers about gold pairs: attentive raters change their minds, too.
#[test]
fn other_answers_about_repeated_pairs_lower_a_raters_reliability_a_little() {
    let mut all = with_a_careless_rater();
    let before = fit(&all, Weighting::ByReliability).raters()[0];
    (0..6).for_each(|_| all.push_repeat(0, false));
    let after = fit(&all, Weighting::ByReliability).raters()[0];
    assert!(after.mean < before.mean - 0.005, "{before:?} {after:?}");
    let mut gold = with_a_careless_rater();
    (0..6).for_each(|_| gold.push_gold(0, false));
    assert!(fit(&gold, Weighting::ByReliability).raters()[0].mean < after.mean - 0.1);
    (0..9).for_each(|_| all.push_repeat(1, true));
    assert!(fit(&all, Weighting::ByReliability).raters()[1].mean > 0.9);
}

/// In a category, the mean is that of its models alone.
#[test]
fn ratings_among_some_models_have_their_mean() {
    let answers = counted(
        3,
        &[([0, 1], [30, 10, 5]), ([1, 0], [10, 30, 5]), ([1, 2], [30, 10, 5]), ([2, 1], [10, 30, 5])],
    );
    let fitted = fit(&answers, Weighting::Plain);
    let [first, second] = [0, 1].map(|model| fitted.rating_among(model, &[0, 1]).value);
    close(first + second, 0.0, 1e-9);
    close(first - second, fitted.difference(0, 1).value, 1e-9);
    close(fitted.rating_among(2, &[0, 1, 2]).value, fitted.rating(2).value, 1e-9);
}

#[test]
fn answers_of_one_rater_or_prompt_count_as_fewer() {
    let spread = counted(2, &[([0, 1], [50, 20, 10]), ([1, 0], [20, 50, 10])]);
    let mut four = Vec::new();
    // Four raters: three always prefer model 0, one always the other.
    for n in 0..160 {
        let (left, right) = if n % 8 < 4 { (0, 1) } else { (1, 0) };
        let prefers = usize::from(n % 4 == 3);
        four.push([n % 4, n, left, right, usize::from(left != prefers)]);
    }
    let four = fit(&answers(2, &four), Weighting::Plain).difference(0, 1);
    let spread = fit(&spread, Weighting::Plain).difference(0, 1);
    assert!(four.standard_error > 3.0 * spread.standard_error, "{four:?} {spread:?}");
    // Student's quantile for 3 degrees of freedom.
    close(four.quantile, 3.182_446, 1e-5);
    assert!(!four.interval().excludes_zero() && spread.interval().excludes_zero());
}

#[test]
fn the_interval_for_all_looks_is_wider_and_much_wider_at_first() {
    let few = fit(&counted(2, &[([0, 1], [4, 2, 1])]), Weighting::Plain).difference(0, 1);
    assert!(few.is_preliminary());
    close(
        few.anytime().high - few.value,
        few.quantile / 1.959_964 * 3.5 * few.standard_error.powi(2) / 0.6,
        1e-5,
    );
    let many = fit(&counted(2, &[([0, 1], [200, 100, 50]), ([1, 0], [100, 200, 50])]), Weighting::Plain);
    let many = many.difference(0, 1);
    let (one, all) = (many.interval(), many.anytime());
    assert!(!many.is_preliminary() && all.low < one.low && all.high > one.high);
    let growth = 0.36 / many.standard_error.powi(2);
    // More than ten times the information of the first look.
    let multiplier = many.quantile / 1.959_964 * (2.849_891_f64.powi(2) + 2.0 * (growth / 10.0).ln()).sqrt();
    assert!(growth > 10.0, "{growth}");
    close(all.high - many.value, multiplier * many.standard_error, 1e-6);
    let some = fit(&counted(2, &[([0, 1], [20, 10, 5]), ([1, 0], [10, 20, 5])]), Weighting::Plain);
    let some = some.difference(0, 1);
    let multiplier = some.quantile / 1.959_964 * 2.849_891;
    close(some.anytime().high - some.value, multiplier * some.standard_error, 1e-6);
}

/// Its rating has a large standard error, for nothing tells how far below it is.
#[test]
fn a_model_that_always_loses_is_told_apart_nevertheless() {
    let fitted = fit(&counted(2, &[([0, 1], [30, 0, 0]), ([1, 0], [0, 30, 0])]), Weighting::Plain);
    let difference = fitted.difference(0, 1);
    assert!(difference.is_preliminary() && difference.anytime().low > 0.0, "{difference:?}");
    let fitted = fit(&counted(2, &[([0, 1], [4, 0, 0]), ([1, 0], [0, 4, 0])]), Weighting::Plain);
    assert!(fitted.difference(0, 1).anytime().low < 0.0);
}

/// The probability that one of the first 40 looks tells two equal models apart while the estimate is preliminary.
#[test]
fn equal_models_are_hardly_ever_told_apart_while_the_estimate_is_preliminary() {
    let mut error = 0.0;
    // Probabilities of so many wins of the first model, without such a look before.
    let mut probabilities = vec![1.0];
    for answers in 1..=40 {
        let mut next = vec![0.0; answers + 1];
        for (wins, probability) in probabilities.into_iter().enumerate() {
            next[wins] += 0.5 * probability;
            next[wins + 1] += 0.5 * probability;
        }
        for (wins, probability) in next.iter_mut().enumerate() {
            let losses = answers - wins;
            let sides =
                [([0, 1], [wins.div_ceil(2), losses / 2, 0]), ([1, 0], [losses.div_ceil(2), wins / 2, 0])];
            let difference = fit(&counted(2, &sides), Weighting::Plain).difference(0, 1);
            if difference.is_preliminary() && difference.anytime().excludes_zero() {
                error += *probability;
                *probability = 0.0;
            }
        }
        probabilities = next;
    }
    assert!(error < 0.002, "{error}");
}

#[test]
fn anything_that_can_be_pushed_gives_finite_ratings() {
    let mut cases = vec![Answers::new(0), Answers::new(3)];
    cases.push(counted(3, &[([0, 1], [1, 0, 0])]));
    cases.push(counted(4, &[([0, 1], [500, 0, 0]), ([2, 3], [0, 0, 90])]));
    cases.push(answers(2, &[[5, 7, 1, 0, 2]]));
    cases.push(with_a_careless_rater().of_prompts(|prompt| prompt == 3));
    for answers in cases {
        for weighting in [Weighting::Plain, Weighting::ByReliability] {
            let fitted = fit(&answers, weighting);
            for model in 0..answers.models() {
                let rating = fitted.rating(model);
                assert!(rating.value.is_finite() && rating.standard_error.is_finite(), "{rating:?}");
                assert!(rating.interval().low < rating.interval().high, "{rating:?}");
            }
            assert!(fitted.tie_share().is_finite());
        }
    }
}

#[test]
fn answers_that_say_nothing_about_models_are_refused() {
    let mut answers = Answers::new(5);
    let mut refused = |shown: &[usize], said: Said| {
        answers.push(&Answer { rater: 0, prompt: 0, shown: shown.to_vec(), said }).expect_err("refused")
    };
    assert_eq!(refused(&[0], Said::Best(0)), Refused::Shown);
    assert_eq!(refused(&[0, 1, 2, 3, 4], Said::Best(0)), Refused::Shown);
    assert_eq!(refused(&[1, 1], Said::Best(0)), Refused::Repeated);
    assert_eq!(refused(&[1, 5], Said::Best(0)), Refused::Model);
    assert_eq!(refused(&[1, 2], Said::Best(2)), Refused::Place);
    assert_eq!(refused(&[1, 2, 3], Said::Neither), Refused::Neither);
    assert_eq!(refused(&[1, 2, 3], Said::Ranking(vec![0, 1, 1])), Refused::Place);
    assert!(answers.is_empty());
}

/// Model 0 clearly above 1, which is hardly above 2.
fn three() -> Answers {
    counted(3, &[([0, 1], [160, 40, 0]), ([1, 2], [52, 48, 0]), ([2, 0], [40, 160, 0])])
}

#[test]
fn the_next_item_is_about_what_is_open_and_a_share_is_random() {
    let fitted = fit(&three(), Weighting::Plain);
    assert_eq!(open_contrasts(&fitted, Goal::Best), []);
    assert_eq!(open_contrasts(&fitted, Goal::Order), [(1, 2)]);
    let items = [[0, 1], [1, 2], [0, 2]].map(|models| Item { models: models.to_vec(), seconds: 4.0 });
    let pick = |share: f64, draws: [f64; 2]| {
        let mut draws = draws.into_iter();
        choose(&fitted, &items, Goal::Order, share, || draws.next().expect("two draws")).expect("an item")
    };
    let active = pick(0.3, [0.9, 0.0]);
    assert_eq!((active.item, active.random), (1, false));
    close(active.propensity, 0.7 + 0.1, 1e-12);
    let random = pick(0.3, [0.1, 0.99]);
    assert_eq!((random.item, random.random), (2, true));
    close(random.propensity, 0.1, 1e-12);
    // Answered: every item is drawn evenly.
    let mut draws = [0.5, 0.0].into_iter();
    let done =
        choose(&fitted, &items, Goal::Best, 0.3, || draws.next().expect("two draws")).expect("an item");
    assert!(done.random && (done.propensity - 1.0 / 3.0).abs() < 1e-12);
    assert_eq!(choose(&fitted, &[], Goal::Best, 0.3, || 0.5), None);
    // An item that takes ten times as long is not worth it.
    let mut slow = items.to_vec();
    slow[1].seconds = 400.0;
    let chosen = choose(&fitted, &slow, Goal::Order, 0.0, || 0.5).expect("an item");
    assert_ne!(chosen.item, 1);
}

#[test]
fn the_votes_that_would_tell_fit_the_interval_they_are_for() {
    let answers = counted(2, &[([0, 1], [60, 50, 0]), ([1, 0], [50, 60, 0])]);
    let fitted = fit(&answers, Weighting::Plain);
    let more = votes_to_separate(&fitted, 0, 1).expect("an estimate");
    // With that many answers of the same kind, the interval for all looks leaves out 0 with 0.84 standard errors to spare.
    let times = 1.0 + more as f64 / 220.0;
    let scaled = |n: usize| (n as f64 * times).round() as usize;
    let later = counted(2, &[([0, 1], [scaled(60), scaled(50), 0]), ([1, 0], [scaled(50), scaled(60), 0])]);
    let later = fit(&later, Weighting::Plain).difference(0, 1);
    let spare = later.anytime().low / later.standard_error;
    close(spare, 0.84, 0.1);
    assert_eq!(votes_to_separate(&fit(&three(), Weighting::Plain), 0, 1), Some(0));
    let equal = fit(&counted(2, &[([0, 1], [50, 50, 0])]), Weighting::Plain);
    assert_eq!(votes_to_separate(&equal, 0, 1), None);
}

#[test]
fn without_its_most_influential_answers_the_order_is_reversed() {
    let answers = counted(2, &[([0, 1], [56, 50, 0]), ([1, 0], [50, 56, 0])]);
    let fitted = fit(&answers, Weighting::Plain);
    let found = influential(&answers, &fitted, Weighting::Plain, 0, 1).expect("a few answers");
    // 112 to 100: without 13 of the 112 it is 99 to 100.
    assert_eq!(found.answers.len(), 13);
    assert!(found.without < 0.0);
    assert_eq!(influential(&answers, &fitted, Weighting::Plain, 1, 0), None);
    let clear = counted(2, &[([0, 1], [90, 1, 0]), ([1, 0], [1, 90, 0])]);
    let fitted = fit(&clear, Weighting::Plain);
    assert_eq!(influential(&clear, &fitted, Weighting::Plain, 0, 1), None);
}
