//! Mean and covariance of features, in f64.

use super::error::FidError;
use super::features::Features;
use candle_core::{Device, Tensor};

/// The number of features of Inception. With fewer images the covariance is singular and the distance is biased
/// upwards.
pub const TRUSTED_COUNT: usize = 2048;

/// Mean and covariance of features: a Gaussian.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// (width).
    pub mean: Vec<f64>,
    /// (width, width), row by row; divided by the number of images minus 1, as numpy's `cov`.
    pub covariance: Vec<f64>,
    /// The number of images; `None` for statistics from a file, which does not state it.
    pub count: Option<usize>,
    /// F with covariance = F F', (width, count), if there are no more images than features: it is exact where the
    /// covariance is singular.
    pub(super) factor: Option<Tensor>,
}

impl Statistics {
    /// Wraps mean and covariance of a file.
    pub(super) fn from_moments(mean: Vec<f64>, covariance: Vec<f64>) -> Self {
        Self { mean, covariance, count: None, factor: None }
    }

    /// Computes mean and covariance of features.
    ///
    /// # Errors
    /// Fails if there are fewer than two images or a feature is not finite.
    pub fn of(features: &Features) -> Result<Self, FidError> {
        let (count, width) = (features.count(), features.width());
        if count < 2 {
            return Err(FidError::Sides(format!("{count} images have no covariance: at least 2 are needed")));
        }
        if features.values().iter().any(|v| !v.is_finite()) {
            return Err(FidError::Sides(
                "a feature is not finite: check the weights of the network".to_owned(),
            ));
        }
        let mut mean = vec![0.0; width];
        for row in features.values().chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v));
        }
        mean.iter_mut().for_each(|m| *m /= count as f64);
        let scale = 1.0 / ((count - 1) as f64).sqrt();
        let rows = features.values().chunks_exact(width);
        let scaled: Vec<f64> =
            rows.flat_map(|row| row.iter().zip(&mean).map(|(&v, m)| (f64::from(v) - m) * scale)).collect();
        let scaled = Tensor::from_vec(scaled, (count, width), &Device::Cpu)?;
        let factor = scaled.t()?.contiguous()?;
        let covariance = factor.matmul(&scaled)?.flatten_all()?.to_vec1()?;
        Ok(Self { mean, covariance, count: Some(count), factor: (count <= width).then_some(factor) })
    }

    /// The number of features.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }
}
