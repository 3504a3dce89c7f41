//! Adam with decoupled weight decay (Loshchilov and Hutter 2019), with a state that can be saved: candle's own
//! hides its moments.

use super::Gradients;
use anyhow::{Context, Result, ensure};
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var};
use diffusion::weights::Variables;
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The optimiser and its state.
#[derive(Debug)]
pub(super) struct AdamW {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    step: u64,
    moments: BTreeMap<String, Moments>,
}

/// First and second moment of one parameter's gradient.
#[derive(Debug)]
enum Moments {
    /// Beside a parameter in the CPU's memory.
    Host(RefCell<(Vec<f32>, Vec<f32>)>),
    /// Beside a parameter on another device.
    Device(Var, Var),
}

impl AdamW {
    /// A fresh state for these parameters.
    ///
    /// # Errors
    /// candle's.
    pub(super) fn new(
        [beta1, beta2]: [f64; 2],
        epsilon: f64,
        weight_decay: f64,
        variables: &Variables,
    ) -> Result<Self> {
        let moments = variables
            .iter()
            .map(|(name, v)| {
                let count = v.elem_count();
                let moments = if v.device().is_cpu() {
                    Moments::Host(RefCell::new((vec![0.0; count], vec![0.0; count])))
                } else {
                    let zero = || Var::zeros(v.shape(), DType::F32, v.device());
                    Moments::Device(zero()?, zero()?)
                };
                Ok((name.clone(), moments))
            })
            .collect::<Result<_>>()?;
        Ok(Self { beta1, beta2, epsilon, weight_decay, step: 0, moments })
    }

    /// One update at learning rate `rate`, of gradients times `scale`.
    ///
    /// # Errors
    /// A parameter without a gradient.
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
            // Bias corrections of both moments folded into the rate and the root.
            rate: rate / (1.0 - self.beta1.powi(exponent)),
            root: 1.0 / (1.0 - self.beta2.powi(exponent)),
        };
        for (name, variable) in variables {
            let moments = self.moments.get(name).with_context(|| format!("no moments of {name}"))?;
            let gradient = gradients.get(name)?;
            match moments {
                Moments::Host(moments) => {
                    let op = HostUpdate { update, moments };
                    variable.as_tensor().inplace_op2(&gradient.contiguous()?, &op)?;
                }
                Moments::Device(first, second) => update.on_device(variable, gradient, first, second)?,
            }
        }
        Ok(())
    }

    /// The state as tensors to save: `NAME.first`, `NAME.second`, and the count of updates.
    ///
    /// # Errors
    /// candle's.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for (name, moments) in &self.moments {
            let (first, second) = match moments {
                Moments::Host(moments) => {
                    let (first, second) = &*moments.borrow();
                    let tensor = |v: &[f32]| Tensor::from_slice(v, v.len(), &Device::Cpu);
                    (tensor(first)?, tensor(second)?)
                }
                Moments::Device(first, second) => (first.flatten_all()?, second.flatten_all()?),
            };
            state.insert(format!("{name}.first"), first);
            state.insert(format!("{name}.second"), second);
        }
        let step = i64::try_from(self.step).context("too many steps")?;
        state.insert("step".to_owned(), Tensor::new(step, &Device::Cpu)?);
        Ok(state)
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// A moment that is missing or has another size.
    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let get = |name: String| state.get(&name).with_context(|| format!("the saved state lacks {name}"));
        for (name, moments) in &mut self.moments {
            let (first, second) = (get(format!("{name}.first"))?, get(format!("{name}.second"))?);
            match moments {
                Moments::Host(moments) => {
                    let fresh = (first.to_vec1()?, second.to_vec1()?);
                    let old = moments.get_mut();
                    ensure!(fresh.0.len() == old.0.len(), "the saved moments of {name} have another size");
                    *old = fresh;
                }
                Moments::Device(old_first, old_second) => {
                    for (old, new) in [(old_first, first), (old_second, second)] {
                        old.set(&new.reshape(old.shape())?.to_device(old.device())?)?;
                    }
                }
            }
        }
        self.step = u64::try_from(get("step".to_owned())?.to_scalar::<i64>()?).context("negative step")?;
        Ok(())
    }
}

