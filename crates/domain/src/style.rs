//! The spec of making a style set: pairs of an image (loser) and its edited version (winner).

use crate::data::DataSpec;
use crate::dataset::ReadReport;
use crate::image::Sampler;
use crate::limits::{MAX_DENOISING_STEPS, MAX_GUIDANCE_SCALE, MAX_PROMPT_BYTES, MAX_SEED};
use crate::problem::Problems;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Placeholder in the texts of a spec, replaced by each image's caption.
pub const CAPTION: &str = "{caption}";

/// Makes a style set (Diff-contrast paper, section 3): of each row of a set one image is chosen at random as the
/// loser, and edited into the winner. The caption stays; the labels of the set are not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleSpec {
    /// The set whose images are edited.
    pub data: DataSpec,
    /// The method of editing.
    pub editor: EditorSpec,
    /// The folder to write.
    pub out: String,
    /// Seed of the choice of images and of the edits' noise, 0 to 2^53 - 1.
    #[serde(default)]
    pub seed: u64,
}

/// How images are edited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EditorSpec {
    /// The image operators of the bundled world, which need no weights. Images keep their size; strokes and flakes grow
    /// with the shorter side.
    Classical {
        /// The operator.
        style: ClassicalStyle,
    },
    /// InstructPix2Pix, which follows an instruction (the paper's Van Gogh set).
    #[serde(rename = "instruct_pix2pix")]
    InstructPix2Pix(InstructPix2PixSpec),
    /// Prompt Diffusion, which follows an example pair (the paper's Sketch and Winter sets).
    PromptDiffusion(PromptDiffusionSpec),
}

/// An image operator of the bundled world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassicalStyle {
    /// Curved strokes of thick paint.
    VanGogh,
    /// Graphite on paper.
    Sketch,
    /// Covered in snow.
    Winter,
}

/// Settings of InstructPix2Pix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstructPix2PixSpec {
    /// The model: its name, or a folder in diffusers layout.
    pub model: String,
    /// What to do with each image; `{caption}` is replaced by its caption. The paper does not give its instruction.
    pub instruction: String,
    /// What the result shall not show.
    #[serde(default)]
    pub negative_prompt: String,
    /// Denoising steps, 1 to 1000.
    #[serde(default = "steps")]
    pub steps: u32,
    /// Weight of the instruction, 0 to 50. Higher edits more.
    #[serde(default = "guidance_scale")]
    pub guidance_scale: f64,
    /// Weight of the original image, 0 to 50. Higher keeps more of it.
    #[serde(default = "image_guidance_scale")]
    pub image_guidance_scale: f64,
    /// The sampler; the model's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampler: Option<Sampler>,
}

/// Settings of Prompt Diffusion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptDiffusionSpec {
    /// The Stable Diffusion 1.5 model that the ControlNet steers: its name, or a folder in diffusers layout.
    pub model: String,
    /// The ControlNet: a folder in diffusers layout, or the published checkpoint in one file.
    pub controlnet: String,
    /// Two image files: an original and its edited version. The paper does not publish its own.
    pub example: [String; 2],
    /// What the result shows; `{caption}` is replaced by the image's caption.
    #[serde(default = "prompt")]
    pub prompt: String,
    /// What the result shall not show.
    #[serde(default = "negative_prompt")]
    pub negative_prompt: String,
    /// Denoising steps, 1 to 1000.
    #[serde(default = "steps")]
    pub steps: u32,
    /// Guidance scale, 0 to 50.
    #[serde(default = "control_guidance_scale")]
    pub guidance_scale: f64,
    /// The sampler.
    #[serde(default)]
    pub sampler: Sampler,
    /// Pixels of the shorter side, 64 to 2048; both sides are rounded to multiples of 64.
    #[serde(default = "short_side")]
    pub short_side: u32,
    /// Range of the pixel values that the ControlNet reads.
    #[serde(default)]
    pub hint_scale: HintScale,
}

/// Range of the pixel values that a ControlNet reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HintScale {
    /// -1 to 1, with which the published weights were trained.
    #[default]
    Signed,
    /// 0 to 1, as in diffusers' port.
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
/// With the words that the notebook of the original implementation appends.
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
    /// Returns every field that is empty or out of range.
    pub fn validate(&self) -> Result<(), Problems> {
        let mut p = Problems::default();
        self.data.validate(&mut p);
        p.require(
            !matches!(self.data, DataSpec::Prepared(_) | DataSpec::Votes(_) | DataSpec::Drawn(_)),
            "data.source",
            "has no original images to edit: use shapes, pick_a_pic, folder or webdataset",
        );
        p.require(!self.out.trim().is_empty(), "out", "name the folder to write");
        p.require(self.seed <= MAX_SEED, "seed", format!("use 0 to {MAX_SEED}"));
        self.editor.validate(&mut p);
        p.into_result()
    }
}

