//! Values worked by hand, and the invariants of docs/method.md.

use super::sigmoid::log_sigmoid;
use super::{
    ClipFeatures, Loss, PairErrors, contrast_weights, diff_contrast, diffusion_dpo, diffusion_lpo, rpo,
};
use candle_core::{DType, Device, Tensor, Var};
use datasets::pair::ListPlace;
use diffusion::noise::Noise;
use domain::run::metric;
use domain::train::Embedding;

const CPU: Device = Device::Cpu;

fn tensor(values: &[f32]) -> Tensor {
    Tensor::new(values, &CPU).expect("tensor")
}

fn errors(
    policy_winner: &[f32],
    policy_loser: &[f32],
    reference_winner: &[f32],
    reference_loser: &[f32],
) -> PairErrors {
    PairErrors {
        policy_winner: tensor(policy_winner),
        policy_loser: tensor(policy_loser),
        reference_winner: tensor(reference_winner),
        reference_loser: tensor(reference_loser),
    }
}

/// Random errors around 0.1, and weights of random features at temperature `tau`.
fn random(m: usize, seed: u64, tau: f64) -> (PairErrors, Tensor) {
    let mut noise = Noise::new(seed);
    let mut draw = || {
        let v: Vec<f32> = noise.normal(m).into_iter().map(|v| 0.1 + 0.01 * v).collect();
        tensor(&v)
    };
    let errors = PairErrors {
        policy_winner: draw(),
        policy_loser: draw(),
        reference_winner: draw(),
        reference_loser: draw(),
    };
    let mut embed = || noise.normal_tensor((m, 12), &CPU).expect("embedding");
    let features = ClipFeatures { winner: embed(), loser: embed(), text: embed() };
    (errors, contrast_weights(&features, Embedding::Concat, tau).expect("weights"))
}

fn value(loss: &Loss) -> f64 {
    f64::from(loss.loss.to_scalar::<f32>().expect("scalar"))
}

fn identity(m: usize) -> Tensor {
    Tensor::eye(m, DType::F32, &CPU).expect("identity")
}

fn metric_of(loss: &Loss, name: &str) -> f64 {
    loss.metrics.iter().find(|(n, _)| *n == name).map(|(_, v)| *v).expect(name)
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} is not {b}");
}

#[test]
fn log_sigmoid_has_the_expected_values_and_derivative() {
    let x = Var::from_tensor(&tensor(&[-100.0, -1.0, 0.0, 0.5, 3.0, 100.0])).expect("var");
    let y = log_sigmoid(&x).expect("log sigmoid");
    let expected = [-100.0, -1.313_261_7, -std::f64::consts::LN_2, -0.474_077, -0.048_587_35, 0.0];
    for (y, expected) in y.to_vec1::<f32>().expect("values").iter().zip(expected) {
        close(f64::from(*y), expected);
    }
    let gradients = y.sum_all().and_then(|s| s.backward()).expect("backward");
    let slopes = gradients.get(&x).expect("gradient").to_vec1::<f32>().expect("values");
    // 1 - sigmoid(x)
    for (slope, expected) in slopes.iter().zip([1.0, 0.731_058_6, 0.5, 0.377_540_67, 0.047_425_87, 0.0]) {
        close(f64::from(*slope), expected);
    }
}

/// The loss of a large margin is not rounded to 0, and that of a large negative margin is finite, in f32 and f64.
#[test]
fn log_sigmoid_is_accurate_at_both_ends() {
    for (x, expected) in [(40.0, -(-40f64).exp()), (-1e6, -1e6), (80.0, -(-80f64).exp())] {
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
            let y = log_sigmoid(&Tensor::new(&[x], &CPU).and_then(|x| x.to_dtype(dtype)).expect("tensor"));
            let y = y.and_then(|y| y.to_dtype(DType::F64)?.to_vec1::<f64>()).expect("values")[0];
            assert!((y / expected - 1.0).abs() < tolerance, "log sigmoid({x}) is {y:e} in {dtype:?}");
        }
    }
}

