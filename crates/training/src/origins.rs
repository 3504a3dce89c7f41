//! What a run learns from: the fingerprints of its base, its reference and its set.

use anyhow::{Context, Result};
use diffusion::fingerprint::{DEFAULTS, Fingerprint};
use diffusion::part_folders::PartFolders;
use domain::train::TrainSpec;
use files::write_atomically;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The file in the folder of a run's model that holds them.
const FILE: &str = "fingerprints.json";

/// The models and the set that decide a run's updates. A run that goes on with others would be another run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    /// The base. Of a run that begins from random weights, without the weights of its UNet.
    pub base: Fingerprint,
    /// The reference, if the objective has one and the spec names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Fingerprint>,
    /// The key of each encoded part of the set: of the set's rows and images, of the settings and of the encoder.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

impl Origins {
    /// The models of a run, without its set.
    ///
    /// # Errors
    /// Fails if a part of a model is missing or cannot be read.
    pub(crate) fn of_models(
        spec: &TrainSpec,
        start: &PartFolders,
        reference: Option<&PartFolders>,
    ) -> Result<Self> {
        let base = match spec.from_nothing {
            true => Fingerprint::of_untrained(start),
            false => Fingerprint::of(start),
        };
        let reference = reference.filter(|_| spec.objective.is_preference());
        let reference = reference.map(Fingerprint::of).transpose().context("reference")?;
        // The default settings decide sample images only.
        let base = base.context("base")?.without(DEFAULTS);
        Ok(Self { base, reference: reference.map(|of| of.without(DEFAULTS)), set: BTreeMap::new() })
    }

    /// What differs from `self` in `now`, by name. A set that is not known yet does not differ.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let of = |owner: &str, before: &Fingerprint, now: &Fingerprint| -> Vec<String> {
            before.differences(now).into_iter().map(|part| format!("the {part} of the {owner}")).collect()
        };
        let mut names = of("base", &self.base, &now.base);
        match (&self.reference, &now.reference) {
            (Some(before), Some(now)) => names.extend(of("reference", before, now)),
            (None, None) => {}
            _ => names.push("the reference, which only one of them names".to_owned()),
        }
        if now.set.is_empty() || self.set == now.set {
            return names;
        }
        let differing: Vec<&String> = self
            .set
            .iter()
            .filter(|(part, key)| now.set.get(*part) != Some(key))
            .map(|(part, _)| part)
            .collect();
        if differing.len() == self.set.len() {
            names.push("the rows or images of the set".to_owned());
        } else if names.is_empty() {
            names.extend(differing.iter().map(|part| format!("the encoded {part} of the set")));
        }
        names
    }

    /// Writes them into the folder of a model.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn write(&self, model: &Path) -> Result<()> {
        Ok(write_atomically(&model.join(FILE), &serde_json::to_vec_pretty(self)?)?)
    }
}
