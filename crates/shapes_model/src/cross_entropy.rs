//! Cross-entropy, of classes and of distributions.

use anyhow::Result;
use candle_core::{D, Tensor};

/// log softmax over the last dimension.
pub(super) fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&total)?)
}

/// Mean of -log softmax at the right class over the rows that have one. `logits`: (rows, classes).
pub(super) fn of_classes(logits: &Tensor, classes: &[Option<u32>]) -> Result<Tensor> {
    let (rows, right): (Vec<u32>, Vec<u32>) =
        classes.iter().enumerate().filter_map(|(i, c)| c.map(|c| (i as u32, c))).unzip();
    let count = rows.len();
    if count == 0 {
        return Ok((logits.sum_all()? * 0.0)?);
    }
    let device = logits.device();
    let logs = log_softmax(&logits.index_select(&Tensor::from_vec(rows, count, device)?, 0)?)?;
    let right = Tensor::from_vec(right, (count, 1), device)?;
    Ok(logs.gather(&right, 1)?.mean_all()?.neg()?)
}

/// Mean over rows of the cross-entropy with a distribution. Both (rows, classes).
pub(super) fn of_distributions(logits: &Tensor, right: &Tensor) -> Result<Tensor> {
    Ok((log_softmax(logits)? * right)?.sum(D::Minus1)?.mean_all()?.neg()?)
}
