//! Normalisation to zero mean and unit variance, composed of candle operations: the core of layer norm and group norm.

use candle_core::{D, Result, Tensor};

/// Normalises along the last dimension. Returns the normalised values and the reciprocal of the standard deviation.
pub(super) fn normalise(x: &Tensor, epsilon: f64) -> Result<(Tensor, Tensor)> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let inverse = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?.recip()?;
    Ok((centred.broadcast_mul(&inverse)?, inverse))
}

/// The gradient of the input of [`normalise`], given the gradient `h` of its result, the result (`value`) and the
/// reciprocal of the deviation (`inverse`): (h - mean(h) - value mean(h value)) / deviation.
pub(super) fn normalise_backward(h: &Tensor, value: &Tensor, inverse: &Tensor) -> Result<Tensor> {
    let slope = (h * value)?.mean_keepdim(D::Minus1)?;
    (h.broadcast_sub(&h.mean_keepdim(D::Minus1)?)? - value.broadcast_mul(&slope)?)?.broadcast_mul(inverse)
}
