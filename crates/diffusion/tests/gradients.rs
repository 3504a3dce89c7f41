//! The forward and backward pass of every operation: the CPU kernels (`f32`) and the compositions of candle operations in half
//! precision, both against the compositions in `f64`.

use candle_core::{DType, Device, Result, Tensor, Var};
use diffusion::nn::{
    Activation, AttentionShape, ConvolutionShape, GroupNormShape, add_channelwise, attention, conv2d,
    convolve, geglu, group_norm, layer_norm, linear, upsample_nearest,
};
use diffusion::noise::Noise;

/// Compares `f` in `f32` (CPU kernels) and in `f16` (composed) with `f64` (composed): values, and gradients of every input for
/// a random linear function of the result.
fn compare(name: &str, shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let mut noise = Noise::new(42);
    let inputs: Vec<Tensor> =
        shapes.iter().map(|s| noise.normal_tensor(*s, &Device::Cpu).expect("noise")).collect();
    let run = |dtype: DType, noise: &mut Noise| -> Result<Vec<Tensor>> {
        let vars: Vec<Var> =
            inputs.iter().map(|t| Var::from_tensor(&t.to_dtype(dtype)?)).collect::<Result<_>>()?;
        let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
        let y = f(&tensors)?;
        let direction = noise.normal_tensor(y.shape().clone(), &Device::Cpu)?.to_dtype(dtype)?;
        let gradients = (&y * direction)?.sum_all()?.backward()?;
        let mut results = vec![y.detach()];
        for (i, var) in vars.iter().enumerate() {
            results.push(
                gradients.get(var).unwrap_or_else(|| panic!("{name}: input {i} gets no gradient")).detach(),
            );
        }
        results.into_iter().map(|t| t.to_dtype(DType::F64)).collect()
    };
    let composed = run(DType::F64, &mut Noise::new(7)).expect(name);
    // Rounding to f16 has a relative error of 5e-4, for inputs and results.
    for (dtype, allowed) in [(DType::F32, 2e-6), (DType::F16, 4e-3)] {
        let ours = run(dtype, &mut Noise::new(7)).expect(name);
        for (i, (ours, composed)) in ours.iter().zip(&composed).enumerate() {
            assert_eq!(ours.dims(), composed.dims(), "{name}: result {i}");
            let length = |t: Tensor| t.sqr()?.sum_all()?.to_scalar::<f64>().map(f64::sqrt);
            let difference = (ours - composed).and_then(length).expect(name);
            let size = length(composed.clone()).expect(name);
            assert!(
                difference <= allowed * size + 1e-12,
                "{name}, {dtype:?}: result {i} is off by {:e}",
                difference / size
            );
        }
    }
}

#[test]
fn convolution() {
    for (batch, inputs, outputs, height, width, kernel, stride, padding) in [
        (3, 5, 7, 9, 11, 3, 1, 1),
        (16, 20, 12, 4, 4, 3, 1, 1), // several images in a tile
        (17, 8, 8, 5, 3, 3, 1, 1),
        (2, 6, 4, 40, 33, 3, 1, 1), // several tiles in an image
        (2, 4, 6, 8, 8, 3, 2, 1),
        (2, 4, 6, 9, 9, 3, 2, 0),
        (2, 4, 6, 8, 9, 3, 2, 1),
        (2, 4, 6, 9, 8, 3, 2, 0),
        (3, 4, 6, 7, 5, 1, 1, 0),
        (9, 40, 6, 2, 2, 1, 1, 0),
        (1, 3, 4, 16, 16, 8, 8, 0), // patches
    ] {
        let name =
            format!("convolution {batch} {inputs} {outputs} {height}x{width} k{kernel} s{stride} p{padding}");
        compare(
            &name,
            &[&[batch, inputs, height, width], &[outputs, inputs, kernel, kernel], &[outputs]],
            |t| conv2d(&t[0], &t[1], &t[2], stride, padding),
        );
    }
}

#[test]
fn convolution_with_oblong_kernels() {
    for (batch, size, kernel, stride, padding, relu) in [
        (2, [9, 11], [1, 7], 1, [0, 3], false),
        (2, [9, 11], [7, 1], 1, [3, 0], true),
        (5, [8, 8], [3, 1], 1, [1, 0], true), // several images in a tile
        (2, [9, 10], [3, 2], 2, [1, 0], true),
        (2, [9, 7], [3, 3], 1, [2, 1], false),
        (1, [40, 33], [1, 3], 1, [0, 1], true), // several tiles in an image
        (3, [7, 5], [1, 1], 1, [0, 0], true),
    ] {
        let shape = ConvolutionShape { stride, padding, relu };
        compare(
            &format!("convolution {batch} {size:?} {kernel:?} {shape:?}"),
            &[&[batch, 5, size[0], size[1]], &[6, 5, kernel[0], kernel[1]], &[6]],
            |t| convolve(&t[0], &t[1], &t[2], shape),
        );
    }
}