/// M = 2, beta = 20: a = (-0.02, 0.01), b = (0.03, -0.01); logits -10 (a_i - b_j) = ((0.5, 0.1), (0.2, -0.2)).
#[test]
fn losses_and_metrics_of_a_worked_example() {
    let e = errors(&[0.08, 0.11], &[0.13, 0.09], &[0.1, 0.1], &[0.1, 0.1]);
    let softplus = |x: f64| (1.0 + (-x).exp()).ln();
    let w = Tensor::new(&[[0.75f32, 0.25], [0.4, 0.6]], &CPU).expect("weights");

    let dpo = diffusion_dpo(&e, 20.0).expect("dpo");
    close(value(&dpo), 0.5 * (softplus(0.5) + softplus(-0.2)));
    close(metric_of(&dpo, metric::REWARDS_ACCURACIES), 0.5);
    close(metric_of(&dpo, metric::REWARDS_CHOSEN), 0.05);
    close(metric_of(&dpo, metric::REWARDS_REJECTED), -0.1);
    close(metric_of(&dpo, metric::REWARDS_MARGINS), 0.15);

    let contrast = diff_contrast(&e, &w, 20.0).expect("contrast");
    let sum = 0.75 * softplus(0.5) + 0.25 * softplus(0.1) + 0.4 * softplus(0.2) + 0.6 * softplus(-0.2);
    close(value(&contrast), 0.5 * sum);
    close(metric_of(&contrast, metric::WEIGHT_DIAGONAL), 0.675);
    close(metric_of(&contrast, metric::REWARDS_ACCURACIES_WEIGHTED), 0.5 * (1.0 + 0.4));
    let entropy = -0.5 * [0.75f64, 0.25, 0.4, 0.6].iter().map(|w| w * w.ln()).sum::<f64>();
    close(metric_of(&contrast, metric::WEIGHT_ENTROPY), entropy);

    let inside = rpo(&e, &w, 20.0).expect("rpo");
    let sum = [0.75 * 0.5, 0.25 * 0.1, 0.4 * 0.2, 0.6 * -0.2].iter().map(|x| softplus(*x)).sum::<f64>();
    close(value(&inside), sum / 4.0);
}

/// dL/da_i = beta/(2M) sum_j W_ij sigmoid(-logit_ij), dL/db_j = -beta/(2M) sum_i W_ij sigmoid(-logit_ij).
#[test]
fn gradients_equal_the_closed_form() {
    let (e, w) = random(5, 3, 0.3);
    let (winner, loser) =
        (Var::from_tensor(&e.policy_winner).expect("var"), Var::from_tensor(&e.policy_loser).expect("var"));
    let tracked = PairErrors {
        policy_winner: winner.as_tensor().clone(),
        policy_loser: loser.as_tensor().clone(),
        ..e.clone()
    };
    let beta = 500.0;
    let gradients = diff_contrast(&tracked, &w, beta).expect("loss").loss.backward().expect("backward");
    let of = |v: &Var| gradients.get(v).expect("gradient").to_vec1::<f32>().expect("values");
    let (da, db) = (of(&winner), of(&loser));
    let logits = e.logits(beta).expect("logits").to_vec2::<f32>().expect("values");
    let w = w.to_vec2::<f32>().expect("values");
    let share = |i: usize, j: usize| f64::from(w[i][j]) / (1.0 + f64::from(logits[i][j]).exp());
    for i in 0..5 {
        let row: f64 = (0..5).map(|j| share(i, j)).sum();
        let column: f64 = (0..5).map(|j| share(j, i)).sum();
        assert!((f64::from(da[i]) - beta / 10.0 * row).abs() < 1e-4 * beta);
        assert!((f64::from(db[i]) + beta / 10.0 * column).abs() < 1e-4 * beta);
    }
}

#[test]
fn one_pair_or_identity_weights_equal_diffusion_dpo() {
    let (e, w) = random(1, 4, 0.5);
    close(
        value(&diff_contrast(&e, &w, 2000.0).expect("contrast")),
        value(&diffusion_dpo(&e, 2000.0).expect("dpo")),
    );
    let (e, _) = random(6, 5, 0.5);
    let contrast = value(&diff_contrast(&e, &identity(6), 2000.0).expect("contrast"));
    close(contrast, value(&diffusion_dpo(&e, 2000.0).expect("dpo")));
}

#[test]
fn a_large_temperature_gives_the_uniform_mean() {
    let (e, w) = random(6, 6, 1e6);
    let uniform = Tensor::full(1f32 / 6.0, (6, 6), &CPU).expect("uniform");
    let a = value(&diff_contrast(&e, &w, 2000.0).expect("contrast"));
    close(a, value(&diff_contrast(&e, &uniform, 2000.0).expect("uniform")));
    let losses = log_sigmoid(&e.logits(2000.0).expect("logits")).and_then(|l| l.mean_all()).expect("mean");
    assert!((a + f64::from(losses.to_scalar::<f32>().expect("scalar"))).abs() < 1e-4);
}

#[test]
fn rows_sum_to_one_at_any_temperature() {
    for tau in [0.01, 0.1, 1.0, 100.0] {
        let (_, w) = random(16, 7, tau);
        for row in w.to_vec2::<f32>().expect("values") {
            close(row.iter().map(|&v| f64::from(v)).sum(), 1.0);
            assert!(row.iter().all(|v| v.is_finite()));
        }
    }
}

