//! Classifier-free guidance (Ho and Salimans 2022). It combines predictions before the sampler uses them.

use super::prompt::Prompt;
use crate::Result;
use candle_core::Tensor;

/// The guidance scale: how far to extrapolate from the unconditional (or negative) to the conditional prediction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guidance(pub(super) f64);

impl Guidance {
    /// Whether the unconditional prediction has any effect; otherwise it is not computed.
    pub(super) fn is_on(self) -> bool {
        (self.0 - 1.0).abs() > f64::EPSILON
    }

    /// The texts to encode: with guidance the negative prompts (`None` where there is none), then the prompts.
    pub(super) fn texts(self, batch: &[Prompt]) -> Vec<Option<&str>> {
        let negative = batch.iter().filter(|_| self.is_on()).map(|p| p.negative_prompt.as_deref());
        negative.chain(batch.iter().map(|p| Some(p.prompt.as_str()))).collect()
    }

    /// The guided prediction for latents, by one evaluation of the network on a batch with an input for each text.
    pub(super) fn predict(
        self,
        latents: &Tensor,
        network: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if !self.is_on() {
            return network(latents);
        }
        let halves = network(&Tensor::cat(&[latents, latents], 0)?)?.chunk(2, 0)?;
        Ok((&halves[0] + ((&halves[1] - &halves[0])? * self.0)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::Guidance;
    use crate::pipeline::prompt::Prompt;
    use candle_core::{Device, Tensor};

    fn batch() -> [Prompt; 2] {
        [("a", Some("b")), ("c", None)].map(|(prompt, negative)| Prompt {
            prompt: prompt.to_owned(),
            negative_prompt: negative.map(str::to_owned),
            seed: 0,
        })
    }

    /// The batch sizes that the network gets, and the result for the predictions 1 (negative) and 3 (prompt).
    fn outcome(guidance: Guidance) -> (Vec<usize>, Vec<f32>) {
        let latents = Tensor::zeros((2, 1, 1, 1), candle_core::DType::F32, &Device::Cpu).expect("latents");
        let mut batch_sizes = Vec::new();
        let prediction = guidance.predict(&latents, |input| {
            batch_sizes.push(input.dim(0)?);
            let values: &[f32] = if input.dim(0)? == 2 { &[3.0, 3.0] } else { &[1.0, 1.0, 3.0, 3.0] };
            Ok(Tensor::new(values, &Device::Cpu)?.reshape(((), 1, 1, 1))?)
        });
        let values = prediction.and_then(|p| Ok(p.flatten_all()?.to_vec1()?)).expect("a prediction");
        (batch_sizes, values)
    }

    #[test]
    fn a_scale_of_1_skips_the_negative_prompt() {
        assert_eq!(outcome(Guidance(1.0)), (vec![2], vec![3.0, 3.0]));
        assert_eq!(Guidance(1.0).texts(&batch()), [Some("a"), Some("c")]);
    }

    #[test]
    fn other_scales_extrapolate_from_the_negative_prompt() {
        assert_eq!(outcome(Guidance(4.0)), (vec![4], vec![9.0, 9.0]));
        assert_eq!(outcome(Guidance(0.0)), (vec![4], vec![1.0, 1.0]));
        assert_eq!(Guidance(4.0).texts(&batch()), [Some("b"), None, Some("a"), Some("c")]);
    }
}
