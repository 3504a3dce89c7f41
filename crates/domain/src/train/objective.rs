//! What a training run minimises.
//!
//! e(k) is the denoising error of image k: the squared error of the predicted noise, averaged over channels and
//! pixels. For M pairs of a winner and a loser, with errors of the policy and of the frozen reference:
//!
//! - a_i = e_policy(winner_i) - e_reference(winner_i), b_j = e_policy(loser_j) - e_reference(loser_j)
//! - logit_ij = -beta / 2 * (a_i - b_j)
//! - W = softmax over j of cos(f(winner_i), f(loser_j)) / tau, with f the CLIP features chosen by [`Embedding`]

use crate::problem::Problems;
use serde::{Deserialize, Serialize};

/// What is minimised.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(
    example = json!({ "kind": "diff_contrast", "beta": 2000.0, "tau": 0.1, "embedding": "concat" })
))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Objective {
    /// Pre-training: the denoising error of every image. The only objective that accepts a set without pairs.
    Denoise {
        /// Weights each timestep by its clamped signal-to-noise ratio; every timestep counts alike when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snr_clamp: Option<SnrClamp>,
    },
    /// Supervised fine-tuning: the denoising error of the winners; losers are not used.
    Sft {},
    /// Diffusion-DPO: each winner against its own loser, the mean over i of -log sigmoid(logit_ii).
    DiffusionDpo {
        /// Strength of the preference per unit of error, greater than 0. A larger beta saturates the log-sigmoid at
        /// smaller differences from the reference, so that the policy stays closer to it. The paper uses 2000 to
        /// 5000.
        #[cfg_attr(feature = "openapi", schema(example = 2000.0, exclusive_minimum = 0))]
        beta: f64,
    },
    /// Diffusion-LPO (arXiv 2510.01540): each image of a ranked list against all that are ranked below it, the mean over lists of the
    /// sum over j of log(sum over k of e^(s_k - s_j)), with k = j and the images ranked below j, and s = -beta / 2 times the excess
    /// error of the policy. The images of a list share a micro-batch, a timestep and noise. On pairs this is Diffusion-DPO.
    DiffusionLpo {
        /// Strength of the preference per unit of error, as for `diffusion_dpo`.
        #[cfg_attr(feature = "openapi", schema(example = 2000.0, exclusive_minimum = 0))]
        beta: f64,
    },
    /// Diff-contrast: every winner against every loser of the micro-batch, weighted by CLIP similarity outside the
    /// log-sigmoid: the mean over i of the sum over j of -W_ij log sigmoid(logit_ij) (Diff-contrast paper, Eq. 9).
    DiffContrast {
        /// Strength of the preference per unit of error, as for `diffusion_dpo`.
        #[cfg_attr(feature = "openapi", schema(example = 2000.0, exclusive_minimum = 0))]
        beta: f64,
        /// Temperature of the weights W, greater than 0. Towards 0 only each winner's own loser counts, which is
        /// Diffusion-DPO; towards infinity all losers count alike. The paper uses 0.01 to 5.
        #[cfg_attr(feature = "openapi", schema(example = 0.1, exclusive_minimum = 0))]
        tau: f64,
        /// Which CLIP features the similarity compares.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(default = Embedding::default))]
        embedding: Embedding,
    },
    /// RPO weighting: the same weights inside the log-sigmoid, the mean over i and j of -log sigmoid(W_ij logit_ij)
    /// (Diff-contrast paper, Eq. 15).
    Rpo {
        /// Strength of the preference per unit of error, as for `diffusion_dpo`.
        #[cfg_attr(feature = "openapi", schema(example = 2000.0, exclusive_minimum = 0))]
        beta: f64,
        /// Temperature of the weights W, as for `diff_contrast`.
        #[cfg_attr(feature = "openapi", schema(example = 0.1, exclusive_minimum = 0))]
        tau: f64,
        /// Which CLIP features the similarity compares.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(default = Embedding::default))]
        embedding: Embedding,
    },
}

/// How an objective weights the pairs (winner i, loser j) of a micro-batch: by CLIP similarity at a temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighting {
    /// Temperature of the softmax over losers.
    pub tau: f64,
    /// Which CLIP features are compared.
    pub embedding: Embedding,
}

