//! Vectorised loops, compiled for every instruction set and chosen at run time, and the functions they inline: sums,
//! exponentials, error functions.
#![expect(clippy::excessive_precision, reason = "constants are written as published")]

use std::sync::LazyLock;

static ARCH: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Runs `f`, compiled for the best instruction set of this machine.
///
/// `f` and everything it calls must be `#[inline(always)]`: a separate function is compiled for the oldest supported
/// machine, with a library call for every multiply-add. That includes closures passed to `for_each` or `fold`, so loops
/// are written as `for`.
#[inline(always)]
pub(in crate::nn) fn vectorized<R>(f: impl FnOnce() -> R) -> R {
    ARCH.dispatch(f)
}

/// Runs an operation that is generic over the vector length, with the longest vectors of this machine.
#[inline(always)]
pub(in crate::nn) fn with_simd<T: pulp::WithSimd>(f: T) -> T::Output {
    ARCH.dispatch(f)
}

/// Partial results of a reduction.
const LANES: usize = 16;

/// `f(0) + ... + f(n - 1)`, added in a fixed order that vectorises: as 16 partial sums.
#[inline(always)]
pub(in crate::nn) fn sum(n: usize, mut f: impl FnMut(usize) -> f32) -> f32 {
    let mut partial = [0f32; LANES];
    let whole = n / LANES * LANES;
    let mut i = 0;
    while i < whole {
        for (lane, p) in partial.iter_mut().enumerate() {
            *p += f(i + lane);
        }
        i += LANES;
    }
    let mut total: f32 = partial.iter().sum();
    for i in whole..n {
        total += f(i);
    }
    total
}

/// The largest value, or negative infinity if `values` is empty.
#[inline(always)]
pub(in crate::nn) fn max(values: &[f32]) -> f32 {
    let mut partial = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (p, &v) in partial.iter_mut().zip(chunk) {
            *p = if v > *p { v } else { *p };
        }
    }
    partial.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}

/// e^x to about one unit in the last place. `x` is clamped to [-87, 88], so the result is neither infinite nor denormal.
///
/// Cody-Waite reduction by ln 2 in two parts, then the degree-5 polynomial of the Cephes library.
#[inline(always)]
pub(in crate::nn) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23; adding and subtracting it rounds to an integer
    // Clamping by comparison keeps NaN.
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-0.693_359_375, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_15e-4_f32;
    p = p.mul_add(r, 1.398_199_95e-3);
    p = p.mul_add(r, 8.333_451_9e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_55e-1);
    p = p.mul_add(r, 5.000_000_1e-1);
    let y = p.mul_add(r * r, r) + 1.0;
    // 2^n, with n taken from the lowest bits of the rounded sum. A cast of n to an integer saturates and would not
    // vectorise. The clamp keeps n within [-126, 127], and y keeps NaN.
    f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23)) * y
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(in crate::nn) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function, with an absolute error of at most 1.5e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub(in crate::nn) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / 0.327_591_1_f32.mul_add(a, 1.0);
    let mut p = 1.061_405_429_f32;
    p = p.mul_add(t, -1.453_152_027);
    p = p.mul_add(t, 1.421_413_741);
    p = p.mul_add(t, -0.284_496_736);
    p = p.mul_add(t, 0.254_829_592);
    (1.0 - p * t * exp(-a * a)).copysign(x)
}

/// The cumulative distribution function Phi of the standard normal distribution: GELU(x) = x Phi(x).
#[inline(always)]
pub(in crate::nn) fn normal_cdf(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The density of the standard normal distribution.
#[inline(always)]
pub(in crate::nn) fn normal_pdf(x: f32) -> f32 {
    0.398_942_3 * exp(-0.5 * x * x)
}

/// The mean of `x` and 1 / sqrt(variance + epsilon).
#[inline(always)]
pub(in crate::nn) fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x.len(), |i| x[i]) / n;
    let variance = sum(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[cfg(test)]
mod tests {
    use super::{erf, exp, max, sum, vectorized};

    #[test]
    fn exp_is_accurate_over_its_range() {
        for i in -8700..=8800 {
            let x = i as f32 / 100.0;
            let right = f64::from(x).exp();
            let relative = (f64::from(vectorized(
                #[inline(always)]
                || exp(x),
            )) - right)
                .abs()
                / right;
            assert!(relative < 3e-7, "exp({x}) is off by {relative:e}");
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_matches_known_values() {
        for (x, right) in
            [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3), (4.0, 1.0)]
        {
            assert!((erf(x) - right).abs() < 4e-7, "erf({x})");
        }
    }

    #[test]
    fn reductions_include_every_element() {
        for n in 0..50 {
            let v: Vec<f32> = (0..n).map(|i| (i * 7 % 13) as f32).collect();
            assert_eq!(sum(n, |i| v[i]), v.iter().sum::<f32>());
            assert_eq!(max(&v), v.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
