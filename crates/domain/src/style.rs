//! What making a style set is asked to do: images picked from a set lose against their edited versions.

use crate::data::DataSpec;
use crate::dataset::ReadReport;
use crate::image::{MAX_PROMPT_BYTES, Sampler};
use crate::problem::Problems;
use crate::train::MAX_SEED;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// In texts of a spec: stands for the image's own caption.
pub const CAPTION: &str = "{caption}";

/// A style set (section 3 of the paper): from each row of a set one image is picked at random as the loser, and
/// edited into the winner; the caption stays, and whatever the set itself says of its images is not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleSpec {
    /// Whose images are edited.
    pub data: DataSpec,
    /// How.
    pub editor: EditorSpec,
    /// The folder that is made.
    pub out: String,
    /// Of the picks, and of the noise of the edits.
    #[serde(default)]
    pub seed: u64,
}

/// How images are edited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EditorSpec {
    /// The bundled world's operators, which need no weights. Images are cut and scaled to 64 x 64 pixels.
    Classical {
        /// Which of them.
        style: ClassicalStyle,
    },
    /// By an instruction (the paper's Van Gogh set).
    #[serde(rename = "instruct_pix2pix")]
    InstructPix2Pix(InstructPix2PixSpec),
    /// As an example pair shows (the paper's Sketch and Winter sets).
    PromptDiffusion(PromptDiffusionSpec),
}

/// An operator of the bundled world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassicalStyle {
    /// Curved strokes of thick paint.
    VanGogh,
    /// Graphite on paper.
    Sketch,
    /// Snowed in.
    Winter,
}

/// Edits by an instruction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructPix2PixSpec {
    /// The model: its name, or a folder in diffusers layout.
    pub model: String,
    /// What to do with each image; `{caption}` stands for its caption. The paper does not say what it used.
    pub instruction: String,
    /// What to steer away from.
    #[serde(default)]
    pub negative_prompt: String,
    /// Denoising steps.
    #[serde(default = "steps")]
    pub steps: u32,
    /// How far to go along with the instruction.
    #[serde(default = "guidance_scale")]
    pub guidance_scale: f64,
    /// How close to stay to the image.
    #[serde(default = "image_guidance_scale")]
    pub image_guidance_scale: f64,
    /// Sampler; the model's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
}

/// Edits as an example pair shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptDiffusionSpec {
    /// The model that is steered (Stable Diffusion 1.5): its name, or a folder in diffusers layout.
    pub model: String,
    /// The ControlNet: a folder in diffusers layout, or the published checkpoint in one file.
    pub controlnet: String,
    /// Two images: one, and what was made of it. The paper does not publish its own.
    pub example: [String; 2],
    /// What the result shows; `{caption}` stands for the image's caption.
    #[serde(default = "prompt")]
    pub prompt: String,
    /// What to steer away from.
    #[serde(default = "negative_prompt")]
    pub negative_prompt: String,
    /// Denoising steps.
    #[serde(default = "steps")]
    pub steps: u32,
    /// Guidance scale.
    #[serde(default = "control_guidance_scale")]
    pub guidance_scale: f64,
    /// Sampler.
    #[serde(default)]
    pub sampler: Sampler,
    /// Pixels of the shorter side; sides become multiples of 64.
    #[serde(default = "short_side")]
    pub short_side: u32,
    /// The scale of pair and image that the ControlNet sees.
    #[serde(default)]
    pub hint_scale: HintScale,
}

/// The scale of pixels that a ControlNet sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HintScale {
    /// From -1 to 1, on which the published weights were trained.
    #[default]
    Signed,
    /// From 0 to 1, as diffusers' port feeds them.
    Unit,
}

fn steps() -> u32 {
    100
}
fn guidance_scale() -> f64 {
    7.5
}
fn image_guidance_scale() -> f64 {
    1.5
}
fn control_guidance_scale() -> f64 {
    9.0
}
fn short_side() -> u32 {
    512
}
/// The notebook of the first implementation adds these words.
fn prompt() -> String {
    format!("{CAPTION}, best quality, extremely detailed")
}
fn negative_prompt() -> String {
    "longbody, lowres, bad anatomy, bad hands, missing fingers, extra digit, fewer digits, cropped, worst quality, \
     low quality"
        .to_owned()
}

