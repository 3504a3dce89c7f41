//! The scale of the loss in f16, whose smallest numbers gradients fall below: the loss is multiplied by it before the
//! way back and gradients are divided by it after. It falls when gradients overflow and rises when they have not for
//! long, as PyTorch's `GradScaler` does and by its numbers.

use domain::train::Precision;
use serde::{Deserialize, Serialize};

/// The scale, and how long it has held.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    scale: f64,
    /// Updates since it last changed.
    held: u32,
}

const FIRST: f64 = 65_536.0;
const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
/// Updates without an overflow before it rises.
const PATIENCE: u32 = 2000;
/// At less than this no overflow is the scale's fault.
const LEAST: f64 = 1.0;

impl LossScale {
    /// For a precision: only f16 needs one.
    #[must_use]
    pub fn of(precision: Precision) -> Option<Self> {
        (precision == Precision::F16).then_some(Self { scale: FIRST, held: 0 })
    }

    /// What to multiply the loss by.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.scale
    }

    /// An update was made.
    pub fn held(&mut self) {
        self.held += 1;
        if self.held == PATIENCE {
            *self = Self { scale: self.scale * GROWTH, held: 0 };
        }
    }

    /// Gradients overflowed: returns whether a smaller scale may help.
    pub fn overflowed(&mut self) -> bool {
        *self = Self { scale: self.scale * BACKOFF, held: 0 };
        self.scale >= LEAST
    }
}

#[cfg(test)]
mod tests {
    use super::{LossScale, PATIENCE};
    use domain::train::Precision;

    #[test]
    fn it_rises_with_patience_and_falls_at_once() {
        assert_eq!(LossScale::of(Precision::F32), None);
        assert_eq!(LossScale::of(Precision::Bf16), None);
        let mut scale = LossScale::of(Precision::F16).expect("a scale");
        for _ in 1..PATIENCE {
            scale.held();
        }
        assert_eq!(scale.factor().to_bits(), 65_536f64.to_bits());
        scale.held();
        assert_eq!(scale.factor().to_bits(), 131_072f64.to_bits());
        assert!(scale.overflowed());
        assert_eq!(scale.factor().to_bits(), 65_536f64.to_bits());
        assert!((0..16).all(|_| scale.overflowed()));
        assert!(!scale.overflowed(), "{}", scale.factor());
    }
}
