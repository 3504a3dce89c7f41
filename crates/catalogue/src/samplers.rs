//! Samplers as `domain` names them and as `diffusion` implements them. The two crates do not depend on each other;
//! the exhaustive matches here fail to compile if one of them lacks a sampler of the other.

use diffusion::sampler::SamplerKind;
use domain::image::Sampler;

/// The implementation of a sampler.
#[must_use]
pub fn kind(sampler: Sampler) -> SamplerKind {
    match sampler {
        Sampler::Ddim => SamplerKind::Ddim,
        Sampler::Ddpm => SamplerKind::Ddpm,
        Sampler::Pndm => SamplerKind::Pndm,
        Sampler::Euler => SamplerKind::Euler,
        Sampler::EulerAncestral => SamplerKind::EulerAncestral,
        Sampler::Dpmpp2m => SamplerKind::Dpmpp2m,
        Sampler::Dpmpp2mKarras => SamplerKind::Dpmpp2mKarras,
        Sampler::Unipc => SamplerKind::Unipc,
        Sampler::Lcm => SamplerKind::Lcm,
    }
}

/// The name of an implementation.
#[must_use]
pub fn name(kind: SamplerKind) -> Sampler {
    match kind {
        SamplerKind::Ddim => Sampler::Ddim,
        SamplerKind::Ddpm => Sampler::Ddpm,
        SamplerKind::Pndm => Sampler::Pndm,
        SamplerKind::Euler => Sampler::Euler,
        SamplerKind::EulerAncestral => Sampler::EulerAncestral,
        SamplerKind::Dpmpp2m => Sampler::Dpmpp2m,
        SamplerKind::Dpmpp2mKarras => Sampler::Dpmpp2mKarras,
        SamplerKind::Unipc => Sampler::Unipc,
        SamplerKind::Lcm => Sampler::Lcm,
    }
}

#[cfg(test)]
mod tests {
    use super::{kind, name};
    use diffusion::sampler::SamplerKind;
    use domain::image::Sampler;

    #[test]
    fn both_crates_use_the_same_names() {
        for sampler in Sampler::ALL {
            assert_eq!(kind(sampler).as_str(), sampler.as_str());
            assert_eq!(name(kind(sampler)), sampler);
        }
        assert_eq!(Sampler::ALL.map(kind), SamplerKind::ALL);
    }
}
