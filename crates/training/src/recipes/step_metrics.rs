//! Means of a step's metrics over its micro-batches.

use crate::collective::ProcessGroup;
use anyhow::Result;
use std::collections::BTreeMap;

/// Sum and count of each metric's values.
#[derive(Default)]
pub(super) struct StepMetrics(BTreeMap<&'static str, (f64, u32)>);

impl StepMetrics {
    pub(super) fn add(&mut self, name: &'static str, value: f64) {
        let (sum, count) = self.0.entry(name).or_default();
        *sum += value;
        *count += 1;
    }

    /// Replaces the means of this process by the means over all processes that train together.
    pub(super) fn mean_over(&mut self, group: &ProcessGroup) -> Result<()> {
        let mut means: Vec<f64> = self.means().into_iter().map(|(_, mean)| mean).collect();
        group.mean(&mut means)?;
        self.0.values_mut().zip(means).for_each(|(entry, mean)| *entry = (mean, 1));
        Ok(())
    }

    pub(super) fn means(&self) -> Vec<(&'static str, f64)> {
        self.0.iter().map(|(&name, &(sum, count))| (name, sum / f64::from(count))).collect()
    }
}
