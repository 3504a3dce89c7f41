//! AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019). Unlike candle's, its moments can be saved and
//! kept in fewer bits.

mod update;

use super::gradients::Gradients;
use super::moments::Moment;
use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use diffusion::weights::Variables;
use domain::train::Moments as Width;
use std::cell::RefCell;
use std::collections::BTreeMap;
use update::{HostUpdate, Update};

/// AdamW with its moments.
#[derive(Debug)]
pub(super) struct AdamW {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    /// Updates made.
    step: u64,
    moments: BTreeMap<String, Moments>,
}

/// First and second moment of one parameter's gradient.
#[derive(Debug)]
enum Moments {
    /// In host memory. A parameter on a GPU is copied to the host for each update and back, so that moments in fewer
    /// bits take no GPU memory.
    Host(RefCell<[Moment; 2]>),
    /// In f32 on the parameter's device, a GPU.
    Device(Tensor, Tensor),
}

impl AdamW {
    /// AdamW with moments of zero for `variables`.
    pub(super) fn new(
        [beta1, beta2]: [f64; 2],
        epsilon: f64,
        weight_decay: f64,
        width: Width,
        variables: &Variables,
    ) -> Result<Self> {
        let moments = variables
            .iter()
            .map(|(name, v)| {
                let count = v.elem_count();
                let moments = if v.device().is_cpu() || width != Width::F32 {
                    let zeros = |signed| Moment::zeros(width, count, signed);
                    Moments::Host(RefCell::new([zeros(true), zeros(false)]))
                } else {
                    let zero = || Tensor::zeros(v.shape(), DType::F32, v.device());
                    Moments::Device(zero()?, zero()?)
                };
                Ok((name.clone(), moments))
            })
            .collect::<Result<_>>()?;
        Ok(Self { beta1, beta2, epsilon, weight_decay, step: 0, moments })
    }

    /// One update at learning rate `rate` with gradients times `scale`. Fails if a parameter has no gradient.
    pub(super) fn update(
        &mut self,
        variables: &Variables,
        gradients: &Gradients,
        scale: f64,
        rate: f64,
    ) -> Result<()> {
        self.step += 1;
        let exponent = i32::try_from(self.step).unwrap_or(i32::MAX);
        let update = Update {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            scale,
            shrink: 1.0 - rate * self.weight_decay,
            rate: rate / (1.0 - self.beta1.powi(exponent)),
            second_scale: 1.0 / (1.0 - self.beta2.powi(exponent)),
        };
        let step = self.step;
        for (name, variable) in variables {
            let moments =
                self.moments.get_mut(name).with_context(|| format!("AdamW has no moments of {name}"))?;
            let gradient = gradients.get(name)?;
            match moments {
                Moments::Host(moments) => {
                    let op = HostUpdate { update, moments, name, step };
                    let gradient = gradient.to_device(&Device::Cpu)?.contiguous()?;
                    let weights = variable.as_detached_tensor().to_device(&Device::Cpu)?;
                    weights.inplace_op2(&gradient, &op)?;
                    if !variable.device().is_cpu() {
                        variable.set(&weights.to_device(variable.device())?)?;
                    }
                }
                Moments::Device(first, second) => update.on_device(variable, gradient, first, second)?,
            }
        }
        Ok(())
    }

    /// The state as tensors to save: `NAME.first` and `NAME.second` of each parameter, and the number of updates,
    /// `step`.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for (name, moments) in &self.moments {
            let names = [format!("{name}.first"), format!("{name}.second")];
            match moments {
                Moments::Host(moments) => {
                    for (name, moment) in names.into_iter().zip(&*moments.borrow()) {
                        moment.save(name, &mut state)?;
                    }
                }
                Moments::Device(first, second) => {
                    for (name, moment) in names.into_iter().zip([first, second]) {
                        state.insert(name, moment.flatten_all()?);
                    }
                }
            }
        }
        let step = i64::try_from(self.step).context("too many steps")?;
        state.insert("step".to_owned(), Tensor::new(step, &Device::Cpu)?);
        Ok(state)
    }

    /// Restores a saved state. Fails if a moment is missing or has another size.
    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let get =
            |name: &str| state.get(name).with_context(|| format!("the saved state has no tensor {name}"));
        for (name, moments) in &mut self.moments {
            let names = [format!("{name}.first"), format!("{name}.second")];
            match moments {
                Moments::Host(moments) => {
                    for (name, moment) in names.iter().zip(moments.get_mut()) {
                        moment.restore(name, state)?;
                    }
                }
                Moments::Device(first, second) => {
                    for (name, old) in names.iter().zip([first, second]) {
                        *old = get(name)?.reshape(old.shape())?.to_device(old.device())?;
                    }
                }
            }
        }
        self.step = u64::try_from(get("step")?.to_scalar::<i64>()?)
            .context("the saved number of updates is negative")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
