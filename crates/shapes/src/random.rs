//! A seeded random number generator whose numbers are the same on every machine and with every version of our
//! dependencies: the words of ChaCha8, turned into numbers here, because `rand` may change its distributions between
//! versions.

use std::f32::consts::TAU;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// A stream of random numbers.
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// Seeds ChaCha8 with the SHA-256 of purpose and seed, so that streams of different purposes are independent under
    /// one seed.
    pub(crate) fn new(purpose: &str, seed: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(purpose.as_bytes());
        hash.update(seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// Uniform in [0, 1), with the 24 bits that an f32 holds exactly.
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Standard normal, by the Box-Muller transform.
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// A uniform integer below `count`, with a bias of less than `count` / 2^32.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }

    /// A uniform choice; `choices` must not be empty.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }

    /// A colour shift, each channel uniform within `reach` of zero.
    pub(crate) fn tint(&mut self, reach: f32) -> [f32; 3] {
        [0; 3].map(|_| self.between(-reach, reach))
    }

    /// Shuffles uniformly, by Fisher and Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}
