//! Distances of features from a formula.

use crate::expected;
use crate::formula::features;
use candle_core::DType;
use evaluation::fid::{Features, Statistics, cmmd, frechet_distance, kernel_distance};

fn values(name: &str) -> Vec<f64> {
    let tensor = expected(name).to_dtype(DType::F64).and_then(|t| t.to_vec1());
    tensor.expect("numbers")
}

fn sides(name: &str, counts: [usize; 2], width: usize) -> [Features; 2] {
    [("a", counts[0]), ("b", counts[1])].map(|(side, n)| features(&format!("{name} {side}"), n, width))
}

fn distance([a, b]: &[Features; 2]) -> f64 {
    let [a, b] = [a, b].map(|side| Statistics::of(side).expect("statistics"));
    frechet_distance(&a, &b).expect("a distance")
}

/// Expected values of pytorch-fid, clean-fid and torch-fidelity, in this order; also for fewer images than features.
#[test]
fn frechet_distances_equal_those_of_the_reference_packages() {
    for (name, width, counts) in
        [("full", 64, [300, 200]), ("singular", 64, [20, 30]), ("wide", 512, [40, 900])]
    {
        let ours = distance(&sides(name, counts, width));
        for (package, theirs) in
            ["pytorch-fid", "clean-fid", "torch-fidelity"].iter().zip(values(&format!("frechet.{name}")))
        {
            let off = (ours - theirs).abs() / theirs;
            eprintln!("{name}: ours {ours}, {package} {theirs}, off by {off:.1e}");
            assert!(off < 1e-6, "{name}: ours is {ours}, {package}'s {theirs}");
        }
    }
}

#[test]
fn the_distance_of_a_set_to_itself_is_zero_and_to_a_shifted_one_the_square_of_the_shift() {
    let [a, _] = sides("full", [300, 200], 64);
    assert!(distance(&[a.clone(), a.clone()]) < 1e-9);
    let shifted = Features::new(64, a.values().iter().map(|v| v + 2.0).collect());
    // 64 features shifted by 2; f32 has seven digits.
    assert!((distance(&[a, shifted]) - 256.0).abs() < 1e-3);
}

#[test]
fn kernel_distances_equal_torch_fidelity_and_the_published_definition() {
    let [a, b] = sides("kernel", [50, 50], 64);
    let whole = kernel_distance(&a, &b, 100, 1000, |_| 0).expect("a distance");
    assert_eq!((whole.subsets, whole.subset_size), (1, 50));
    let theirs = values("kernel")[0];
    assert!((whole.mean - theirs).abs() < 1e-9 * theirs.abs(), "{} is not {theirs}", whole.mean);

    let few = Features::new(64, b.values()[..30 * 64].to_vec());
    let (ours, theirs) = (cmmd(&a, &few).expect("a distance"), values("cmmd")[0]);
    assert!((ours - theirs).abs() < 1e-6 * theirs, "{ours} is not {theirs}");
    assert!(cmmd(&a, &a).expect("a distance").abs() < 1e-9);
}

#[test]
fn subsets_are_drawn_without_replacement_and_scatter_about_the_whole() {
    let [a, b] = sides("kernel", [50, 50], 64);
    let mut state = 1_u64;
    let mut draw = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let parts = kernel_distance(&a, &b, 200, 25, &mut draw).expect("a distance");
    let whole = kernel_distance(&a, &b, 1, 50, &mut draw).expect("a distance");
    assert_eq!((parts.subsets, parts.subset_size), (200, 25));
    let error = parts.deviation / (200_f64).sqrt();
    assert!(parts.deviation > 0.0 && (parts.mean - whole.mean).abs() < 5.0 * error, "{parts:?} {whole:?}");
}

#[test]
fn incomparable_sides_are_refused() {
    let (a, b) = (features("x", 5, 8), features("y", 5, 9));
    let statistics = |side: &Features| Statistics::of(side).expect("statistics");
    let error = frechet_distance(&statistics(&a), &statistics(&b)).expect_err("widths differ").to_string();
    assert!(error.contains("8 features") && error.contains('9'), "{error}");
    assert!(Statistics::of(&features("x", 1, 8)).is_err());
    assert!(Statistics::of(&Features::new(1, vec![1.0, f32::NAN])).is_err());
    assert!(kernel_distance(&a, &a, 1, 1, |_| 0).is_err());
    assert!(cmmd(&a, &Features::new(8, vec![])).is_err());
}
