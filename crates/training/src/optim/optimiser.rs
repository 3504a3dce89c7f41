//! The optimiser of a spec, and what all have in common: the mean over micro-batches and the clipping.

use super::Gradients;
use super::adafactor::{Adafactor, Settings};
use super::adamw::AdamW;
use anyhow::{Result, ensure};
use candle_core::Tensor;
use diffusion::weights::Variables;
use domain::train::OptimizerSpec;
use std::collections::BTreeMap;

/// Moves weights, and holds the state it needs to.
#[derive(Debug)]
pub struct Optimiser {
    max_grad_norm: f64,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    AdamW(AdamW),
    Adafactor(Adafactor),
}

impl Optimiser {
    /// A fresh state for these parameters.
    ///
    /// # Errors
    /// candle's.
    pub fn new(spec: &OptimizerSpec, variables: &Variables) -> Result<Self> {
        let rule = match *spec {
            OptimizerSpec::AdamW { beta1, beta2, epsilon, weight_decay, moments, .. } => {
                Rule::AdamW(AdamW::new([beta1, beta2], epsilon, weight_decay, moments, variables)?)
            }
            OptimizerSpec::Adafactor { clip_threshold, decay_rate, beta1, epsilon, weight_decay, .. } => {
                let settings = Settings { clip_threshold, decay_rate, beta1, epsilon, weight_decay };
                Rule::Adafactor(Adafactor::new(settings, variables)?)
            }
        };
        Ok(Self { max_grad_norm: spec.max_grad_norm(), rule })
    }

    /// One update at learning rate `rate`, of the mean of `parts` summed gradients, clipped to the largest norm.
    /// Returns the norm before clipping.
    ///
    /// # Errors
    /// A parameter without a gradient; a norm that is not finite (nothing is changed then).
    pub fn update(
        &mut self,
        variables: &Variables,
        gradients: &Gradients,
        parts: u32,
        rate: f64,
    ) -> Result<f64> {
        let norm = self.update_if_finite(variables, gradients, f64::from(parts), rate)?;
        ensure!(norm.is_finite(), "the gradient is not finite (norm {norm})");
        Ok(norm)
    }

    /// As [`Optimiser::update`], of summed gradients divided by `divisor`. Where their norm is not finite, nothing is
    /// changed.
    ///
    /// # Errors
    /// A parameter without a gradient.
    pub fn update_if_finite(
        &mut self,
        variables: &Variables,
        gradients: &Gradients,
        divisor: f64,
        rate: f64,
    ) -> Result<f64> {
        let mean = 1.0 / divisor;
        let norm = gradients.norm()? * mean;
        if !norm.is_finite() {
            return Ok(norm);
        }
        let too_long = self.max_grad_norm > 0.0 && norm > self.max_grad_norm;
        let scale = if too_long { mean * self.max_grad_norm / norm } else { mean };
        match &mut self.rule {
            Rule::AdamW(rule) => rule.update(variables, gradients, scale, rate)?,
            Rule::Adafactor(rule) => rule.update(variables, gradients, scale, rate)?,
        }
        Ok(norm)
    }

    /// The state as tensors to save.
    ///
    /// # Errors
    /// candle's.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        match &self.rule {
            Rule::AdamW(rule) => rule.state(),
            Rule::Adafactor(rule) => rule.state(),
        }
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// A part of the state that is missing or has another size.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        match &mut self.rule {
            Rule::AdamW(rule) => rule.restore(state),
            Rule::Adafactor(rule) => rule.restore(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Optimiser;
    use crate::optim::Gradients;
    use candle_core::{Device, Tensor, Var};
    use diffusion::weights::Variables;
    use domain::train::OptimizerSpec;

    fn gradients(w: &Var, variables: &Variables) -> Gradients {
        let mut gradients = Gradients::default();
        let loss = (w.sqr().expect("square") * 0.5).and_then(|s| s.sum_all()).expect("loss");
        gradients.add(&loss.backward().expect("backward"), variables).expect("gradients");
        gradients
    }

    fn goes_on_from_its_saved_state(spec: &OptimizerSpec) {
        let start = Tensor::new(&[[30f32, 40.0], [0.0, 0.0]], &Device::Cpu).expect("tensor");
        let w = Var::from_tensor(&start).expect("var");
        let variables = Variables::from([("w".to_owned(), w.clone())]);
        let mut a = Optimiser::new(spec, &variables).expect("state");
        let norm = a.update(&variables, &gradients(&w, &variables), 1, 0.1).expect("update");
        assert!((norm - 50.0).abs() < 1e-4);
        let mut b = Optimiser::new(spec, &variables).expect("state");
        b.restore(&a.state().expect("state")).expect("restored");
        let before = w.as_detached_tensor().copy().expect("copy");
        a.update(&variables, &gradients(&w, &variables), 1, 0.1).expect("update");
        let after_a = w.to_vec2::<f32>().expect("values");
        w.set(&before).expect("reset");
        b.update(&variables, &gradients(&w, &variables), 1, 0.1).expect("update");
        assert_eq!(after_a, w.to_vec2::<f32>().expect("values"));
    }

    #[test]
    fn adamw_goes_on_from_its_saved_state() {
        goes_on_from_its_saved_state(&OptimizerSpec::default());
    }

    #[test]
    fn adafactor_goes_on_from_its_saved_state() {
        let spec =
            |more: &str| serde_json::from_str(&format!("{{\"kind\": \"adafactor\"{more}}}")).expect("a spec");
        goes_on_from_its_saved_state(&spec(""));
        goes_on_from_its_saved_state(&spec(", \"beta1\": 0.9"));
    }

    /// A gradient that is not finite moves nothing.
    #[test]
    fn infinite_gradients_are_refused() {
        let start = Tensor::new(&[f32::MAX, f32::MAX], &Device::Cpu).expect("tensor");
        let w = Var::from_tensor(&start).expect("var");
        let variables = Variables::from([("w".to_owned(), w.clone())]);
        let mut optimiser = Optimiser::new(&OptimizerSpec::default(), &variables).expect("state");
        let mut gradients = Gradients::default();
        let loss = w.sqr().and_then(|s| s.sqr()).and_then(|s| s.sum_all()).expect("loss");
        gradients.add(&loss.backward().expect("backward"), &variables).expect("gradients");
        let error = optimiser.update(&variables, &gradients, 1, 0.1).expect_err("infinite");
        assert!(error.to_string().contains("not finite"), "{error}");
        assert_eq!(w.to_vec1::<f32>().expect("values"), [f32::MAX, f32::MAX]);
    }
}
