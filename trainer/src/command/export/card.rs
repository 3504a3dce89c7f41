//! The model card: what the model is, how it was trained and how to load it.

use anyhow::{Context, Result};
use askama::Template;
use diffusion::layout::Origin;
use diffusion::pipeline::Defaults;
use domain::train::TrainSpec;
use serde_json::Value;

/// The content of a model card.
pub(super) struct Card<'a> {
    pub(super) name: &'a str,
    /// `None` for a model that was not trained here.
    pub(super) training: Option<Training>,
    /// Where the model was imported from.
    pub(super) source: Option<Origin>,
    /// SHA-256 of the exported UNet's file.
    pub(super) sha256: String,
    /// The class of diffusers that loads the model.
    pub(super) class: &'static str,
    pub(super) defaults: Defaults,
    pub(super) is_half: bool,
    pub(super) unet_only: bool,
    /// The prompt of the sample image.
    pub(super) sample: Option<String>,
}

/// How a model was trained.
pub(super) struct Training {
    pub(super) spec: TrainSpec,
    /// The step after which the model was saved.
    pub(super) step: Option<i64>,
    pub(super) base: Option<String>,
}

impl Training {
    fn base(&self) -> &str {
        self.base.as_deref().unwrap_or(&self.spec.base)
    }
}

#[derive(Template)]
#[template(path = "model_card.md", escape = "none")]
struct Page<'a> {
    name: &'a str,
    objective: Option<&'static str>,
    base: Option<&'a str>,
    source: Option<&'a str>,
    rows: Vec<(String, String)>,
    class: &'static str,
    torch_dtype: &'static str,
    unet_only: bool,
    steps: u32,
    guidance_scale: f64,
    sample: Option<String>,
    spec: Option<String>,
}

impl Card<'_> {
    /// The card as Markdown.
    pub(super) fn render(&self) -> Result<String> {
        let training = self.training.as_ref();
        let spec = training.map(|training| toml::to_string(&training.spec)).transpose();
        let page = Page {
            name: self.name,
            objective: training.map(|training| training.spec.objective.kind()),
            base: training.map(Training::base),
            source: self.source.as_ref().map(|origin| origin.source.as_str()),
            rows: self.rows()?,
            class: self.class,
            torch_dtype: if self.is_half { "torch.float16" } else { "torch.float32" },
            unet_only: self.unet_only,
            steps: self.defaults.steps,
            guidance_scale: self.defaults.guidance_scale,
            sample: self.sample.as_deref().map(table_cell),
            spec: spec.context("the spec cannot be written as TOML")?.map(|spec| spec.trim_end().to_owned()),
        };
        Ok(page.render()?)
    }

    /// Labels and values of the card's table.
    fn rows(&self) -> Result<Vec<(String, String)>> {
        let mut rows = match &self.training {
            Some(training) => training_rows(training)?,
            None => Vec::new(),
        };
        if let Some(origin) = &self.source {
            rows.push(("source".to_owned(), origin.source.clone()));
            rows.extend(origin.revision.clone().map(|revision| ("revision".to_owned(), revision)));
        }
        let size = format!("{} x {} pixels", self.defaults.width, self.defaults.height);
        let precision = if self.is_half { "half precision" } else { "single precision" };
        rows.push(("size".to_owned(), size));
        rows.push(("weights".to_owned(), precision.to_owned()));
        rows.push(("SHA-256 of the UNet".to_owned(), format!("`{}`", self.sha256)));
        Ok(rows.into_iter().map(|(label, value)| (label, table_cell(&value))).collect())
    }
}

fn training_rows(training: &Training) -> Result<Vec<(String, String)>> {
    let Training { spec, step, .. } = training;
    let mut rows = vec![("objective".to_owned(), spec.objective.kind().to_owned())];
    // Beta, tau and other settings of the objective, with their names in the spec.
    let objective = fields(&serde_json::to_value(&spec.objective)?);
    rows.extend(objective.into_iter().filter(|(name, _)| name != "kind"));
    let mut row = |label: &str, value: String| rows.push((label.to_owned(), value));
    row("base", training.base().to_owned());
    if let Some(lora) = &spec.lora {
        row("adapter", format!("rank {}, alpha {}, fused into the weights", lora.rank, lora.alpha()));
    }
    row("reference", spec.reference.clone().unwrap_or_else(|| "the base".to_owned()));
    let data = fields(&serde_json::to_value(&spec.data)?);
    let data: Vec<String> = data.into_iter().map(|(name, value)| format!("{name} {value}")).collect();
    row("data", data.join(", "));
    row("steps", step.map_or_else(|| spec.steps.to_string(), |step| format!("{step} of {}", spec.steps)));
    row("images per step", spec.images_per_step().to_string());
    row("learning rate", format!("{:e}", spec.effective_rate()));
    row("seed", spec.seed.to_string());
    Ok(rows)
}

/// The fields of a JSON object with their values as text.
fn fields(value: &Value) -> Vec<(String, String)> {
    let fields = value.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fields.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A text as a cell of a Markdown table: on one line, with `|` escaped.
fn table_cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
