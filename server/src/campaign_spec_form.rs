//! The campaign that the form of a new campaign describes.

use crate::error::ApiError;
use crate::extract::Form;
use crate::routes::propose_gold;
use crate::state::AppState;
use domain::campaign::{CampaignSpec, GoldPair};
use domain::id::{ImageId, ModelId};
use serde_json::{Map, Value, json};

/// Fields of text that a refused form shows again.
pub(crate) const KEPT: [&str; 21] = [
    "name",
    "form",
    "raters_per_item",
    "votes",
    "ends_at",
    "session",
    "reveal",
    "instructions",
    "prompts",
    "language",
    "gold_metric",
    "gold_count",
    "exam",
    "gold_every",
    "repeat_every",
    "completion_code",
    "return_url",
    "failed_code",
    "failed_url",
    "withdrawn_code",
    "withdrawn_url",
];

/// Gold pairs that a refused form shows again: the address has no room for more.
const MOST_KEPT: usize = 100;

/// The rest of the names of the fields that begin so: the checked boxes.
pub(crate) fn chosen(form: &Form, prefix: &str) -> Vec<String> {
    form.names().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
}

/// The campaign that a form describes.
pub(crate) async fn spec(state: &AppState, form: &Form) -> Result<CampaignSpec, ApiError> {
    let mut fields = Map::new();
    let text = |name: &str| form.text(name).trim();
    let models = chosen(form, "model:");
    let mut gold = entered_gold(form)?;
    gold.extend(proposed_gold(state, form, &models).await?);
    fields.insert("gold".to_owned(), json!(gold));
    fields.insert("name".to_owned(), text("name").into());
    fields.insert("models".to_owned(), json!(models));
    fields.insert("questions".to_owned(), json!(chosen(form, "question:")));
    fields.insert("instructions".to_owned(), text("instructions").into());
    let prompts: Vec<&str> = text("prompts").lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    fields.insert("prompts".to_owned(), json!(prompts));
    for name in [
        "form",
        "reveal",
        "language",
        "completion_code",
        "return_url",
        "failed_code",
        "failed_url",
        "withdrawn_code",
        "withdrawn_url",
    ] {
        if !text(name).is_empty() {
            fields.insert(name.to_owned(), text(name).into());
        }
    }
    for name in ["raters_per_item", "session", "votes", "exam", "gold_every", "repeat_every"] {
        if !text(name).is_empty() {
            fields.insert(name.to_owned(), whole_number(form, name)?.into());
        }
    }
    if !text("ends_at").is_empty() {
        // Browsers send minutes, and no time zone.
        fields.insert("ends_at".to_owned(), format!("{}:00Z", text("ends_at")).into());
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| ApiError::field("form", error.to_string()))
}

fn whole_number(form: &Form, name: &str) -> Result<u32, ApiError> {
    let text = form.text(name).trim();
    text.parse().map_err(|_| ApiError::field(name, format!("{text:?} is not a whole number")))
}

/// The gold pairs of a form: lines of two ids, the better image first, and pairs of images of which one was chosen.
pub(crate) fn entered_gold(form: &Form) -> Result<Vec<GoldPair>, ApiError> {
    let id = |text: &str| -> Result<ImageId, ApiError> {
        let unknown =
            |_| ApiError::field("gold", format!("{text:?} is not the id of an image: write two per line"));
        text.parse().map_err(unknown)
    };
    let mut pairs = Vec::new();
    for line in form.text("gold").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [better, worse] = words[..] else {
            return Err(ApiError::field("gold", format!("{line:?} is not a pair: write two ids per line")));
        };
        pairs.push(GoldPair { better: id(better)?, worse: id(worse)? });
    }
    for name in chosen(form, "gold:") {
        let better = form.text(&format!("gold:{name}"));
        let Some((a, b)) = name.split_once(':') else { continue };
        if better == a || better == b {
            let worse = if better == a { b } else { a };
            pairs.push(GoldPair { better: id(better)?, worse: id(worse)? });
        }
    }
    Ok(pairs)
}

/// The gold pairs that the chosen metric proposes; none without a metric.
async fn proposed_gold(state: &AppState, form: &Form, models: &[String]) -> Result<Vec<GoldPair>, ApiError> {
    let name = form.text("gold_metric").trim();
    if name.is_empty() || form.text("gold_count").trim().is_empty() {
        return Ok(Vec::new());
    }
    let metric = name.parse().map_err(|problem: String| ApiError::field("gold_metric", problem))?;
    let count = whole_number(form, "gold_count")?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut ids: Vec<ModelId> = Vec::new();
    for name in models {
        ids.extend(state.store.find_model(name).await?.map(|model| model.id));
    }
    let proposed = propose_gold(state, &ids, metric, usize::try_from(count).unwrap_or(usize::MAX)).await?;
    if proposed.is_empty() {
        let remedy = format!(
            "no two images of these models with equal settings have different scores by {name}: run an evaluation, or use another metric"
        );
        return Err(ApiError::field("gold_metric", remedy));
    }
    Ok(proposed.into_iter().map(|pair| GoldPair { better: pair.better, worse: pair.worse }).collect())
}

/// The gold pairs of a form, as the lines that it shows again.
pub(crate) fn kept_gold(form: &Form) -> String {
    // Lines that cannot be read are shown as they were entered.
    let Ok(pairs) = entered_gold(form) else {
        return form.text("gold").chars().take(80 * MOST_KEPT).collect();
    };
    let lines = pairs.iter().take(MOST_KEPT).map(|pair| format!("{} {}", pair.better, pair.worse));
    lines.collect::<Vec<_>>().join("\n")
}
