//! The optimiser of a spec. Averaging over micro-batches and gradient clipping are common to all.

use super::adafactor::{Adafactor, Settings};
use super::adamw::AdamW;
use super::gradients::Gradients;
use anyhow::{Result, ensure};
use candle_core::Tensor;
use diffusion::weights::Variables;
use domain::train::OptimizerSpec;
use std::collections::BTreeMap;

/// An optimiser with its state.
#[derive(Debug)]
pub struct Optimiser {
    /// 0: no clipping.
    max_grad_norm: f64,
    rule: Rule,
}

/// The update rule, with its moments.
#[derive(Debug)]
enum Rule {
    AdamW(AdamW),
    Adafactor(Adafactor),
}

impl Optimiser {
    /// A new optimiser with moments of zero for `variables`.
    ///
    /// # Errors
    /// Fails if the moments do not fit in memory.
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

    /// One update at learning rate `rate`. `gradients` is the sum of `parts` micro-batches; their mean is clipped to
    /// `max_grad_norm`. Returns the norm of the mean before clipping.
    ///
    /// # Errors
    /// Fails if a parameter has no gradient, or if the norm is not finite; in the second case nothing is changed.
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

    /// As [`Optimiser::update`], with gradients divided by `divisor`: the number of micro-batches times the loss scale.
    /// If the norm is not finite, it is returned and nothing is changed.
    ///
    /// # Errors
    /// Fails if a parameter has no gradient.
    pub(crate) fn update_if_finite(
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
        let clips = self.max_grad_norm > 0.0 && norm > self.max_grad_norm;
        let scale = if clips { mean * self.max_grad_norm / norm } else { mean };
        match &mut self.rule {
            Rule::AdamW(rule) => rule.update(variables, gradients, scale, rate)?,
            Rule::Adafactor(rule) => rule.update(variables, gradients, scale, rate)?,
        }
        Ok(norm)
    }

    /// The moments and the number of updates, as tensors to save.
    ///
    /// # Errors
    /// Fails if a tensor operation does.
    pub(crate) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        match &self.rule {
            Rule::AdamW(rule) => rule.state(),
            Rule::Adafactor(rule) => rule.state(),
        }
    }

    /// Restores what [`Optimiser::state`] gave.
    ///
    /// # Errors
    /// Fails if a tensor is missing or has another size.
    pub(crate) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
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

    fn resumes_from_its_saved_state(spec: &OptimizerSpec) {
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
    fn adamw_resumes_from_its_saved_state() {
        resumes_from_its_saved_state(&OptimizerSpec::default());
    }

    #[test]
    fn adafactor_resumes_from_its_saved_state() {
        let spec =
            |more: &str| serde_json::from_str(&format!("{{\"kind\": \"adafactor\"{more}}}")).expect("a spec");
        resumes_from_its_saved_state(&spec(""));
        resumes_from_its_saved_state(&spec(", \"beta1\": 0.9"));
    }

    #[test]
    fn a_gradient_that_is_not_finite_is_an_error_and_changes_no_weight() {
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
