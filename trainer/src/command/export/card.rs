//! The model card: what the model is, by what spec it was trained, how to load it.

use anyhow::{Context, Result};
use askama::Template;
use diffusion::layout::Origin;
use diffusion::pipeline::Defaults;
use domain::train::TrainSpec;
use serde_json::Value;

/// What a card tells of.
pub(super) struct Card<'a> {
    pub(super) name: &'a str,
    pub(super) trained: Option<Trained>,
    pub(super) source: Option<Origin>,
    /// Of the UNet's file, as exported.
    pub(super) sha256: String,
    /// diffusers' pipeline.
    pub(super) class: &'static str,
    pub(super) defaults: Defaults,
    pub(super) half: bool,
    pub(super) unet_only: bool,
    pub(super) sample: Option<String>,
}

/// How a model was trained.
pub(super) struct Trained {
    pub(super) spec: TrainSpec,
    /// The step it was saved after.
    pub(super) step: Option<i64>,
    pub(super) base: Option<String>,
}

#[derive(Template)]
#[template(path = "model_card.md", escape = "none")]
struct Page<'a> {
    name: &'a str,
    objective: Option<&'static str>,
    base: Option<String>,
    source: Option<String>,
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
        let mut rows = vec![];
        let mut row = |label: &str, value: String| rows.push((label.to_owned(), one_line(&value)));
        let base =
            self.trained.as_ref().map(|trained| trained.base.clone().unwrap_or(trained.spec.base.clone()));
        if let Some(Trained { spec, step, .. }) = &self.trained {
            row("objective", spec.objective.kind().to_owned());
            // Beta, tau and whatever else an objective has, under the names of the spec.
            for (name, value) in fields(&serde_json::to_value(&spec.objective)?, "kind") {
                row(&name, value);
            }
            row("base", base.clone().unwrap_or_default());
            if let Some(lora) = &spec.lora {
                let adapter = format!("rank {}, alpha {}, fused into the weights", lora.rank, lora.alpha());
                row("adapter", adapter);
            }
            row("reference", spec.reference.clone().unwrap_or_else(|| "the base".to_owned()));
            let data = serde_json::to_value(&spec.data)?;
            row(
                "data",
                fields(&data, "")
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            );
            let steps =
                step.map_or_else(|| spec.steps.to_string(), |step| format!("{step} of {}", spec.steps));
            row("steps", steps);
            row("images per step", spec.images_per_step().to_string());
            row("learning rate", format!("{:e}", spec.effective_rate()));
            row("seed", spec.seed.to_string());
        }
        if let Some(origin) = &self.source {
            row("source", origin.source.clone());
            if let Some(revision) = &origin.revision {
                row("revision", revision.clone());
            }
        }
        row("size", format!("{} x {} pixels", self.defaults.width, self.defaults.height));
        row("weights", (if self.half { "half precision" } else { "single precision" }).to_owned());
        row("SHA-256 of the UNet", format!("`{}`", self.sha256));
        let spec = self.trained.as_ref().map(|trained| toml::to_string(&trained.spec)).transpose();
        let page = Page {
            name: self.name,
            objective: self.trained.as_ref().map(|trained| trained.spec.objective.kind()),
            base,
            source: self.source.as_ref().map(|origin| origin.source.clone()),
            rows,
            class: self.class,
            torch_dtype: if self.half { "torch.float16" } else { "torch.float32" },
            unet_only: self.unet_only,
            steps: self.defaults.steps,
            guidance_scale: self.defaults.guidance_scale,
            sample: self.sample.as_deref().map(one_line),
            spec: spec.context("the spec cannot be told")?.map(|spec| spec.trim_end().to_owned()),
        };
        Ok(page.render()?)
    }
}

/// The fields of a JSON object but one.
fn fields(value: &Value, without: &str) -> impl Iterator<Item = (String, String)> {
    let fields: Vec<(String, String)> = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != without)
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    fields.into_iter()
}

/// A text that may hold anything, as one cell of a table.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