impl StyleSpec {
    /// # Errors
    /// Every field that cannot be accepted, with the remedy.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        self.data.validate(&mut p);
        p.require(
            !matches!(self.data, DataSpec::Prepared(_) | DataSpec::Votes(_)),
            "data.source",
            "holds no images that could be edited: name shapes, pick_a_pic, folder or webdataset",
        );
        p.require(!self.out.trim().is_empty(), "out", "name the folder to make");
        p.require(self.seed <= MAX_SEED, "seed", format!("use 0 to {MAX_SEED}"));
        self.editor.validate(&mut p);
        p.into_result()
    }
}

impl EditorSpec {
    /// The word in specs, and in the manifests and columns of what it made.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Classical { .. } => "classical",
            Self::InstructPix2Pix(_) => "instruct_pix2pix",
            Self::PromptDiffusion(_) => "prompt_diffusion",
        }
    }

    fn validate(&self, p: &mut Problems) {
        let text = |p: &mut Problems, field: &str, text: &str| {
            p.require(
                text.len() <= MAX_PROMPT_BYTES,
                field,
                format!("has {} bytes: use at most {MAX_PROMPT_BYTES}", text.len()),
            );
        };
        let common = |p: &mut Problems, model: &str, steps: u32, scale: f64| {
            p.require(!model.trim().is_empty(), "editor.model", "name the model that edits");
            p.require((1..=1000).contains(&steps), "editor.steps", "use 1 to 1000");
            p.require((0.0..=50.0).contains(&scale), "editor.guidance_scale", "use 0 to 50");
        };
        match self {
            Self::Classical { .. } => {}
            Self::InstructPix2Pix(spec) => {
                common(p, &spec.model, spec.steps, spec.guidance_scale);
                p.require(
                    !spec.instruction.trim().is_empty(),
                    "editor.instruction",
                    "say what to do with each image",
                );
                text(p, "editor.instruction", &spec.instruction);
                text(p, "editor.negative_prompt", &spec.negative_prompt);
                p.require(
                    (0.0..=50.0).contains(&spec.image_guidance_scale),
                    "editor.image_guidance_scale",
                    "use 0 to 50",
                );
            }
            Self::PromptDiffusion(spec) => {
                common(p, &spec.model, spec.steps, spec.guidance_scale);
                p.require(!spec.controlnet.trim().is_empty(), "editor.controlnet", "name the ControlNet");
                text(p, "editor.prompt", &spec.prompt);
                text(p, "editor.negative_prompt", &spec.negative_prompt);
                p.require(
                    spec.example.iter().all(|file| !file.trim().is_empty()),
                    "editor.example",
                    "name two image files: one, and what was made of it",
                );
                p.require((64..=2048).contains(&spec.short_side), "editor.short_side", "use 64 to 2048");
            }
        }
    }
}

/// `manifest.json` of a style set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleManifest {
    /// What was asked for.
    pub spec: StyleSpec,
    /// SHA-256 of the files that edit: weights, configs, the example pair.
    pub files: BTreeMap<String, String>,
    /// What was read and dropped, once the set is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReadReport>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(editor: serde_json::Value) -> StyleSpec {
        let data = serde_json::json!({ "source": "shapes", "set": "images", "count": 3 });
        let spec = serde_json::json!({ "data": data, "editor": editor, "out": "sets/winter" });
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn defaults_are_those_of_the_first_implementations() {
        let spec = spec(serde_json::json!({
            "kind": "prompt_diffusion", "model": "sd15", "controlnet": "c", "example": ["a.png", "b.png"],
        }));
        spec.validate().expect("sound");
        let EditorSpec::PromptDiffusion(editor) = spec.editor else { panic!("another kind") };
        assert_eq!((editor.steps, editor.guidance_scale, editor.short_side), (100, 9.0, 512));
        assert_eq!((editor.sampler, editor.hint_scale), (Sampler::Ddim, HintScale::Signed));
    }

    #[test]
    fn problems_name_their_fields() {
        let fields = |spec: &StyleSpec| {
            let problems = spec.validate().expect_err("it has problems");
            problems.0.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
        };
        let pix = spec(serde_json::json!({
            "kind": "instruct_pix2pix", "model": " ", "instruction": "", "steps": 0, "image_guidance_scale": -1,
        }));
        let editor = ["model", "steps", "instruction", "image_guidance_scale"];
        assert_eq!(fields(&pix), editor.map(|field| format!("editor.{field}")));
        let classical = spec(serde_json::json!({ "kind": "classical", "style": "winter" }));
        let other = StyleSpec { out: String::new(), seed: MAX_SEED + 1, ..classical };
        assert_eq!(fields(&other), ["out", "seed"]);
        let unknown = serde_json::json!({ "kind": "classical", "style": "winter", "steps": 3 });
        assert!(serde_json::from_value::<EditorSpec>(unknown).is_err());
    }
}
