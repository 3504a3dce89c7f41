//! Every kernel on the emulated GPU, in every element type, against the composition of candle operations in `f64`.

use super::adamw::adamw;
use super::availability::is_available;
use super::emulation;
use crate::nn::composed::{self, Composed};
use crate::nn::ops::activation::Activation;
use crate::nn::ops::add_channelwise::AddChannelwise;
use crate::nn::ops::attention::AttentionShape;
use crate::nn::ops::bias::{add_to_planes, add_to_rows};
use crate::nn::ops::convolution::{Convolution, ConvolutionShape};
use crate::nn::ops::exchange::exchange;
use crate::nn::ops::geglu::Geglu;
use crate::nn::ops::group_norm::GroupNormShape;
use crate::nn::ops::layer_norm::LayerNorm;
use crate::nn::ops::linear::Affine;
use crate::nn::ops::squared_sums::squared_sums;
use crate::nn::ops::sums::{sum_over_planes, sum_over_rows};
use crate::nn::ops::transpose::Transpose;
use crate::noise::Noise;
use candle_core::{DType, Device, Result, Tensor, Var};

/// The element types, with the relative difference that rounding of gradients and results to them explains.
const TYPES: [(DType, f64); 3] = [(DType::F32, 2e-6), (DType::F16, 1.5e-3), (DType::BF16, 1.2e-2)];

fn random_tensors(shapes: &[&[usize]], dtype: DType) -> Vec<Tensor> {
    random_tensors_of_seed(42, shapes, dtype)
}

fn random_tensors_of_seed(seed: u64, shapes: &[&[usize]], dtype: DType) -> Vec<Tensor> {
    let mut noise = Noise::new(seed);
    let mut draw = |s: &[usize]| noise.normal_tensor(s, &Device::Cpu)?.to_dtype(dtype);
    shapes.iter().map(|s| draw(s)).collect::<Result<_>>().expect("numbers")
}

/// The same values in f64.
fn wide(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(|t| t.to_dtype(DType::F64).expect("f64")).collect()
}

fn compare(name: &str, ours: &[Tensor], expected: &[Tensor], allowed: f64) {
    assert_eq!(ours.len(), expected.len(), "{name}");
    for (i, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        assert_eq!(ours.dims(), expected.dims(), "{name}: result {i}");
        let length = |t: Tensor| t.sqr()?.sum_all()?.to_scalar::<f64>().map(f64::sqrt);
        let apart = ours.to_dtype(DType::F64).and_then(|ours| length((ours - expected)?)).expect(name);
        let size = length(expected.clone()).expect(name);
        assert!(apart <= allowed * size + 1e-12, "{name}: result {i} is off by {:e}", apart / size);
    }
}