/// The numbers of one update.
#[derive(Clone, Copy)]
struct Update {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    scale: f64,
    shrink: f64,
    rate: f64,
    root: f64,
}

impl Update {
    fn on_device(&self, variable: &Var, gradient: &Tensor, first: &Var, second: &Var) -> Result<()> {
        let gradient = (gradient * self.scale)?;
        let m = ((first.as_tensor() * self.beta1)? + (&gradient * (1.0 - self.beta1))?)?;
        let v = ((second.as_tensor() * self.beta2)? + (gradient.sqr()? * (1.0 - self.beta2))?)?;
        let denominator = ((&v * self.root)?.sqrt()? + self.epsilon)?;
        let moved = ((variable.as_tensor() * self.shrink)? - ((&m * self.rate)? / denominator)?)?;
        first.set(&m.detach())?;
        second.set(&v.detach())?;
        variable.set(&moved.detach())?;
        Ok(())
    }
}

/// The update of one parameter in place, without a temporary.
struct HostUpdate<'a> {
    update: Update,
    moments: &'a RefCell<(Vec<f32>, Vec<f32>)>,
}

impl InplaceOp2 for HostUpdate<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(parameter), CpuStorage::F32(gradient)) = (parameter, gradient) else {
            candle_core::bail!("AdamW updates f32 parameters");
        };
        let (Some((start, end)), Some((g_start, g_end))) =
            (parameter_layout.contiguous_offsets(), gradient_layout.contiguous_offsets())
        else {
            candle_core::bail!("AdamW updates contiguous parameters");
        };
        let (first, second) = &mut *self.moments.borrow_mut();
        let u = self.update;
        let (beta1, beta2, scale) = (u.beta1 as f32, u.beta2 as f32, u.scale as f32);
        let (shrink, rate, root, epsilon) = (u.shrink as f32, u.rate as f32, u.root as f32, u.epsilon as f32);
        const CHUNK: usize = 1 << 14;
        parameter[start..end]
            .par_chunks_mut(CHUNK)
            .zip(gradient[g_start..g_end].par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .for_each(|((p, g), (m, v))| {
                for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                    let g = g * scale;
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    *p = *p * shrink - rate * *m / ((*v * root).sqrt() + epsilon);
                }
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::AdamW;
    use crate::optim::Gradients;
    use candle_core::{Device, Tensor, Var};
    use diffusion::weights::Variables;

    /// Two updates of one weight by hand: gradient 2w, weights 1 then as computed with beta1 0.9, beta2 0.999.
    #[test]
    fn worked_example() {
        let w = Var::from_tensor(&Tensor::new(&[1f32], &Device::Cpu).expect("tensor")).expect("var");
        let variables = Variables::from([("w".to_owned(), w.clone())]);
        let mut adamw = AdamW::new([0.9, 0.999], 1e-8, 0.1, &variables).expect("state");
        let step = |adamw: &mut AdamW| {
            let mut gradients = Gradients::default();
            let loss = w.sqr().and_then(|s| s.sum_all()).expect("loss");
            gradients.add(&loss.backward().expect("backward"), &variables).expect("gradients");
            adamw.update(&variables, &gradients, 1.0, 0.01).expect("update");
            w.to_vec1::<f32>().expect("values")[0]
        };
        // m = 0.2, v = 0.004; corrected 2 and 4: w = 1 (1 - 0.001) - 0.01 * 2 / 2 = 0.989
        assert!((step(&mut adamw) - 0.989).abs() < 1e-6);
        // g = 1.978; m = 0.3778, v = 0.007908484...; corrected m/0.19 = 1.98842, v/0.001999 = 3.956220:
        // w = 0.989 * 0.999 - 0.01 * 1.98842 / 1.98903 = 0.978014
        assert!((step(&mut adamw) - 0.978_014).abs() < 2e-6);
    }
}
