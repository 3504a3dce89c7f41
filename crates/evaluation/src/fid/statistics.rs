//! Mean and covariance of features, in f64.

use super::{Features, FidError};
use candle_core::{Device, Tensor};

/// Fewer images than Inception has features make a covariance singular, and the distance large by their number alone.
pub const TRUSTED_COUNT: usize = 2048;

/// What a Gaussian of features is.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// (width).
    pub mean: Vec<f64>,
    /// (width, width), symmetric; divided by the count minus 1, as numpy's `cov`.
    pub covariance: Vec<f64>,
    /// Images it is of; a file of statistics does not say.
    pub count: Option<usize>,
    /// F of S = F F', (width, count), where there are no more images than features: the covariance is then singular, and
    /// this is exact.
    pub(super) factor: Option<Tensor>,
}

impl Statistics {
    /// Of what a file says.
    pub(super) fn given(mean: Vec<f64>, covariance: Vec<f64>) -> Self {
        Self { mean, covariance, count: None, factor: None }
    }

    /// # Errors
    /// Fewer than two images, or a feature that is no finite number.
    pub fn of(features: &Features) -> Result<Self, FidError> {
        let (count, width) = (features.count(), features.width());
        if count < 2 {
            return Err(FidError::Sides(format!("{count} images have no covariance: give at least 2")));
        }
        if features.values().iter().any(|v| !v.is_finite()) {
            return Err(FidError::Sides(
                "a feature is no finite number: are these the network's weights?".to_owned(),
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

    /// Values of the mean.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }
}
