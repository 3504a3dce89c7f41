//! Which samplers there are, what they are called, and which of diffusers' classes each of them is.

use super::settings;
use crate::config::ScheduleConfig;
use std::fmt;
use std::str::FromStr;

/// Which sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// Deterministic DDIM.
    Ddim,
    /// DDPM's ancestral sampling.
    Ddpm,
    /// Pseudo linear multistep of fourth order.
    Pndm,
    /// Euler's method.
    Euler,
    /// Euler's method with fresh noise in each step.
    EulerAncestral,
    /// DPM-Solver++, second order by multistep.
    Dpmpp2m,
    /// The same with the noise levels of Karras et al.
    Dpmpp2mKarras,
    /// Predictor and corrector of second order.
    Unipc,
    /// For networks distilled to latent consistency models.
    Lcm,
}

impl SamplerKind {
    /// All of them.
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

    /// Its name.
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

    /// diffusers' class.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Ddpm => "DDPMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::Dpmpp2m | Self::Dpmpp2mKarras => "DPMSolverMultistepScheduler",
            Self::Unipc => "UniPCMultistepScheduler",
            Self::Lcm => "LCMScheduler",
        }
    }

    /// The sampler that a model's authors chose; DDIM where they name none.
    ///
    /// # Errors
    /// A class that none of ours is.
    pub fn of(config: &ScheduleConfig) -> Result<Self, String> {
        let karras = config.use_karras_sigmas == Some(true);
        match config.class_name.as_str() {
            "" => Ok(Self::Ddim),
            name if karras && name == Self::Dpmpp2mKarras.class() => Ok(Self::Dpmpp2mKarras),
            name => Self::ALL.into_iter().find(|kind| kind.class() == name).ok_or_else(|| {
                let names = Self::names();
                format!(
                    "_class_name: there is no {name}; set \"sampler\" in generation_config.json to one of {names}"
                )
            }),
        }
    }

    /// Whether it can obey a model's settings.
    ///
    /// # Errors
    /// The first that it cannot.
    pub fn check(self, config: &ScheduleConfig) -> Result<(), String> {
        settings::check(self, config)
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl FromStr for SamplerKind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == s);
        known.ok_or_else(|| format!("{s:?} is no sampler: use one of {}", Self::names()))
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
