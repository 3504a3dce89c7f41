//! The loss scale of f16 training. Small gradients underflow in f16, so the loss is multiplied by the scale before the
//! backward pass, and the gradients are divided by it afterwards. The scale is halved when gradients overflow, and
//! doubled after many updates without overflow. The constants are those of PyTorch's `GradScaler`.

use domain::train::Precision;
use serde::{Deserialize, Serialize};

/// The loss scale of a run. Its fields are saved with the run's state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossScale {
    scale: f64,
    /// Updates since the scale last changed.
    held: u32,
}

const FIRST: f64 = 65_536.0;
const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
/// Updates without overflow after which the scale is doubled.
const GROWTH_INTERVAL: u32 = 2000;
/// The smallest scale. Gradients that overflow at this scale overflow by themselves.
const SMALLEST: f64 = 1.0;

impl LossScale {
    /// The initial scale of f16; `None` for other precisions, which need none.
    #[must_use]
    pub(crate) fn of(precision: Precision) -> Option<Self> {
        (precision == Precision::F16).then_some(Self { scale: FIRST, held: 0 })
    }

    /// The factor to multiply the loss by.
    #[must_use]
    pub(crate) fn factor(&self) -> f64 {
        self.scale
    }

    /// Records an update without overflow.
    pub(crate) fn updated(&mut self) {
        self.held += 1;
        if self.held == GROWTH_INTERVAL {
            *self = Self { scale: self.scale * GROWTH, held: 0 };
        }
    }

    /// Records an overflow. Returns whether the halved scale may help: `false` once it is below the smallest.
    pub(crate) fn overflowed(&mut self) -> bool {
        *self = Self { scale: self.scale * BACKOFF, held: 0 };
        self.scale >= SMALLEST
    }
}

#[cfg(test)]
mod tests {
    use super::{GROWTH_INTERVAL, LossScale};
    use domain::train::Precision;

    #[test]
    fn the_scale_doubles_after_the_interval_and_is_halved_by_an_overflow() {
        assert_eq!(LossScale::of(Precision::F32), None);
        assert_eq!(LossScale::of(Precision::Bf16), None);
        let mut scale = LossScale::of(Precision::F16).expect("a scale");
        for _ in 1..GROWTH_INTERVAL {
            scale.updated();
        }
        assert_eq!(scale.factor().to_bits(), 65_536f64.to_bits());
        scale.updated();
        assert_eq!(scale.factor().to_bits(), 131_072f64.to_bits());
        assert!(scale.overflowed());
        assert_eq!(scale.factor().to_bits(), 65_536f64.to_bits());
        assert!((0..16).all(|_| scale.overflowed()));
        assert!(!scale.overflowed(), "{}", scale.factor());
    }
}
