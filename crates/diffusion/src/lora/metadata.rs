//! The header entry in which diffusers and PEFT store an adapter's settings: PEFT's `LoraConfig` as JSON.

use super::adapter::Adapter;
use super::network::Network;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the header entry.
pub(super) const ENTRY: &str = "lora_adapter_metadata";
/// The file next to the adapter in which PEFT itself stores the settings.
pub(super) const PEFT_FILE: &str = "adapter_config.json";

/// The settings of a `LoraConfig` that determine the scale of updates.
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
    /// The settings of one network in the text of the entry. Keys have the network's name as a prefix, except in files for a
    /// UNet alone.
    ///
    /// # Errors
    /// Returns what is wrong, as the rest of a sentence that begins with the file.
    pub(super) fn read(text: &str, network: Network) -> Result<Self, String> {
        let all: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| format!("has invalid LoRA settings: {e}"))?;
        let prefix = format!("{network}.");
        let own: Map<String, Value> = all
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())))
            .collect();
        let own = if own.is_empty() && network == Network::Unet { all } else { own };
        let settings: Self = serde_json::from_value(Value::Object(own))
            .map_err(|e| format!("has invalid LoRA settings: {e}"))?;
        if settings.use_dora {
            return Err("is a DoRA adapter (use_dora): only LoRA is supported".to_owned());
        }
        if let Some(pattern) = settings.alpha_pattern.keys().find(|p| p.contains(is_regular_expression)) {
            return Err(format!(
                "has an alpha_pattern {pattern:?} that is a regular expression: list the names of the layers instead"
            ));
        }
        Ok(settings)
    }

    /// The alpha of a layer. The default is the rank, as in diffusers.
    pub(super) fn alpha(&self, layer: &str, rank: usize) -> f64 {
        let rank = rank as f64;
        let matches = |pattern: &str| match pattern.strip_prefix('^') {
            Some(whole) => layer == whole,
            None => layer.strip_suffix(pattern).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        };
        let own = self.alpha_pattern.iter().find(|(pattern, _)| matches(pattern)).map(|(_, &alpha)| alpha);
        let alpha = own.or(self.lora_alpha).unwrap_or(rank);
        // Rank-stabilised LoRA divides the update by the square root of the rank.
        if self.use_rslora { alpha * rank.sqrt() } else { alpha }
    }
}

/// Whether a character occurs only in regular expressions. Dots are taken literally, as in names.
fn is_regular_expression(c: char) -> bool {
    matches!(c, '*' | '+' | '?' | '[' | '(' | '|' | '\\' | '{' | '$')
}

/// The text of the entry for the adapters of a file.
pub(super) fn text(adapters: &BTreeMap<Network, Adapter>) -> String {
    let mut entry = Map::new();
    for (network, adapter) in adapters {
        let mut set = |key: &str, value: Value| entry.insert(format!("{network}.{key}"), value);
        let layers = adapter.layers();
        let Some(first) = layers.values().next() else { continue };
        let (rank, alpha) = (first.rank(), first.alpha());
        // Full names, because a suffix may match layers with another rank or alpha.
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

/// Alpha as an integer where possible, as PEFT declares it.
fn number(alpha: f64) -> Value {
    if alpha.fract() == 0.0 && alpha.abs() < 1e9 { json!(alpha as i64) } else { json!(alpha) }
}
