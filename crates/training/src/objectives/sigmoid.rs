//! The logarithm of the sigmoid.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// log sigmoid(x) = min(x, 0) - log(1 + e^-|x|), accurate to the last digits at both ends: it never overflows, and it
/// does not round to 0 for large margins. Its derivative is sigmoid(-x) everywhere, also at 0, where every preference
/// run starts.
///
/// # Errors
/// Fails unless `x` is f32 or f64 on the CPU, where the errors of a micro-batch are compared.
pub(super) fn log_sigmoid(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(LogSigmoid)
}

struct LogSigmoid;

impl CustomOp1 for LogSigmoid {
    fn name(&self) -> &'static str {
        "log-sigmoid"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let value = |x: f64| x.min(0.0) - (-x.abs()).exp().ln_1p();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("log-sigmoid: the tensor must be contiguous")
        };
        let y = match x {
            CpuStorage::F32(x) => {
                CpuStorage::F32(x[start..end].iter().map(|&x| value(f64::from(x)) as f32).collect())
            }
            CpuStorage::F64(x) => CpuStorage::F64(x[start..end].iter().map(|&x| value(x)).collect()),
            _ => bail!("log-sigmoid: the tensor must be f32 or f64"),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(((x.detach().exp()? + 1.0)?.recip()? * gradient)?))
    }
}
