//! An update of AdamW (Loshchilov and Hutter 2019) in one kernel.

use super::availability::is_available;
use super::launch::{Launch, Number};
use candle_core::{Result, Tensor, bail};

/// Computes one AdamW update. Returns the new weight, first moment and second moment, or `None` where the kernels are not
/// available.
///
/// `numbers` are, in this order: beta 1; beta 2; the factor of the gradient; the factor of the weight (the decay); the
/// learning rate and the factor of the second moment, both with their bias corrections; epsilon.
///
/// # Errors
/// Fails if the tensors differ in shape.
pub fn adamw(
    weight: &Tensor,
    first: &Tensor,
    second: &Tensor,
    gradient: &Tensor,
    numbers: [f64; 7],
) -> Result<Option<[Tensor; 3]>> {
    let operands = [weight, first, second, gradient];
    if !is_available(&operands) {
        return Ok(None);
    }
    if operands.iter().any(|t| t.shape() != weight.shape()) {
        bail!("AdamW: a moment or the gradient has another shape than the weight, {:?}", weight.dims());
    }
    let values = weight.elem_count();
    let result = (weight.dtype(), weight.dims());
    let mut arguments = vec![Number::Whole(values)];
    arguments.extend(numbers.map(Number::Real));
    Launch::per_value("adamw", values, &operands).run([result; 3], &arguments).map(Some)
}