#[test]
fn a_policy_equal_to_the_reference_has_loss_ln_2_for_any_weights() {
    let (e, w) = random(4, 8, 0.2);
    let same = PairErrors {
        reference_winner: e.policy_winner.clone(),
        reference_loser: e.policy_loser.clone(),
        ..e
    };
    for loss in [
        diffusion_dpo(&same, 5000.0).expect("dpo"),
        diff_contrast(&same, &w, 5000.0).expect("contrast"),
        rpo(&same, &w, 5000.0).expect("rpo"),
    ] {
        close(value(&loss), std::f64::consts::LN_2);
        close(metric_of(&loss, metric::REWARDS_ACCURACIES), 0.5);
    }
}

#[test]
fn no_gradient_reaches_the_weights_or_the_reference() {
    let (e, w) = random(3, 9, 0.5);
    let weights = Var::from_tensor(&w).expect("var");
    let reference = Var::from_tensor(&e.reference_winner).expect("var");
    let policy = Var::from_tensor(&e.policy_winner).expect("var");
    let e = PairErrors {
        policy_winner: policy.as_tensor().clone(),
        reference_winner: reference.as_tensor().clone(),
        ..e
    };
    for loss in
        [diff_contrast(&e, &weights, 100.0).expect("contrast"), rpo(&e, &weights, 100.0).expect("rpo")]
    {
        let gradients = loss.loss.backward().expect("backward");
        assert!(gradients.get(&weights).is_none() && gradients.get(&reference).is_none());
        assert!(gradients.get(&policy).is_some());
    }
}

/// Softmax is invariant to a constant added to a row of similarities, and the cosine to the length of a vector.
#[test]
fn weights_are_invariant_to_row_constants_and_vector_lengths() {
    let (mut noise, m) = (Noise::new(10), 5);
    let mut embed = || noise.normal_tensor((m, 8), &CPU).expect("embedding");
    let (winner, loser, text) = (embed(), embed(), embed());
    // With `Concat`, one caption for all pairs adds the same similarity to every entry of a row.
    let shared = text.narrow(0, 0, 1).and_then(|t| t.broadcast_as((m, 8))?.contiguous()).expect("shared");
    let features = ClipFeatures { winner, loser, text: shared };
    let with_text = contrast_weights(&features, Embedding::Concat, 0.1).expect("weights");
    let without = contrast_weights(&features, Embedding::ImageOnly, 0.2).expect("weights");
    let scaled = ClipFeatures { winner: (&features.winner * 7.0).expect("scaled"), ..features };
    let scaled = contrast_weights(&scaled, Embedding::Concat, 0.1).expect("weights");
    for other in [without, scaled] {
        let d =
            (&with_text - other).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("difference");
        assert!(d < 1e-5, "{d}");
    }
}

#[test]
fn permuting_the_batch_leaves_the_loss_unchanged() {
    let (e, w) = random(4, 11, 0.3);
    let order = Tensor::new(&[2u32, 0, 3, 1], &CPU).expect("order");
    let pick = |t: &Tensor| t.index_select(&order, 0).expect("permuted");
    let permuted = PairErrors {
        policy_winner: pick(&e.policy_winner),
        policy_loser: pick(&e.policy_loser),
        reference_winner: pick(&e.reference_winner),
        reference_loser: pick(&e.reference_loser),
    };
    let w2 = pick(&w).index_select(&order, 1).expect("permuted");
    close(
        value(&diff_contrast(&e, &w, 1000.0).expect("contrast")),
        value(&diff_contrast(&permuted, &w2, 1000.0).expect("contrast")),
    );
}

#[test]
fn lower_errors_of_winners_lower_the_loss() {
    let (e, w) = random(4, 12, 0.3);
    let better = PairErrors { policy_winner: (&e.policy_winner - 0.001).expect("better"), ..e.clone() };
    for (a, b) in [
        (diffusion_dpo(&better, 2000.0), diffusion_dpo(&e, 2000.0)),
        (diff_contrast(&better, &w, 2000.0), diff_contrast(&e, &w, 2000.0)),
        (rpo(&better, &w, 2000.0), rpo(&e, &w, 2000.0)),
    ] {
        assert!(value(&a.expect("better")) < value(&b.expect("worse")));
    }
}

#[test]
fn identical_losers_make_the_weights_irrelevant() {
    let (e, w) = random(5, 13, 0.1);
    let same = |t: &Tensor| t.narrow(0, 0, 1).and_then(|t| t.broadcast_as(5)?.contiguous()).expect("same");
    let e =
        PairErrors { policy_loser: same(&e.policy_loser), reference_loser: same(&e.reference_loser), ..e };
    let a = value(&diff_contrast(&e, &w, 2000.0).expect("contrast"));
    close(a, value(&diffusion_dpo(&e, 2000.0).expect("dpo")));
}

