//! The layers that an adapter can update.

use super::original;
use crate::weights::Weights;
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// The linear layers and convolutions of a network by name, with the shapes of their weights.
#[derive(Clone, Debug, Default)]
pub struct Layers(BTreeMap<String, Vec<usize>>);

impl Layers {
    /// The layers of a network with these parameters. Norms (weights of one dimension) and embeddings are excluded.
    #[must_use]
    pub fn of(weights: &Weights) -> Self {
        Self::of_shapes(weights.iter().map(|(name, weight)| (name.as_str(), weight.dims())))
    }

    /// As [`Layers::of`], for parameters with these names and shapes.
    pub fn of_shapes<'a>(shapes: impl IntoIterator<Item = (&'a str, &'a [usize])>) -> Self {
        let layers = shapes.into_iter().filter_map(|(name, shape)| {
            let layer = name.strip_suffix(".weight")?;
            let is_layer = matches!(shape.len(), 2 | 4) && !layer.ends_with("_embedding");
            is_layer.then(|| (layer.to_owned(), shape.to_vec()))
        });
        Self(layers.collect())
    }

    /// Layers with these names and shapes of weights.
    pub(super) fn named(layers: BTreeMap<String, Vec<usize>>) -> Self {
        Self(layers)
    }

    /// The layer of this name. A text tower's layer may lack the prefix that transformers omits since version 5.6.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let known = |name: &str| self.0.get_key_value(name).map(|(layer, _)| layer.as_str());
        known(name).or_else(|| known(&format!("text_model.{name}")))
    }

    /// The shape of a layer's weight.
    #[must_use]
    pub fn shape(&self, layer: &str) -> Option<&[usize]> {
        self.0.get(layer).map(Vec::as_slice)
    }

    /// The names of the layers.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.keys().map(String::as_str)
    }

    /// The layers whose name is one of the targets or ends with `.` and a target, such as `to_q` or `attn2.to_out.0` (PEFT's
    /// `target_modules`).
    ///
    /// # Errors
    /// Fails if a target matches no layer.
    pub fn matching(&self, targets: &[String]) -> Result<Vec<&str>> {
        let matches = |layer: &str, target: &str| {
            layer.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if let Some(target) = targets.iter().find(|target| !self.names().any(|layer| matches(layer, target)))
        {
            let problem = format!("{target:?} matches no linear layer or convolution of the network");
            return Err(Error::setting("lora.targets", problem));
        }
        Ok(self.names().filter(|layer| targets.iter().any(|target| matches(layer, target))).collect())
    }

    /// The layers by the names that kohya's scripts give them, without prefix: names of diffusers and of the original layout
    /// with underscores for dots.
    pub(super) fn flat_names(&self) -> HashMap<String, &str> {
        let originals = original::names(self.names());
        let originals = originals.iter().map(|(name, layer)| (name.replace('.', "_"), *layer));
        originals.chain(self.names().map(|layer| (layer.replace('.', "_"), layer))).collect()
    }
}
