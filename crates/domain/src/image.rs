//! Images: the parameters that generate one, and the record of each.

use crate::Timestamp;
use crate::id::{ImageId, ModelId, RunId};
use crate::limits::{MAX_DENOISING_STEPS, MAX_GUIDANCE_SCALE, MAX_PROMPT_BYTES, MAX_SEED};
use crate::lora::LoraUse;
use crate::problem::Problems;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The method that turns noise into an image. Each equals the diffusers class in brackets, with the settings of the
/// model's own `scheduler_config.json`.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// DDIM without added noise (DDIMScheduler, eta 0).
    #[default]
    Ddim,
    /// DDPM's ancestral sampling (DDPMScheduler). Needs many steps.
    Ddpm,
    /// Linear multistep method of fourth order (PNDMScheduler without Runge-Kutta steps), the default of SD 1.5.
    Pndm,
    /// Euler's method on the probability flow (EulerDiscreteScheduler).
    Euler,
    /// Euler's method with fresh noise in each step (EulerAncestralDiscreteScheduler).
    EulerAncestral,
    /// DPM-Solver++ of second order (DPMSolverMultistepScheduler).
    #[serde(rename = "dpmpp_2m")]
    Dpmpp2m,
    /// DPM-Solver++ of second order with the noise levels of Karras et al.
    #[serde(rename = "dpmpp_2m_karras")]
    Dpmpp2mKarras,
    /// Predictor-corrector of second order (UniPCMultistepScheduler).
    Unipc,
    /// Latent consistency sampling (LCMScheduler), for models distilled for it. Other models give blurred images.
    Lcm,
}

impl Sampler {
    /// All samplers, in the order of menus.
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

    /// The value in bodies and columns.
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

    /// The name on pages.
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
            format!("{s:?} is not a sampler: use one of {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

/// Everything besides the weights that determines an image.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationParams {
    /// What the image shall show.
    pub prompt: String,
    /// What the image shall not show; empty for none.
    pub negative_prompt: String,
    /// Seed of the starting noise, 0 to 2^53 - 1.
    pub seed: u64,
    /// Denoising steps, 1 to 1000.
    pub steps: u32,
    /// Weight of the prompt over the unconditional (or negative) prediction, 0 to 50; 1 is no guidance.
    pub guidance_scale: f64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The sampler.
    pub sampler: Sampler,
    /// LoRA adapters, in the order in which they are fused into the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<LoraUse>,
}

impl GenerationParams {
    /// Checks the parameters for a model whose width and height must be multiples of `multiple` pixels and at most
    /// `largest`.
    ///
    /// # Errors
    /// Returns every field that is out of range.
    pub fn validate(&self, multiple: u32, largest: u32) -> Result<(), Problems> {
        let mut p = Problems::default();
        p.require(!self.prompt.trim().is_empty(), "prompt", "is empty: describe the image");
        for (field, text) in [("prompt", &self.prompt), ("negative_prompt", &self.negative_prompt)] {
            p.require(
                text.len() <= MAX_PROMPT_BYTES,
                field,
                format!("has {} bytes: use at most {MAX_PROMPT_BYTES}", text.len()),
            );
            p.require(!text.contains('\0'), field, "contains a NUL character: remove it");
        }
        p.require(self.seed <= MAX_SEED, "seed", format!("use 0 to {MAX_SEED}"));
        p.require(
            (1..=MAX_DENOISING_STEPS).contains(&self.steps),
            "steps",
            format!("use 1 to {MAX_DENOISING_STEPS}"),
        );
        p.require(
            (0.0..=MAX_GUIDANCE_SCALE).contains(&self.guidance_scale),
            "guidance_scale",
            format!("use a number from 0 to {MAX_GUIDANCE_SCALE}"),
        );
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
    /// Requested by a user.
    Generation,
    /// To be scored by metrics and judged by raters.
    Evaluation,
    /// To show the progress of a run.
    Sample,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 3] = [Self::Generation, Self::Evaluation, Self::Sample];

    /// The value in bodies and columns.
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
            .ok_or_else(|| format!("{s:?} is not a purpose: use generation, evaluation or sample"))
    }
}

/// The record of an image.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Id of the image.
    pub id: ImageId,
    /// The model that generated it; none for samples, whose weights are not kept as a model.
    pub model_id: Option<ModelId>,
    /// The run that it is a sample of.
    pub run_id: Option<RunId>,
    /// The step of the run, for a sample.
    pub step: Option<i64>,
    /// Why it was made.
    pub purpose: Purpose,
    /// The parameters that it was generated with.
    pub params: GenerationParams,
    /// Key of its PNG in the artifact store.
    pub artifact: String,
    /// When it was generated.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub created_at: Timestamp,
}

/// Adds a problem for each optional sampling setting that is out of range. `prefix` precedes the names of the fields.
pub(crate) fn validate_sampling(
    steps: Option<u32>,
    guidance_scale: Option<f64>,
    prefix: &str,
    p: &mut Problems,
) {
    p.require(
        steps.is_none_or(|steps| (1..=MAX_DENOISING_STEPS).contains(&steps)),
        format!("{prefix}steps"),
        format!("use 1 to {MAX_DENOISING_STEPS}"),
    );
    p.require(
        guidance_scale.is_none_or(|scale| (0.0..=MAX_GUIDANCE_SCALE).contains(&scale)),
        format!("{prefix}guidance_scale"),
        format!("use 0 to {MAX_GUIDANCE_SCALE}"),
    );
}

#[cfg(test)]
mod tests {
    use super::Sampler;

    #[test]
    fn a_sampler_has_one_name_in_json_and_text_and_an_unknown_name_lists_them() {
        for sampler in Sampler::ALL {
            assert_eq!(serde_json::to_value(sampler).expect("JSON"), sampler.as_str());
            assert_eq!(sampler.to_string().parse(), Ok(sampler));
        }
        let unknown = "heun".parse::<Sampler>().expect_err("not a sampler");
        assert!(Sampler::ALL.iter().all(|sampler| unknown.contains(sampler.as_str())), "{unknown}");
    }
}