fn place(list: u32, pairs: u32, ranks: [u32; 2]) -> ListPlace {
    ListPlace { list, pairs, ranks }
}

/// A list of four with beta = 20 and excess errors -0.04, 0.01, 0.02, 0.05 from the best to the worst, so s = 0.4, -0.1, -0.2, -0.5;
/// kept as the pairs (1, 4) and (2, 3).
#[test]
fn lists_have_the_likelihood_of_their_ranking() {
    let e = errors(&[0.06, 0.11], &[0.15, 0.12], &[0.1, 0.1], &[0.1, 0.1]);
    let s = [0.4f64, -0.1, -0.2, -0.5];
    let sum = |from: usize| s[from..].iter().map(|s| s.exp()).sum::<f64>().ln();
    let ranked = diffusion_lpo(&e, &[place(7, 2, [0, 3]), place(7, 2, [1, 2])], 20.0).expect("lpo");
    close(value(&ranked), (sum(0) - s[0]) + (sum(1) - s[1]) + (sum(2) - s[2]));
    close(metric_of(&ranked, metric::REWARDS_ACCURACIES), 1.0);
    // The best of four: one choice among all, the others not compared.
    let best = diffusion_lpo(&e, &[place(7, 2, [0, 1]), place(7, 2, [1, 1])], 20.0).expect("lpo");
    close(value(&best), sum(0) - s[0]);
    // Two lists of two.
    let two = [place(3, 1, [0, 1]), place(9, 1, [0, 1])];
    close(value(&diffusion_lpo(&e, &two, 20.0).expect("lpo")), value(&diffusion_dpo(&e, 20.0).expect("dpo")));
    assert!(diffusion_lpo(&e, &two[..1], 20.0).is_err(), "a pair without a place");
}

#[test]
fn lists_of_two_are_diffusion_dpo_with_its_gradients() {
    for beta in [1.0, 500.0, 1e5] {
        let (e, _) = random(6, 21, 0.5);
        let slopes = |listwise: bool| {
            let var = Var::from_tensor(&e.policy_winner).expect("var");
            let e = PairErrors { policy_winner: var.as_tensor().clone(), ..e.clone() };
            let loss =
                if listwise { diffusion_lpo(&e, &[], beta) } else { diffusion_dpo(&e, beta) }.expect("loss");
            let gradients = loss.loss.backward().expect("backward");
            (value(&loss), gradients.get(&var).expect("gradient").to_vec1::<f32>().expect("values"))
        };
        let ((lpo, ours), (dpo, theirs)) = (slopes(true), slopes(false));
        close(lpo, dpo);
        for (our, their) in ours.iter().zip(&theirs) {
            assert!((our - their).abs() <= 1e-6 * beta as f32, "{our} is not {their} at beta {beta}");
        }
    }
}

/// The derivative with respect to every error equals a difference quotient.
#[test]
fn gradients_of_lists_equal_difference_quotients() {
    let places = [place(0, 2, [0, 3]), place(0, 2, [1, 2]), place(1, 2, [0, 1]), place(1, 2, [1, 1])];
    let policy = [0.10f64, 0.12, 0.09, 0.11, 0.13, 0.08, 0.105, 0.1];
    let of = |policy: &[f64]| {
        let half = |from: usize| {
            Var::from_tensor(&Tensor::new(&policy[from..from + 4], &CPU).expect("t")).expect("var")
        };
        let (winner, loser) = (half(0), half(4));
        let reference = Tensor::full(0.1f64, 4, &CPU).expect("reference");
        let e = PairErrors {
            policy_winner: winner.as_tensor().clone(),
            policy_loser: loser.as_tensor().clone(),
            reference_winner: reference.clone(),
            reference_loser: reference,
        };
        let loss = diffusion_lpo(&e, &places, 100.0).expect("lpo").loss;
        let store = loss.backward().expect("backward");
        let slopes: Vec<f64> = [&winner, &loser]
            .into_iter()
            .flat_map(|side| store.get(side).expect("gradient").to_vec1::<f64>().expect("values"))
            .collect();
        (loss.to_scalar::<f64>().expect("scalar"), slopes)
    };
    let (_, slopes) = of(&policy);
    for (k, slope) in slopes.into_iter().enumerate() {
        let moved = |by: f64| {
            let mut policy = policy;
            policy[k] += by;
            of(&policy).0
        };
        let quotient = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        assert!((slope - quotient).abs() < 1e-5 * quotient.abs().max(1.0), "{k}: {slope} is not {quotient}");
    }
}
