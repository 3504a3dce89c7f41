//! The families of published models that single files belong to.

/// The published model whose structure a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x: one CLIP text tower under transformers' names.
    StableDiffusion1,
    /// Stable Diffusion 2.x: one OpenCLIP text tower.
    StableDiffusion2,
    /// SDXL: a CLIP text tower and an OpenCLIP text tower.
    StableDiffusionXl,
}

impl Family {
    /// The name of the family in messages.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::StableDiffusion1 => "Stable Diffusion 1",
            Self::StableDiffusion2 => "Stable Diffusion 2",
            Self::StableDiffusionXl => "Stable Diffusion XL",
        }
    }
}
