//! Images: how they are asked for and what is remembered of them.

use crate::Timestamp;
use crate::id::{ImageId, ModelId, RunId};
use crate::lora::LoraUse;
use crate::problem::Problems;
use crate::train::MAX_SEED;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest prompt accepted: far above what any text tower reads (77 tokens), far below what hurts.
pub const MAX_PROMPT_BYTES: usize = 8_192;

/// How noise becomes an image. Each is diffusers' class in brackets, with the model's own scheduler settings.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Deterministic DDIM (DDIMScheduler, eta 0).
    #[default]
    Ddim,
    /// DDPM's ancestral sampling (DDPMScheduler); wants many steps.
    Ddpm,
    /// Linear multistep of fourth order (PNDMScheduler without Runge-Kutta steps): the choice of SD 1.5's authors.
    Pndm,
    /// Euler's method on the probability flow (EulerDiscreteScheduler).
    Euler,
    /// Euler's method with fresh noise in each step (EulerAncestralDiscreteScheduler).
    EulerAncestral,
    /// DPM-Solver++ of second order (DPMSolverMultistepScheduler).
    #[serde(rename = "dpmpp_2m")]
    Dpmpp2m,
    /// The same with the noise levels of Karras et al.
    #[serde(rename = "dpmpp_2m_karras")]
    Dpmpp2mKarras,
    /// Predictor and corrector of second order (UniPCMultistepScheduler).
    Unipc,
    /// For models distilled to latent consistency (LCMScheduler); others may give soft ones.
    Lcm,
}

impl Sampler {
    /// All samplers.
    pub const ALL: [Self; 9] = [
        Self::Ddim,
        Self::Ddpm,
        Self::Pndm,
        Self::Euler,
        Self::EulerAncestral,
        Self::Dpmpp2m,
        Self::Dpmpp2mKarras,
        Self::Unipc,
        Self::Lcm,
    ];

    /// The word in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Ddpm => "ddpm",
            Self::Pndm => "pndm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler_ancestral",
            Self::Dpmpp2m => "dpmpp_2m",
            Self::Dpmpp2mKarras => "dpmpp_2m_karras",
            Self::Unipc => "unipc",
            Self::Lcm => "lcm",
        }
    }

    /// The words for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Ddpm => "DDPM",
            Self::Pndm => "PNDM",
            Self::Euler => "Euler",
            Self::EulerAncestral => "Euler ancestral",
            Self::Dpmpp2m => "DPM++ 2M",
            Self::Dpmpp2mKarras => "DPM++ 2M Karras",
            Self::Unipc => "UniPC",
            Self::Lcm => "LCM (distilled models)",
        }
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Sampler {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|x| x.as_str() == s).ok_or_else(|| {
            format!("{s:?} is no sampler: use one of {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// Everything that decides an image besides the weights.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationParams {
    /// What to image.
    pub prompt: String,
    /// What to steer away from; empty for none.
    pub negative_prompt: String,
    /// Of the starting noise.
    pub seed: u64,
    /// Denoising steps.
    pub steps: u32,
    /// How far to go from the unprompted (or negative) to the prompted prediction; 1 is no guidance.
    pub guidance_scale: f64,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Which sampler.
    pub sampler: Sampler,
    /// Adapters over the model, in the order in which they were fused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<LoraUse>,
}

impl GenerationParams {
    /// Checks the parameters against what a model can do: `multiple` is the number of pixels that width and
    /// height must be divisible by, `largest` the longest side.
    ///
    /// # Errors
    /// Every field that cannot be accepted, with the remedy.
    pub fn validate(&self, multiple: u32, largest: u32) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(!self.prompt.trim().is_empty(), "prompt", "is empty: say what to image");
        for (field, text) in [("prompt", &self.prompt), ("negative_prompt", &self.negative_prompt)] {
            p.require(
                text.len() <= MAX_PROMPT_BYTES,
                field,
                format!("has {} bytes: use at most {MAX_PROMPT_BYTES}", text.len()),
            );
            p.require(!text.contains('\0'), field, "holds a NUL character: remove it");
        }
        p.require(self.seed <= MAX_SEED, "seed", format!("use 0 to {MAX_SEED}"));
        p.require((1..=1000).contains(&self.steps), "steps", "use 1 to 1000");
        p.require((0.0..=50.0).contains(&self.guidance_scale), "guidance_scale", "use a number from 0 to 50");
        LoraUse::validate(&self.lora, &mut p);
        for (field, side) in [("width", self.width), ("height", self.height)] {
            p.require(
                side >= multiple && side <= largest && side.is_multiple_of(multiple),
                field,
                format!("{side} is not a multiple of {multiple} from {multiple} to {largest}"),
            );
        }
        p.into_result()
    }
}

/// Why an image was made.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Somebody asked for it.
    Generation,
    /// To be scored and judged.
    Evaluation,
    /// To watch a run.
    Sample,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 3] = [Self::Generation, Self::Evaluation, Self::Sample];

    /// The word in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generation => "generation",
            Self::Evaluation => "evaluation",
            Self::Sample => "sample",
        }
    }
}

impl FromStr for Purpose {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|x| x.as_str() == s)
            .ok_or_else(|| format!("{s:?} is no purpose: use generation, evaluation or sample"))
    }
}

/// An image and how it came to be.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Who made it; none for a sample of a run's weights between checkpoints.
    pub model_id: Option<ModelId>,
    /// The run it belongs to, for a sample.
    pub run_id: Option<RunId>,
    /// The step of the run, for a sample.
    pub step: Option<i64>,
    /// Why it was made.
    pub purpose: Purpose,
    /// How it was made.
    pub params: GenerationParams,
    /// Where its bytes lie in the artifact store.
    pub artifact: String,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::Sampler;

    #[test]
    fn samplers_have_one_name_everywhere_and_an_unknown_one_is_told_them_all() {
        for sampler in Sampler::ALL {
            assert_eq!(serde_json::to_value(sampler).expect("a word"), sampler.as_str());
            assert_eq!(sampler.to_string().parse(), Ok(sampler));
        }
        let unknown = "heun".parse::<Sampler>().expect_err("not one of ours");
        assert!(Sampler::ALL.iter().all(|sampler| unknown.contains(sampler.as_str())), "{unknown}");
    }
}