#[test]
fn group_norms() {
    for (silu, groups) in [(false, 4), (true, 4), (true, 1), (false, 8)] {
        let shape = GroupNormShape { groups, epsilon: 1e-5, silu };
        compare(&format!("group norm {shape:?}"), &[&[3, 8, 5, 7], &[8], &[8]], |t| {
            group_norm(&t[0], &t[1], &t[2], shape)
        });
    }
}

#[test]
fn layer_norms() {
    for rows in [1, 63, 130] {
        compare(&format!("layer norm {rows}"), &[&[2, rows, 40], &[40], &[40]], |t| {
            layer_norm(&t[0], &t[1], &t[2], 1e-5)
        });
    }
}

#[test]
fn linears() {
    compare("linear", &[&[3, 7, 20], &[12, 20], &[12]], |t| linear(&t[0], &t[1], Some(&t[2])));
    compare("linear without bias", &[&[33, 20], &[12, 20]], |t| linear(&t[0], &t[1], None));
}

#[test]
fn attentions() {
    for (queries, keys, heads, causal) in
        [(5, 5, 2, false), (5, 5, 2, true), (300, 24, 4, false), (150, 150, 1, false), (24, 24, 4, true)]
    {
        let shape = AttentionShape { heads, causal };
        let name = format!("attention {queries} {keys} {shape:?}");
        compare(&name, &[&[2, queries, 16], &[2, keys, 16], &[2, keys, 16]], |t| {
            attention(&t[0], &t[1], &t[2], shape)
        });
    }
}

/// Each score is a sum of 64 products of 3600, which exceeds the range of `f16` unless the queries are scaled first.
#[test]
fn attention_of_large_numbers_in_f16() {
    let large = (Tensor::ones((1, 3, 64), DType::F16, &Device::Cpu).expect("ones") * 60.0).expect("large");
    let shape = AttentionShape { heads: 1, causal: false };
    let y = attention(&large, &large, &large, shape).and_then(|y| y.flatten_all()?.to_dtype(DType::F32));
    let y = y.and_then(|y| y.to_vec1::<f32>()).expect("attention");
    assert!(y.iter().all(|y| (y - 60.0).abs() < 0.1), "{y:?}");
}

#[test]
fn activations() {
    for activation in [Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
        compare(&format!("{activation:?}"), &[&[5, 1003]], |t| activation.apply(&t[0]));
    }
    compare("gated GELU", &[&[3, 7, 30]], |t| geglu(&t[0]));
}

#[test]
fn channelwise_addition() {
    compare("channelwise addition", &[&[2, 3, 4, 5], &[2, 3]], |t| add_channelwise(&t[0], &t[1]));
}

#[test]
fn upsampling() {
    for (height, width) in [(8, 10), (7, 9), (5, 5)] {
        compare(&format!("upsample {height}x{width}"), &[&[2, 3, 4, 5]], |t| {
            upsample_nearest(&t[0], height, width)
        });
    }
    // Gradients of a result that is used twice add up.
    compare("upsample twice", &[&[1, 2, 3, 3]], |t| {
        let y = upsample_nearest(&t[0], 6, 6)?;
        &y + (&y * 3.0)?
    });
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    for dtype in [DType::F32, DType::F64] {
        assert_shapes_are_checked(dtype);
    }
}

fn assert_shapes_are_checked(dtype: DType) {
    let t = |s: &[usize]| Tensor::zeros(s, dtype, &Device::Cpu).expect("zeros");
    assert!(conv2d(&t(&[1, 3, 8, 8]), &t(&[4, 2, 3, 3]), &t(&[4]), 1, 1).is_err());
    assert!(conv2d(&t(&[1, 3, 2, 2]), &t(&[4, 3, 3, 3]), &t(&[4]), 1, 0).is_err());
    assert!(linear(&t(&[2, 3]), &t(&[4, 5]), None).is_err());
    assert!(
        group_norm(
            &t(&[1, 6, 2, 2]),
            &t(&[6]),
            &t(&[6]),
            GroupNormShape { groups: 4, epsilon: 1e-5, silu: false }
        )
        .is_err()
    );
    assert!(
        attention(&t(&[1, 2, 6]), &t(&[1, 3, 6]), &t(&[1, 3, 6]), AttentionShape { heads: 4, causal: false })
            .is_err()
    );
}
