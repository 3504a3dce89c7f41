//! The header's entry in which diffusers and PEFT keep an adapter's settings: PEFT's `LoraConfig` as JSON.

use super::{Adapter, Network};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Name of the entry.
pub(super) const ENTRY: &str = "lora_adapter_metadata";
/// The file in which PEFT itself keeps the same, beside the adapter.
pub(super) const PEFT_FILE: &str = "adapter_config.json";

/// What of a `LoraConfig` decides the strength of updates.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Settings {
    lora_alpha: Option<f64>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
}

impl Settings {
    /// Of one network, from the entry's text. Settings of a pipeline have the network's name before each key, those of a
    /// UNet alone have not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(text: &str, network: Network) -> Result<Self, String> {
        let all: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| format!("has damaged LoRA settings: {e}"))?;
        let prefix = format!("{network}.");
        let own: Map<String, Value> = all
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())))
            .collect();
        let own = if own.is_empty() && network == Network::Unet { all } else { own };
        let settings: Self = serde_json::from_value(Value::Object(own))
            .map_err(|e| format!("has damaged LoRA settings: {e}"))?;
        if settings.use_dora {
            return Err("is a DoRA (use_dora): only plain LoRA is read".to_owned());
        }
        if let Some(pattern) = settings.alpha_pattern.keys().find(|p| p.contains(is_regular_expression)) {
            return Err(format!(
                "has an alpha_pattern {pattern:?} that is a regular expression: write the layers' names instead"
            ));
        }
        Ok(settings)
    }

    /// Alpha of a layer; without a setting it is the rank, as in diffusers.
    pub(super) fn alpha(&self, layer: &str, rank: usize) -> f64 {
        let rank = rank as f64;
        let meant = |pattern: &str| match pattern.strip_prefix('^') {
            Some(whole) => layer == whole,
            None => layer.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        };
        let own = self.alpha_pattern.iter().find(|(pattern, _)| meant(pattern)).map(|(_, &alpha)| alpha);
        let alpha = own.or(self.lora_alpha).unwrap_or(rank);
        // Rank-stabilised: the update is divided by the root of the rank.
        if self.use_rslora { alpha * rank.sqrt() } else { alpha }
    }
}

/// Dots are read as dots, which is what writers of names mean.
fn is_regular_expression(c: char) -> bool {
    matches!(c, '*' | '+' | '?' | '[' | '(' | '|' | '\\' | '{' | '$')
}

/// The entry's text for the adapters of a file.
pub(super) fn text(adapters: &BTreeMap<Network, Adapter>) -> String {
    let mut entry = Map::new();
    for (network, adapter) in adapters {
        let mut set = |key: &str, value: Value| entry.insert(format!("{network}.{key}"), value);
        let layers = adapter.layers();
        let Some(first) = layers.values().next() else { continue };
        let (rank, alpha) = (first.rank(), first.alpha());
        // Whole names: what ends alike need not be updated alike.
        let ranks: Map<String, Value> = layers
            .iter()
            .filter(|(_, update)| update.rank() != rank)
            .map(|(layer, update)| (format!("^{layer}"), json!(update.rank())))
            .collect();
        let alphas: Map<String, Value> = layers
            .iter()
            .filter(|(_, update)| update.alpha() != alpha)
            .map(|(layer, update)| (format!("^{layer}"), json!(update.alpha())))
            .collect();
        set("r", json!(rank));
        set("lora_alpha", number(alpha));
        set("rank_pattern", Value::Object(ranks));
        set("alpha_pattern", Value::Object(alphas));
        set("target_modules", json!(layers.keys().collect::<BTreeSet<_>>()));
        set("peft_type", json!("LORA"));
    }
    Value::Object(entry).to_string()
}

/// PEFT calls alpha a whole number; it need not be one.
fn number(alpha: f64) -> Value {
    if alpha.fract() == 0.0 && alpha.abs() < 1e9 { json!(alpha as i64) } else { json!(alpha) }
}
