//! Cross-entropy with class indices and with distributions.

use anyhow::Result;
use candle_core::{D, Tensor};

fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&total)?)
}

/// Mean cross-entropy over the rows that have a class; 0 if none has. `logits`: (rows, classes).
pub(super) fn of_classes(logits: &Tensor, classes: &[Option<u32>]) -> Result<Tensor> {
    let (rows, targets): (Vec<u32>, Vec<u32>) =
        classes.iter().enumerate().filter_map(|(i, c)| c.map(|c| (i as u32, c))).unzip();
    let count = rows.len();
    if count == 0 {
        return Ok((logits.sum_all()? * 0.0)?);
    }
    let device = logits.device();
    let logs = log_softmax(&logits.index_select(&Tensor::from_vec(rows, count, device)?, 0)?)?;
    let targets = Tensor::from_vec(targets, (count, 1), device)?;
    Ok(logs.gather(&targets, 1)?.mean_all()?.neg()?)
}

/// Mean cross-entropy over all rows, each with a target distribution. Both tensors: (rows, classes).
pub(super) fn of_distributions(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    Ok((log_softmax(logits)? * targets)?.sum(D::Minus1)?.mean_all()?.neg()?)
}