impl EditorSpec {
    /// The value of `kind` in specs, and the name of the winners' model in the sets that it makes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Classical { .. } => "classical",
            Self::InstructPix2Pix(_) => "instruct_pix2pix",
            Self::PromptDiffusion(_) => "prompt_diffusion",
        }
    }

    fn validate(&self, p: &mut Problems) {
        match self {
            Self::Classical { .. } => {}
            Self::InstructPix2Pix(spec) => spec.validate(p),
            Self::PromptDiffusion(spec) => spec.validate(p),
        }
    }
}

impl InstructPix2PixSpec {
    fn validate(&self, p: &mut Problems) {
        validate_denoising(&self.model, self.steps, self.guidance_scale, p);
        p.require(
            !self.instruction.trim().is_empty(),
            "editor.instruction",
            "say what to do with each image",
        );
        validate_text("editor.instruction", &self.instruction, p);
        validate_text("editor.negative_prompt", &self.negative_prompt, p);
        validate_scale("editor.image_guidance_scale", self.image_guidance_scale, p);
    }
}

impl PromptDiffusionSpec {
    fn validate(&self, p: &mut Problems) {
        validate_denoising(&self.model, self.steps, self.guidance_scale, p);
        p.require(!self.controlnet.trim().is_empty(), "editor.controlnet", "name the ControlNet");
        validate_text("editor.prompt", &self.prompt, p);
        validate_text("editor.negative_prompt", &self.negative_prompt, p);
        p.require(
            self.example.iter().all(|file| !file.trim().is_empty()),
            "editor.example",
            "name two image files: an original and its edited version",
        );
        p.require((64..=2048).contains(&self.short_side), "editor.short_side", "use 64 to 2048");
    }
}

fn validate_denoising(model: &str, steps: u32, guidance_scale: f64, p: &mut Problems) {
    p.require(!model.trim().is_empty(), "editor.model", "name the model that edits");
    p.require(
        (1..=MAX_DENOISING_STEPS).contains(&steps),
        "editor.steps",
        format!("use 1 to {MAX_DENOISING_STEPS}"),
    );
    validate_scale("editor.guidance_scale", guidance_scale, p);
}

fn validate_scale(field: &str, scale: f64, p: &mut Problems) {
    p.require((0.0..=MAX_GUIDANCE_SCALE).contains(&scale), field, format!("use 0 to {MAX_GUIDANCE_SCALE}"));
}

fn validate_text(field: &str, text: &str, p: &mut Problems) {
    p.require(
        text.len() <= MAX_PROMPT_BYTES,
        field,
        format!("has {} bytes: use at most {MAX_PROMPT_BYTES}", text.len()),
    );
}

/// `manifest.json` of a style set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StyleManifest {
    /// The spec that the set was made by.
    pub spec: StyleSpec,
    /// SHA-256 of the editor's files: weights, configs, the example pair.
    pub files: BTreeMap<String, String>,
    /// Rows read and dropped; absent until the set is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<ReadReport>,
}

#[cfg(test)]
mod tests {
    use super::{EditorSpec, HintScale, StyleSpec};
    use crate::image::Sampler;
    use crate::limits::MAX_SEED;

    fn spec(editor: serde_json::Value) -> StyleSpec {
        let data = serde_json::json!({ "source": "shapes", "set": "images", "count": 3 });
        let spec = serde_json::json!({ "data": data, "editor": editor, "out": "sets/winter" });
        serde_json::from_value(spec).expect("a spec")
    }

    #[test]
    fn defaults_equal_the_original_implementations() {
        let spec = spec(serde_json::json!({
            "kind": "prompt_diffusion", "model": "sd15", "controlnet": "c", "example": ["a.png", "b.png"],
        }));
        spec.validate().expect("valid");
        let EditorSpec::PromptDiffusion(editor) = spec.editor else { panic!("another kind") };
        assert_eq!((editor.steps, editor.guidance_scale, editor.short_side), (100, 9.0, 512));
        assert_eq!((editor.sampler, editor.hint_scale), (Sampler::Ddim, HintScale::Signed));
    }

    #[test]
    fn problems_name_their_fields() {
        let fields = |spec: &StyleSpec| {
            let problems = spec.validate().expect_err("invalid");
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
