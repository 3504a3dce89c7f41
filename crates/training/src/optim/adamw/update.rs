//! The arithmetic of an AdamW update, on the host and on other devices.

use crate::optim::moments::{CHUNK, Moment, MomentChunk, random_bits};
use anyhow::Result;
use candle_core::{CpuStorage, InplaceOp2, Layout, Tensor, Var};
use diffusion::nn::adamw;
use rayon::prelude::*;
use std::cell::RefCell;

/// The constants of one update, for all parameters:
///
/// g = scale gradient, m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
/// w = shrink w - rate m / (sqrt(second_scale v) + epsilon)
#[derive(Clone, Copy)]
pub(super) struct Update {
    pub(super) beta1: f64,
    pub(super) beta2: f64,
    pub(super) epsilon: f64,
    /// Factor of the gradient.
    pub(super) scale: f64,
    /// 1 - learning rate times weight decay.
    pub(super) shrink: f64,
    /// Learning rate divided by the bias correction of the first moment, 1 - beta1^step.
    pub(super) rate: f64,
    /// 1 / bias correction of the second moment, 1 / (1 - beta2^step).
    pub(super) second_scale: f64,
}

impl Update {
    /// Updates a parameter and its moments on their device: with our kernel, or with candle's operations where there is
    /// none.
    pub(super) fn on_device(
        &self,
        variable: &Var,
        gradient: &Tensor,
        first: &mut Tensor,
        second: &mut Tensor,
    ) -> Result<()> {
        let weight = variable.as_detached_tensor();
        let numbers =
            [self.beta1, self.beta2, self.scale, self.shrink, self.rate, self.second_scale, self.epsilon];
        let [updated, m, v] = match adamw(&weight, first, second, gradient, numbers)? {
            Some(updated) => updated,
            None => {
                let gradient = (gradient * self.scale)?;
                let m = ((&*first * self.beta1)? + (&gradient * (1.0 - self.beta1))?)?;
                let v = ((&*second * self.beta2)? + (gradient.sqr()? * (1.0 - self.beta2))?)?;
                let denominator = ((&v * self.second_scale)?.sqrt()? + self.epsilon)?;
                [((weight * self.shrink)? - ((&m * self.rate)? / denominator)?)?, m, v]
            }
        };
        (*first, *second) = (m, v);
        variable.set(&updated)?;
        Ok(())
    }
}

/// The update of one parameter in host memory, in place.
pub(super) struct HostUpdate<'a> {
    pub(super) update: Update,
    pub(super) moments: &'a RefCell<[Moment; 2]>,
    /// The parameter's name, from which its random bits come.
    pub(super) name: &'a str,
    /// Number of this update, from 1.
    pub(super) step: u64,
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
            candle_core::bail!("AdamW: parameters and gradients must be f32");
        };
        let (Some((start, end)), Some((g_start, g_end))) =
            (parameter_layout.contiguous_offsets(), gradient_layout.contiguous_offsets())
        else {
            candle_core::bail!("AdamW: parameters and gradients must be contiguous");
        };
        let [first, second] = &mut *self.moments.borrow_mut();
        let u = self.update;
        let (beta1, beta2, scale) = (u.beta1 as f32, u.beta2 as f32, u.scale as f32);
        let (shrink, rate) = (u.shrink as f32, u.rate as f32);
        let (second_scale, epsilon) = (u.second_scale as f32, u.epsilon as f32);
        let update = |p: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]| {
            for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                let g = g * scale;
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                *p = *p * shrink - rate * *m / ((*v * second_scale).sqrt() + epsilon);
            }
        };
        // A hash of the name, so that parameters are rounded independently.
        let salt = self.name.bytes().fold(0u64, |a, b| a.wrapping_mul(0x100_0000_01b3) ^ u64::from(b));
        let step = self.step;
        parameter[start..end]
            .par_chunks_mut(CHUNK)
            .zip(gradient[g_start..g_end].par_chunks(CHUNK))
            .zip(first.chunks().into_par_iter().zip(second.chunks()))
            .enumerate()
            .for_each_init(
                || (vec![0.0; CHUNK], vec![0.0; CHUNK]),
                |(m, v), (chunk, ((p, g), moments))| match moments {
                    (MomentChunk::F32(m), MomentChunk::F32(v)) => update(p, g, m, v),
                    (mut first, mut second) => {
                        let (m, v) = (&mut m[..p.len()], &mut v[..p.len()]);
                        first.read(m);
                        second.read(v);
                        update(p, g, m, v);
                        first.write(m, |i| random_bits(salt, 2 * step, chunk * CHUNK + i));
                        second.write(v, |i| random_bits(salt, 2 * step + 1, chunk * CHUNK + i));
                    }
                },
            );
        Ok(())
    }
}
