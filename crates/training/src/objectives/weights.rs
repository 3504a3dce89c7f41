//! The weights of Diff-contrast: how similar each winner is to each loser, by CLIP.

use candle_core::{D, DType, Result, Tensor};
use domain::train::Embedding;

/// W (Eq. 3): softmax over losers j of cos(f(w_i, x_i), f(l_j, x_j)) / tau, in f32, with the row's maximum
/// subtracted (exp(-d / 0.01) underflows f32 otherwise), without gradient.
///
/// `image_winner`, `image_loser`, `text`: (M, width), L2-normalised. Returns (M, M).
///
/// # Errors
/// Shapes that do not fit.
pub fn contrast_weights(
    image_winner: &Tensor,
    image_loser: &Tensor,
    text: &Tensor,
    embedding: Embedding,
    tau: f64,
) -> Result<Tensor> {
    softmax_of_cosines(&combine(image_winner, text, embedding)?, &combine(image_loser, text, embedding)?, tau)
}

/// W of f(w_i, x_i) and f(l_j, x_j) themselves, (M, width) of any length, in f32 or f64. A vector of length 0 has
/// cosine 0 with every other.
///
/// # Errors
/// Shapes that do not fit.
pub fn softmax_of_cosines(winner: &Tensor, loser: &Tensor, tau: f64) -> Result<Tensor> {
    let scores = (normalised(winner)?.matmul(&normalised(loser)?.t()?)? * (1.0 / tau))?;
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    Ok(shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?.detach())
}

/// f(image, prompt), of length 1.
fn combine(image: &Tensor, text: &Tensor, embedding: Embedding) -> Result<Tensor> {
    let (image, text) = (normalised(image)?, normalised(text)?);
    match embedding {
        Embedding::Concat => normalised(&Tensor::cat(&[image, text], 1)?),
        Embedding::Sum => normalised(&(image + text)?),
        Embedding::ImageOnly => Ok(image),
        Embedding::TextOnly => Ok(text),
    }
}

fn normalised(x: &Tensor) -> Result<Tensor> {
    let x = if x.dtype() == DType::F64 { x.clone() } else { x.to_dtype(DType::F32)? };
    // Divided by the largest value first: squares of small embeddings underflow.
    let largest = x.abs()?.max_keepdim(D::Minus1)?.maximum(f64::from(f32::MIN_POSITIVE))?;
    let x = x.broadcast_div(&largest)?;
    let length = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(f64::from(f32::MIN_POSITIVE))?;
    x.broadcast_div(&length)
}
