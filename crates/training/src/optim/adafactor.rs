//! Adafactor (Shazeer and Stern 2018) without relative steps and without scaling by the parameter, as the paper's SDXL
//! runs use it. Computed as in `Adafactor` of transformers.

use super::gradients::Gradients;
use anyhow::{Context, Result, ensure};
use candle_core::{D, DType, Device, Tensor};
use diffusion::nn::squared_sums;
use diffusion::weights::Variables;
use std::collections::BTreeMap;

/// The settings of `domain::train::OptimizerSpec::Adafactor` that the update needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) clip_threshold: f64,
    pub(super) decay_rate: f64,
    pub(super) beta1: Option<f64>,
    pub(super) epsilon: f64,
    pub(super) weight_decay: f64,
}

/// Adafactor with its moments. A parameter NAME with two or more dimensions has the mean second moments of its rows and
/// columns, `NAME.row` and `NAME.column`; any other has `NAME.second`. With beta1, each also has `NAME.first`.
#[derive(Debug)]
pub(super) struct Adafactor {
    settings: Settings,
    step: u64,
    moments: BTreeMap<String, Tensor>,
}

impl Adafactor {
    pub(super) fn new(settings: Settings, variables: &Variables) -> Result<Self> {
        let mut moments = BTreeMap::new();
        for (name, variable) in variables {
            let mut keep = |part: &str, shape: &[usize]| -> Result<()> {
                let zeros = Tensor::zeros(shape, DType::F32, variable.device())?;
                moments.insert(format!("{name}.{part}"), zeros);
                Ok(())
            };
            match variable.dims() {
                [before @ .., rows, columns] => {
                    keep("row", &[before, &[*rows]].concat())?;
                    keep("column", &[before, &[*columns]].concat())?;
                }
                shape => keep("second", shape)?,
            }
            if settings.beta1.is_some() {
                keep("first", variable.dims())?;
            }
        }
        Ok(Self { settings, step: 0, moments })
    }

    /// One update at learning rate `rate` with gradients times `scale`.
    pub(super) fn update(
        &mut self,
        variables: &Variables,
        gradients: &Gradients,
        scale: f64,
        rate: f64,
    ) -> Result<()> {
        let Settings { clip_threshold, decay_rate, beta1, epsilon, weight_decay } = self.settings;
        self.step += 1;
        let decay = 1.0 - (self.step as f64).powf(decay_rate);
        for (name, variable) in variables {
            let gradient = (gradients.get(name)? * scale)?;
            let square = (gradient.sqr()? + epsilon)?;
            let mut update = if variable.dims().len() >= 2 {
                let row = self.blend(&format!("{name}.row"), &square.mean(D::Minus1)?, decay)?;
                let column = self.blend(&format!("{name}.column"), &square.mean(D::Minus2)?, decay)?;
                // Second moments as an outer product: (row / mean of rows) times column (Algorithm 4).
                let row = row.broadcast_div(&row.mean_keepdim(D::Minus1)?)?.sqrt()?.unsqueeze(D::Minus1)?;
                let column = column.sqrt()?.unsqueeze(D::Minus2)?;
                gradient.broadcast_div(&row)?.broadcast_div(&column)?
            } else {
                let second = self.blend(&format!("{name}.second"), &square, decay)?;
                (gradient / second.sqrt()?)?
            };
            update = if update.device().is_cpu() {
                let root_mean_square = (squared_sums([&update])?[0] / update.elem_count() as f64).sqrt();
                (update * (rate / (root_mean_square / clip_threshold).max(1.0)))?
            } else {
                clip_on_device(&update, clip_threshold, rate)?
            };
            if let Some(beta1) = beta1 {
                update = self.blend(&format!("{name}.first"), &update, beta1)?;
            }
            let moved = ((variable.as_tensor() * (1.0 - rate * weight_decay))? - update)?;
            variable.set(&moved.detach())?;
        }
        Ok(())
    }

