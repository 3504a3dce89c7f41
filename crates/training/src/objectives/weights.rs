//! The weights W of Diff-contrast: how similar each winner is to each loser, by CLIP.

use candle_core::{D, DType, Result, Tensor};
use domain::train::Embedding;

/// CLIP features of the M pairs of a micro-batch, (M, width) each, on the CPU. Any length: the weights normalise them.
#[derive(Clone, Debug)]
pub struct ClipFeatures {
    /// Of the winners' images.
    pub winner: Tensor,
    /// Of the losers' images.
    pub loser: Tensor,
    /// Of the captions.
    pub text: Tensor,
}

/// W (Diff-contrast paper, Eq. 3; docs/method.md): W_ij is the softmax over losers j of cos(f(winner i, caption i),
/// f(loser j, caption j)) / tau, where `embedding` says what f takes from image and caption.
///
/// Returns (M, M) in f32, detached. Rows sum to 1.
///
/// # Errors
/// Fails if the shapes do not match.
pub fn contrast_weights(features: &ClipFeatures, embedding: Embedding, tau: f64) -> Result<Tensor> {
    let ClipFeatures { winner, loser, text } = features;
    softmax_of_cosines(&combine(winner, text, embedding)?, &combine(loser, text, embedding)?, tau)
}

/// W of given f(winner i, caption i) and f(loser j, caption j): (M, width) each, of any length, in f32 or f64. A vector
/// of length 0 has cosine 0 with every other.
///
/// # Errors
/// Fails if the shapes do not match.
pub fn softmax_of_cosines(winner: &Tensor, loser: &Tensor, tau: f64) -> Result<Tensor> {
    let scores = (normalised(winner)?.matmul(&normalised(loser)?.t()?)? * (1.0 / tau))?;
    // Without subtracting the row's maximum, small tau leaves the range of f32: exp(-1 / 0.01) is a denormal.
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    Ok(shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)?.detach())
}

/// f(image, caption), (M, width), of length 1.
fn combine(image: &Tensor, text: &Tensor, embedding: Embedding) -> Result<Tensor> {
    let (image, text) = (normalised(image)?, normalised(text)?);
    match embedding {
        Embedding::Concat => normalised(&Tensor::cat(&[image, text], 1)?),
        // They differ by a factor, which the cosine cancels.
        Embedding::Sum => normalised(&(image + text)?),
        Embedding::ImageOnly => Ok(image),
        Embedding::TextOnly => Ok(text),
    }
}

/// Rows of length 1; rows of zeros stay zero.
fn normalised(x: &Tensor) -> Result<Tensor> {
    let x = if x.dtype() == DType::F64 { x.clone() } else { x.to_dtype(DType::F32)? };
    // Dividing by the largest magnitude first keeps the squares of small embeddings from underflowing.
    let largest = x.abs()?.max_keepdim(D::Minus1)?.maximum(f64::from(f32::MIN_POSITIVE))?;
    let x = x.broadcast_div(&largest)?;
    let length = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(f64::from(f32::MIN_POSITIVE))?;
    x.broadcast_div(&length)
}
