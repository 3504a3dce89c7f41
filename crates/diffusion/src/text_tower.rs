//! A text tower whose linear layers adapters can update.

use crate::clip::TextTower;
use crate::config::{self, ClipTextConfig};
use crate::lora::Adapter;
use crate::nn::Linear;
use crate::weights::{Parameters, Scope, Weights, parameter_shapes};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// A frozen text tower, with the projection of pooled states that SDXL's second one has, and its parameters.
#[derive(Debug)]
pub struct AdaptableTower {
    tower: TextTower,
    projection: Option<Linear>,
    /// The parameters without the adapters of [`AdaptableTower::apply`]. They share their memory with the network unless
    /// adapters are applied.
    weights: Weights,
    device: Device,
    dtype: DType,
}

impl AdaptableTower {
    /// Loads `config.json` and the weights of `folder`, computing in `dtype`.
    ///
    /// # Errors
    /// As [`TextTower::load`].
    pub fn load(folder: &Path, has_projection: bool, device: &Device, dtype: DType) -> Result<Self> {
        let (parameters, config) = TextTower::open(folder, device, dtype)?;
        let ((tower, projection), _, weights) =
            parameters.build_with_weights(|scope| build(scope, &config, has_projection))?;
        Ok(Self { tower, projection, weights, device: device.clone(), dtype })
    }

    /// Fuses an adapter into the tower for good.
    ///
    /// # Errors
    /// Fails if the adapter does not fit.
    pub fn fuse(&mut self, adapter: &Adapter) -> Result<()> {
        let mut weights = self.weights.clone();
        adapter.fuse(1.0, &mut weights)?;
        self.weights = weights;
        self.apply(&[])
    }

    /// Fuses adapters, each with its scale, in place of those applied before. Starts from the tower's own weights every time,
    /// so the same adapters always give the same weights.
    ///
    /// # Errors
    /// Fails if an adapter does not fit. The adapters applied before then stay in place.
    pub fn apply(&mut self, adapters: &[(&Adapter, f64)]) -> Result<()> {
        let mut weights = self.weights.clone();
        for (adapter, scale) in adapters {
            adapter.fuse(*scale, &mut weights)?;
        }
        let parameters = Parameters::of_tensors(weights, &self.device).with_dtype(self.dtype);
        let built = build(&parameters.root(), self.tower.config(), self.projection.is_some())?;
        parameters.finish()?;
        (self.tower, self.projection) = built;
        Ok(())
    }

    /// The tower.
    #[must_use]
    pub fn tower(&self) -> &TextTower {
        &self.tower
    }

    /// The parameters without applied adapters.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Projects pooled states, (batch, width).
    ///
    /// # Errors
    /// Fails if the tower has no projection.
    pub fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        match &self.projection {
            Some(projection) => projection.forward(pooled),
            None => Err(Error::message("this text tower has no projection (text_projection)")),
        }
    }
}

fn build(
    scope: &Scope<'_>,
    config: &ClipTextConfig,
    has_projection: bool,
) -> Result<(TextTower, Option<Linear>)> {
    let project = || {
        let scope = scope.at("text_projection");
        Linear::without_bias(&scope, config.hidden_size, config.projection_dim)
    };
    Ok((TextTower::new(scope, config.clone())?, has_projection.then(project).transpose()?))
}

/// The names and shapes of the parameters of the tower in `folder`, read from its config.
///
/// # Errors
/// Fails if the config cannot be read.
pub fn shapes(folder: &Path, has_projection: bool) -> Result<BTreeMap<String, Vec<usize>>> {
    let config: ClipTextConfig = config::read(&folder.join("config.json"))?;
    parameter_shapes(|scope| build(scope, &config, has_projection).map(drop))
}
