//! The samplers, with their names and the diffusers classes that they implement.

use crate::config::ScheduleConfig;
use std::fmt;
use std::str::FromStr;

/// A kind of sampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SamplerKind {
    /// Deterministic DDIM.
    Ddim,
    /// Ancestral sampling of DDPM.
    Ddpm,
    /// The fourth-order pseudo linear multistep method.
    Pndm,
    /// Euler's method.
    Euler,
    /// Euler's method with added noise in each step.
    EulerAncestral,
    /// The second-order multistep DPM-Solver++.
    Dpmpp2m,
    /// The second-order multistep DPM-Solver++ with the noise levels of Karras et al. (2022).
    Dpmpp2mKarras,
    /// The second-order predictor-corrector UniPC.
    Unipc,
    /// Multistep sampling of latent consistency models.
    Lcm,
}

impl SamplerKind {
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

    /// The name in specs and requests.
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

    /// The name of the diffusers class.
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

    /// The sampler that a model's scheduler config names; DDIM if it names none.
    ///
    /// # Errors
    /// Fails if no sampler implements the class.
    pub fn of(config: &ScheduleConfig) -> Result<Self, String> {
        let karras = config.use_karras_sigmas == Some(true);
        match config.class_name.as_str() {
            "" => Ok(Self::Ddim),
            name if karras && name == Self::Dpmpp2mKarras.class() => Ok(Self::Dpmpp2mKarras),
            name => Self::ALL.into_iter().find(|kind| kind.class() == name).ok_or_else(|| {
                format!("_class_name: there is no sampler for {name}: choose {}", Self::choice(config))
            }),
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl FromStr for SamplerKind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == s);
        known.ok_or_else(|| format!("unknown sampler {s:?}: use one of {}", Self::names()))
    }
}

impl fmt::Display for SamplerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
