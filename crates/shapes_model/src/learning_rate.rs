//! The learning-rate schedule of the autoencoder and of CLIP.

/// Linear warm-up to `full`, then half a cosine down to 2% of it.
pub(super) fn learning_rate(full: f64, warmup_steps: u32, step: u32, steps: u32) -> f64 {
    let warmup = (f64::from(step + 1) / f64::from(warmup_steps)).min(1.0);
    let progress = f64::from(step) / f64::from(steps);
    full * warmup * (0.02 + 0.98 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()))
}
