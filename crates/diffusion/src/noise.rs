//! Seeded random numbers that are the same on every device: drawn on the CPU and copied.

use candle_core::{Device, Result, Shape, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution, StandardNormal};

/// A seeded random number generator. candle's CPU generator cannot be seeded, and each of its devices has a different one.
#[derive(Clone, Debug)]
pub struct Noise(ChaCha12Rng);

impl Noise {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// An independent generator of the same seed. Each purpose has its own stream, so that the draws of one do not shift those
    /// of another.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha12Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// Draws standard normal values.
    pub fn normal(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| StandardNormal.sample(&mut self.0)).collect()
    }

    /// Draws standard normal values as a tensor on a device.
    ///
    /// # Errors
    /// Fails if the tensor cannot be copied to the device.
    pub fn normal_tensor(&mut self, shape: impl Into<Shape>, device: &Device) -> Result<Tensor> {
        let shape = shape.into();
        Tensor::from_vec(self.normal(shape.elem_count()), shape, device)
    }

    /// Draws a number in [0, 1), with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws an integer from 0 to `n` - 1; `n` must be at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.uniform() * n as f64) as usize
    }

    /// Draws a permutation of 0 to `n` - 1 (Fisher-Yates).
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::Noise;

    /// A change of these values changes every image, every training run and every shuffled data set. The literals are the exact
    /// values: the shortest decimal numbers that parse to their bits.
    #[test]
    fn values_are_fixed() {
        let normal = [1.663_627_1, 0.740_667_5, -0.127_142_12, -0.613_180_46, -0.910_128_5, 1.918_441_8];
        assert_eq!(Noise::new(1).normal(6), normal);
        let stream = [0.118_537_96, -0.390_427_77, -0.568_660_56, -0.779_800_24, -0.111_581_99, 1.530_926_1];
        assert_eq!(Noise::stream(1, 3).normal(6), stream);
        let mut noise = Noise::new(1);
        let uniform = [0.974_244_737_258_402_8, 0.691_235_610_702_326_4, 0.427_974_781_532_870_4];
        assert_eq!(uniform.map(|_| noise.uniform()), uniform);
        assert_eq!(Noise::new(1).permutation(10), [0, 7, 2, 5, 4, 8, 1, 3, 6, 9]);
        assert_eq!(Noise::stream(7, 1 << 60).permutation(10), [7, 1, 9, 4, 5, 8, 3, 6, 0, 2]);
    }

    #[test]
    fn normal_values_have_mean_0_and_variance_1() {
        let values = Noise::new(5).normal(100_000);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