impl Objective {
    /// The values of `kind`.
    pub const KINDS: [&'static str; 6] =
        ["denoise", "sft", "diffusion_dpo", "diffusion_lpo", "diff_contrast", "rpo"];

    /// The value of `kind` in specs, and of the `objective` column of a model.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Denoise { .. } => "denoise",
            Self::Sft {} => "sft",
            Self::DiffusionDpo { .. } => "diffusion_dpo",
            Self::DiffusionLpo { .. } => "diffusion_lpo",
            Self::DiffContrast { .. } => "diff_contrast",
            Self::Rpo { .. } => "rpo",
        }
    }

    /// Beta of an objective that compares winners with losers; none for the others.
    #[must_use]
    pub fn beta(&self) -> Option<f64> {
        match *self {
            Self::Denoise { .. } | Self::Sft {} => None,
            Self::DiffusionDpo { beta }
            | Self::DiffusionLpo { beta }
            | Self::DiffContrast { beta, .. }
            | Self::Rpo { beta, .. } => Some(beta),
        }
    }

    /// The CLIP weighting of an objective that has one. Some means: training needs CLIP features of every pair.
    #[must_use]
    pub fn weighting(&self) -> Option<Weighting> {
        match *self {
            Self::Denoise { .. } | Self::Sft {} | Self::DiffusionDpo { .. } | Self::DiffusionLpo { .. } => {
                None
            }
            Self::DiffContrast { tau, embedding, .. } | Self::Rpo { tau, embedding, .. } => {
                Some(Weighting { tau, embedding })
            }
        }
    }

    /// Whether it compares winners with losers, and so needs pairs and a reference.
    #[must_use]
    pub fn is_preference(&self) -> bool {
        self.beta().is_some()
    }

    pub(super) fn validate(&self, p: &mut Problems) {
        if let Self::Denoise { snr_clamp: Some(SnrClamp { min, max }) } = self {
            p.require(
                min.is_finite() && max.is_finite() && *min >= 0.0 && max > min,
                "objective.snr_clamp",
                "use 0 <= min < max",
            );
        }
        if let Some(beta) = self.beta() {
            p.require_positive(beta, "objective.beta");
        }
        if let Some(Weighting { tau, .. }) = self.weighting() {
            p.require_positive(tau, "objective.tau");
        }
    }
}

/// Weights the squared error of timestep t by clamp(SNR(t), min, max), converted to the space of the prediction and
/// scaled to a mean of 1 over all timesteps.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnrClamp {
    /// Smallest signal-to-noise ratio, 0 or more. Raising it gives the noisiest timesteps more weight.
    pub min: f64,
    /// Largest signal-to-noise ratio, the gamma of min-SNR; 5 is usual. Lowering it gives timesteps with little noise
    /// less weight.
    pub max: f64,
}

/// Which CLIP features the similarity of a winner and a loser compares. Image and text features are L2-normalised
/// first.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Embedding {
    /// Image and text features concatenated: the similarity is the mean of the image's and the text's.
    #[default]
    Concat,
    /// The sum of image and text features. `mean` is read as `sum`: the cosine does not depend on a common factor.
    #[serde(alias = "mean")]
    Sum,
    /// Image features only.
    ImageOnly,
    /// Text features only.
    TextOnly,
}

#[cfg(test)]
mod tests {
    use super::{Embedding, Objective, Weighting};

    #[test]
    fn only_diff_contrast_and_rpo_weight_by_clip_similarity() {
        let read = |json: &str| serde_json::from_str::<Objective>(json).expect("an objective");
        let contrast = read(r#"{"kind":"diff_contrast","beta":2000,"tau":0.1}"#);
        let weighting = Weighting { tau: 0.1, embedding: Embedding::Concat };
        assert_eq!((contrast.beta(), contrast.weighting()), (Some(2000.0), Some(weighting)));
        let rpo = read(r#"{"kind":"rpo","beta":5000,"tau":0.5,"embedding":"image_only"}"#);
        let weighting = Weighting { tau: 0.5, embedding: Embedding::ImageOnly };
        assert_eq!((rpo.beta(), rpo.weighting()), (Some(5000.0), Some(weighting)));
        let dpo = read(r#"{"kind":"diffusion_dpo","beta":1}"#);
        assert_eq!((dpo.is_preference(), dpo.weighting()), (true, None));
        for json in [r#"{"kind":"sft"}"#, r#"{"kind":"denoise"}"#] {
            let objective = read(json);
            assert_eq!((objective.is_preference(), objective.weighting()), (false, None), "{json}");
        }
    }

    #[test]
    fn mean_is_read_as_sum() {
        for word in ["\"sum\"", "\"mean\""] {
            let embedding: Embedding = serde_json::from_str(word).expect("an embedding");
            assert_eq!(serde_json::to_string(&embedding).expect("text"), "\"sum\"");
        }
    }
}
