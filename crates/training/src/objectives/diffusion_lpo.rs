//! Diffusion-LPO (arXiv 2510.01540): the images of a ranked list, each against all that are ranked below it.

use super::loss::Loss;
use super::pairs::PairErrors;
use candle_core::{DType, Device, Result, Tensor};
use datasets::pair::ListPlace;
use domain::run::metric;

/// A comparison that is not made: e to the power of it is 0.
const NOT_COMPARED: f64 = -1e30;

/// Mean over lists of -sum over j of (s_j - log of the sum over j and all k ranked below j of e^s_k), with s = -beta/2
/// (e - e_reference): the negative log-likelihood of the ranking by Plackett and Luce. Images of equal rank are not compared
/// with each other. `places` says for each pair to which list its images belong and how they rank; without places, or for
/// a list of two, this is Diffusion-DPO.
///
/// # Errors
/// Fails if there are places, and not one for each pair.
pub fn diffusion_lpo(errors: &PairErrors, places: &[ListPlace], beta: f64) -> Result<Loss> {
    let images = ranked_images(places, errors.policy_winner.dim(0)?)?;
    let excess = Tensor::cat(&[errors.a()?, errors.b()?], 0)?;
    let dtype = excess.dtype();
    // In f64: two large rewards may differ by little.
    let rewards = (excess.to_dtype(DType::F64)? * (-0.5 * beta))?;
    let compared = |j: usize, k: usize| j == k || images[k].is_below(images[j]);
    let count = images.len();
    let masks =
        (0..count * count).map(|at| if compared(at / count, at % count) { 0.0 } else { NOT_COMPARED });
    let masks = Tensor::from_vec(masks.collect::<Vec<f64>>(), (count, count), &Device::Cpu)?;
    // s_k - s_j, (2M, 2M): j in rows. The largest of a row is at least 0, that of j with itself.
    let gaps = (rewards.unsqueeze(0)?.broadcast_sub(&rewards.unsqueeze(1)?)? + masks)?;
    let largest = gaps.detach().max_keepdim(1)?;
    let terms = (gaps.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?.log()? + largest)?;
    let lists = images.iter().map(|image| image.list).collect::<std::collections::BTreeSet<_>>().len();
    let loss = (terms.sum_all()? / lists.max(1) as f64)?.to_dtype(dtype)?;

    let mut metrics = errors.metrics(beta)?;
    let accuracy = accuracy(&rewards.to_vec1()?, &images);
    for (name, value) in &mut metrics {
        if *name == metric::REWARDS_ACCURACIES {
            *value = accuracy;
        }
    }
    Ok(Loss { loss, metrics })
}

/// The list of an image, and its rank there; 0 is the best.
#[derive(Clone, Copy)]
struct RankedImage {
    list: u32,
    rank: u32,
}

impl RankedImage {
    fn is_below(self, other: Self) -> bool {
        self.list == other.list && self.rank > other.rank
    }
}

/// The images of all winners, then of all losers.
fn ranked_images(places: &[ListPlace], pairs: usize) -> Result<Vec<RankedImage>> {
    if !places.is_empty() && places.len() != pairs {
        candle_core::bail!("{} places in lists for {pairs} pairs", places.len());
    }
    let side = |side: usize| {
        (0..pairs).map(move |pair| match places.get(pair) {
            Some(place) => RankedImage { list: place.list, rank: place.ranks[side] },
            None => RankedImage { list: pair as u32, rank: side as u32 },
        })
    };
    Ok(side(0).chain(side(1)).collect())
}

/// Share of the comparisons of an image with one ranked below it in which it has the higher reward; equal ones count half.
fn accuracy(rewards: &[f64], images: &[RankedImage]) -> f64 {
    let (mut right, mut all) = (0.0, 0.0);
    for (better, &reward) in images.iter().zip(rewards) {
        for (worse, &other) in images.iter().zip(rewards) {
            if worse.is_below(*better) {
                all += 1.0;
                right += if reward > other {
                    1.0
                } else if reward < other {
                    0.0
                } else {
                    0.5
                };
            }
        }
    }
    right / f64::max(all, 1.0)
}
