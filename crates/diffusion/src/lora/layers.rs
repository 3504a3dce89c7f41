//! The layers that an adapter can update.

use super::original;
use crate::weights::Weights;
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// Linear layers and convolutions of a network by name, with the shapes of their weights.
#[derive(Clone, Debug, Default)]
pub struct Layers(BTreeMap<String, Vec<usize>>);

impl Layers {
    /// Of a network with these parameters. Norms have weights of one dimension; tables of embeddings are no maps.
    #[must_use]
    pub fn of(weights: &Weights) -> Self {
        let layers = weights.iter().filter_map(|(name, weight)| {
            let layer = name.strip_suffix(".weight")?;
            let is_map = matches!(weight.dims().len(), 2 | 4) && !layer.ends_with("_embedding");
            is_map.then(|| (layer.to_owned(), weight.dims().to_vec()))
        });
        Self(layers.collect())
    }

    /// Shape of a layer's weight.
    #[must_use]
    pub fn shape(&self, layer: &str) -> Option<&[usize]> {
        self.0.get(layer).map(Vec::as_slice)
    }

    /// The layers' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The layers that a target names: whole, or by their last words, as `to_q` or `attn2.to_out.0` (PEFT's
    /// `target_modules`).
    ///
    /// # Errors
    /// A target that names none.
    pub fn matching(&self, targets: &[String]) -> Result<Vec<&str>> {
        let is_meant = |layer: &str, target: &str| {
            layer.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if let Some(target) = targets.iter().find(|target| !self.names().any(|layer| is_meant(layer, target)))
        {
            let problem = format!("no linear layer or convolution of the network is called {target:?}");
            return Err(Error::setting("lora.targets", problem));
        }
        Ok(self.names().filter(|layer| targets.iter().any(|target| is_meant(layer, target))).collect())
    }

    /// Layers by the names of kohya's scripts, without prefix: with underscores for dots, of diffusers' names and of
    /// the original layout's.
    pub(super) fn flat(&self) -> HashMap<String, &str> {
        let originals = original::names(self);
        let originals = originals.iter().map(|(name, layer)| (name.replace('.', "_"), *layer));
        originals.chain(self.names().map(|layer| (layer.replace('.', "_"), layer))).collect()
    }
}
