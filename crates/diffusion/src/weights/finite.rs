//! Checks that values are finite.

use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// Whether every value is finite.
///
/// # Errors
/// Fails if the device does.
pub fn is_finite(tensor: &Tensor) -> Result<bool> {
    // 0 times a value is 0 if the value is finite, otherwise NaN. So the sum cannot overflow.
    let zeros = (tensor.detach().flatten_all()?.to_dtype(DType::F32)? * 0.0)?;
    Ok(zeros.sum_all()?.to_scalar::<f32>()? == 0.0)
}

/// Refuses a tensor of a file that has a value that is not finite.
///
/// # Errors
/// Names the file and the tensor.
pub fn refuse_not_finite(origin: &str, name: &str, tensor: &Tensor) -> Result<()> {
    if is_finite(tensor)? {
        return Ok(());
    }
    Err(Error::tensor(
        origin,
        name,
        "has values that are not finite (NaN or infinite): its training diverged or the file is damaged; take an earlier \
         checkpoint or download it again",
    ))
}