/// Checks a function of tensors, and that it launches exactly `kernels`.
fn check(
    name: &str,
    shapes: &[&[usize]],
    kernels: &[&'static str],
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
) {
    for (dtype, allowed) in TYPES {
        // candle does not convolve in bf16 on a CPU.
        if name == "convolution" && dtype == DType::BF16 {
            continue;
        }
        let name = format!("{name}, {dtype:?}");
        let operands = random_tensors(shapes, dtype);
        let (ours, launched) = emulation::with(|| f(&operands).expect(&name));
        assert!(launched.iter().eq(kernels), "{name}: launched {launched:?}");
        compare(&name, &ours, &f(&wide(&operands)).expect(&name), allowed);
    }
}

/// Checks an operation: its result, and the gradients of all operands for a random linear function of the result.
fn check_operation<O: Composed>(
    name: &str,
    shapes: &[&[usize]],
    kernels: &[&'static str],
    make: impl Fn() -> O,
) {
    check(name, shapes, kernels, |operands| {
        let vars = operands.iter().map(Var::from_tensor).collect::<Result<Vec<_>>>()?;
        let y = composed::apply(make(), &vars.iter().map(Var::as_tensor).collect::<Vec<_>>())?;
        // Drawn in bf16, so that every type has the same values.
        let direction = random_tensors_of_seed(7, &[y.dims()], DType::BF16).remove(0).to_dtype(y.dtype())?;
        let gradients = (&y * direction)?.sum_all()?.backward()?;
        let mut results = vec![y.detach()];
        for (i, var) in vars.iter().enumerate() {
            results.push(gradients.get(var).unwrap_or_else(|| panic!("operand {i}: no gradient")).detach());
        }
        Ok(results)
    });
}

#[test]
fn activations() {
    for activation in [Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
        for shape in [[1, 1], [5, 1003]] {
            let kernels = ["activation", "activation_back"];
            check_operation(&format!("{activation:?} {shape:?}"), &[&shape], &kernels, || activation);
        }
    }
}

#[test]
fn gated_activations() {
    for shape in [[1, 1, 2], [3, 7, 30], [2, 3, 1300]] {
        check_operation(&format!("{shape:?}"), &[&shape], &["geglu", "geglu_back"], || Geglu);
    }
}

#[test]
fn layer_norms() {
    // Fewer values than a warp has threads; more values than a block has threads; more rows than blocks.
    for (rows, width) in [(1, 5), (3, 40), (130, 64), (9, 700), (2050, 8)] {
        let shapes: [&[usize]; 3] = [&[1, rows, width], &[width], &[width]];
        check_operation(
            &format!("{rows} {width}"),
            &shapes,
            &["column_sums", "layer_norm", "layer_norm_back"],
            || LayerNorm { epsilon: 1e-5 },
        );
    }
    // Too wide for a block's shared memory: the backward pass is the composition.
    let wide = 6200;
    check_operation("wide", &[&[2, wide], &[wide], &[wide]], &["column_sums", "layer_norm"], || LayerNorm {
        epsilon: 1e-5,
    });
}

#[test]
fn group_norms() {
    for (batch, channels, groups, pixels, silu) in
        [(3, 8, 4, 35, false), (2, 12, 3, 600, true), (1, 4, 1, 1, true), (2, 6, 6, 700, false)]
    {
        let shape = GroupNormShape { groups, epsilon: 1e-5, silu };
        check_operation(
            &format!("{shape:?} of {batch} x {channels} x {pixels}"),
            &[&[batch, channels, pixels, 1], &[channels], &[channels]],
            &["column_sums", "group_norm", "group_norm_back", "group_norm_sums", "plane_moments"],
            || shape,
        );
    }
}

/// Values far from zero, whose variance as the mean of squares minus the square of the mean would have no correct digit.
/// The tolerance is a thousandth of a standard deviation.
#[test]
fn norms_of_values_far_from_zero() {
    let far = |t: &Tensor| (t * 1e-2)? + 100.0;
    let shape = GroupNormShape { groups: 2, epsilon: 1e-5, silu: false };
    let mut operands = random_tensors(&[&[1, 4, 500], &[4], &[4]], DType::F32);
    operands[0] = far(&operands[0]).expect("values far from zero");
    let group = emulation::with(|| shape.forward(&operands)).0.expect("a norm");
    compare("group norm", &[group], &[shape.forward(&wide(&operands)).expect("a norm")], 1e-3);
    let norm = LayerNorm { epsilon: 1e-5 };
    let mut operands = random_tensors(&[&[4, 500], &[500], &[500]], DType::F32);
    operands[0] = far(&operands[0]).expect("values far from zero");
    let layer = emulation::with(|| norm.forward(&operands)).0.expect("a norm");
    compare("layer norm", &[layer], &[norm.forward(&wide(&operands)).expect("a norm")], 1e-3);
}

#[test]
fn attentions() {
    for (queries, keys, heads, causal) in
        [(5, 5, 2, false), (5, 5, 2, true), (130, 24, 4, false), (70, 70, 1, true)]
    {
        let shape = AttentionShape { heads, causal };
        check_operation(
            &format!("{queries} {keys} {shape:?}"),
            &[&[2, queries, 16], &[2, keys, 16], &[2, keys, 16]],
            &["exchange", "softmax", "softmax_back"],
            || shape,
        );
    }
}

#[test]
fn linears_and_convolutions() {
    let kernels = ["add_to_rows", "column_sums"];
    check_operation("linear", &[&[3, 50, 20], &[35, 20], &[35]], &kernels, || Affine);
    let shape = ConvolutionShape { stride: 1, padding: [1, 1], relu: false };
    check_operation(
        "convolution",
        &[&[2, 5, 9, 7], &[6, 5, 3, 3], &[6]],
        &["add_to_planes", "column_sums", "exchange", "row_sums"],
        || Convolution(shape),
    );
}

#[test]
fn transpositions() {
    for [m, n] in [[1, 1], [32, 64], [45, 33]] {
        check_operation(&format!("{m} {n}"), &[&[3, m, n]], &["transpose"], || Transpose);
    }
    check("exchange", &[&[2, 3, 5, 40]], &["exchange"], |t| Ok(vec![exchange(&t[0])?]));
    // A view that neither starts at the beginning of its storage nor has its order.
    check("exchange of a part", &[&[4, 3, 5, 7]], &["exchange"], |t| {
        Ok(vec![exchange(&t[0].narrow(0, 1, 2)?.transpose(0, 2)?)?])
    });
}

#[test]
fn sums() {
    for (rows, width) in [(1, 1), (70, 40), (20_000, 3)] {
        check(&format!("{rows} {width}"), &[&[rows, width]], &["column_sums"], |t| {
            Ok(vec![sum_over_rows(&t[0])?])
        });
    }
    check("planes", &[&[3, 5, 6, 7]], &["column_sums", "row_sums"], |t| Ok(vec![sum_over_planes(&t[0])?]));
    check("rows and a bias", &[&[9, 600], &[600]], &["add_to_rows"], |t| {
        Ok(vec![add_to_rows(&t[0], &t[1])?])
    });
    check("planes and a bias", &[&[3, 5, 6, 7], &[5]], &["add_to_planes"], |t| {
        Ok(vec![add_to_planes(&t[0], &t[1])?])
    });
}

#[test]
fn channelwise_addition() {
    let kernels = ["add_to_planes", "row_sums"];
    check_operation("channelwise addition", &[&[2, 3, 4, 5], &[2, 3]], &kernels, || AddChannelwise);
}

#[test]
fn sums_of_squares() {
    for dtype in [DType::F16, DType::BF16] {
        let operands = random_tensors(&[&[3, 7], &[1], &[40_000]], dtype);
        let (ours, launched) = emulation::with(|| squared_sums(&operands).expect("sums"));
        assert!(launched.iter().eq(["row_sums", "square_sums"].iter()), "{launched:?}");
        for (ours, operand) in ours.into_iter().zip(wide(&operands)) {
            let expected = operand.sqr().and_then(|t| t.sum_all()?.to_scalar::<f64>()).expect("a sum");
            assert!((ours - expected).abs() <= 2e-6 * expected, "{ours} instead of {expected}");
        }
    }
}

/// Compares with the formula in `f64`.
#[test]
fn adamw_updates() {
    let mut operands = random_tensors(&[&[7, 300][..]; 4], DType::F32);
    operands[2] = operands[2].sqr().expect("second moments");
    let [beta1, beta2, scale, shrink, rate, root, epsilon] = [0.9, 0.999, 0.5, 0.9999, 1e-3, 1.5, 1e-8];
    let numbers = [beta1, beta2, scale, shrink, rate, root, epsilon];
    let step = |t: &[Tensor]| adamw(&t[0], &t[1], &t[2], &t[3], numbers).expect("an update");
    assert!(step(&operands).is_none(), "a CPU has no kernel");
    let (ours, launched) = emulation::with(|| step(&operands).expect("the kernel"));
    assert!(launched.iter().eq(["adamw"].iter()), "{launched:?}");
    let expected = || -> Result<Vec<Tensor>> {
        let [weight, first, second, gradient] = &wide(&operands)[..] else { unreachable!("four operands") };
        let g = (gradient * scale)?;
        let m = ((first * beta1)? + (&g * (1.0 - beta1))?)?;
        let v = ((second * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
        let w = ((weight * shrink)? - ((&m * rate)? / ((&v * root)?.sqrt()? + epsilon)?)?)?;
        Ok(vec![w, m, v])
    };
    // In f32, 1 - 0.999 has a relative error of 5e-5.
    compare("adamw", &ours, &expected().expect("an update"), 1e-4);
    let other = random_tensors(&[&[300, 7]], DType::F32).remove(0);
    let refusal = emulation::with(|| adamw(&operands[0], &operands[1], &other, &operands[3], numbers)).0;
    assert!(refusal.expect_err("another shape").to_string().contains("AdamW"));
}

#[test]
fn availability_depends_on_type_size_and_device() {
    let [x, y] = &random_tensors(&[&[2], &[2]], DType::F32)[..] else { unreachable!("two") };
    let half = y.to_dtype(DType::F16).expect("half");
    assert!(!is_available(&[x, y]), "there is no GPU");
    let (available, _) = emulation::with(|| {
        let empty = x.narrow(0, 0, 0).expect("an empty tensor");
        let double = x.to_dtype(DType::F64).expect("double");
        [&[x, y][..], &[x, &half], &[&double], &[&empty], &[]].map(is_available)
    });
    assert_eq!(available, [true, false, false, false, false]);
}