    /// moment = decay moment + (1 - decay) value. Returns the new moment.
    fn blend(&mut self, name: &str, value: &Tensor, decay: f64) -> Result<Tensor> {
        let moment = self.moments.get_mut(name).with_context(|| format!("Adafactor has no moment {name}"))?;
        *moment = ((&*moment * decay)? + (value * (1.0 - decay))?)?.detach();
        Ok(moment.clone())
    }

    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = self.moments.clone();
        let step = i64::try_from(self.step).context("too many steps")?;
        state.insert("step".to_owned(), Tensor::new(step, &Device::Cpu)?);
        Ok(state)
    }

    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let get =
            |name: &str| state.get(name).with_context(|| format!("the saved state has no tensor {name}"));
        for (name, moment) in &mut self.moments {
            let saved = get(name)?;
            ensure!(
                saved.shape() == moment.shape(),
                "the saved tensor {name} has shape {:?} instead of {:?}",
                saved.shape(),
                moment.shape()
            );
            *moment = saved.to_device(moment.device())?;
        }
        self.step = u64::try_from(get("step")?.to_scalar::<i64>()?)
            .context("the saved number of updates is negative")?;
        Ok(())
    }
}

/// The update times `rate`, its root mean square clipped to `threshold`, without waiting for the device.
fn clip_on_device(update: &Tensor, threshold: f64, rate: f64) -> Result<Tensor> {
    let root_mean_square = update.sqr()?.mean_all()?.sqrt()?;
    let factor = ((root_mean_square / threshold)?.maximum(1.0)?.recip()? * rate)?;
    Ok(update.broadcast_mul(&factor)?)
}

#[cfg(test)]
mod tests {
    use super::clip_on_device;
    use crate::optim::{Gradients, Optimiser};
    use candle_core::{Device, Tensor, Var};
    use diffusion::weights::Variables;
    use std::collections::HashMap;
    use std::path::Path;

    /// Compares every weight after each of six updates with transformers (oracles/optimizers.py).
    fn agrees_with_transformers(case: &str, spec: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adafactor.safetensors");
        let fixture: HashMap<String, Tensor> =
            candle_core::safetensors::load(file, &Device::Cpu).expect("the fixture");
        let variables: Variables = fixture
            .iter()
            .filter_map(|(name, t)| {
                Some((name.strip_prefix("start.")?.to_owned(), Var::from_tensor(t).expect("var")))
            })
            .collect();
        assert_eq!(variables.len(), 3);
        let mut adafactor =
            Optimiser::new(&serde_json::from_str(spec).expect("a spec"), &variables).expect("state");
        for step in 0..6 {
            // The gradient of sum(w g) with respect to w is g.
            let products = variables.iter().map(|(name, w)| {
                let gradient = &fixture[&format!("gradient.{step}.{name}")];
                w.mul(gradient).and_then(|t| t.sum_all()).expect("a product")
            });
            let loss =
                Tensor::stack(&products.collect::<Vec<_>>(), 0).and_then(|t| t.sum_all()).expect("loss");
            let mut gradients = Gradients::default();
            gradients.add(&loss.backward().expect("backward"), &variables).expect("gradients");
            adafactor.update(&variables, &gradients, 1, 1e-2).expect("update");
            for (name, w) in &variables {
                let expected = &fixture[&format!("{case}.{step}.{name}")];
                let difference = (w.as_tensor() - expected).and_then(|d| d.abs()?.flatten_all()?.max(0));
                let difference = difference.and_then(|d| d.to_scalar::<f32>()).expect("a number");
                assert!(difference < 2e-6, "{case}, update {step}, {name}: {difference}");
            }
        }
    }

    /// Updates with root mean squares of 5 and 0.5, clipped at 1: divided by 5 and by 1.
    #[test]
    fn updates_are_clipped_on_their_device() {
        for (update, divisor) in [([3f32, -4.0, 5.0, 50f32.sqrt()], 5.0), ([0.5, -0.5, 0.5, 0.5], 1.0)] {
            let update = Tensor::new(&update, &Device::Cpu).expect("tensor");
            let clipped =
                clip_on_device(&update, 1.0, 0.1).and_then(|t| Ok(t.to_vec1::<f32>()?)).expect("clipped");
            for (clipped, update) in clipped.iter().zip(update.to_vec1::<f32>().expect("values")) {
                assert!((clipped - update * 0.1 / divisor).abs() < 1e-6, "{clipped} of {update}");
            }
        }
    }

    #[test]
    fn without_beta1_as_transformers() {
        agrees_with_transformers("plain", r#"{"kind": "adafactor", "max_grad_norm": 0}"#);
    }

    #[test]
    fn with_beta1_as_transformers() {
        agrees_with_transformers("momentum", r#"{"kind": "adafactor", "beta1": 0.9, "max_grad_norm": 0}"#);
    }
}
