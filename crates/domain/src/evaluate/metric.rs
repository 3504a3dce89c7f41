//! Metrics that score an image.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// A metric that scores an image for its prompt. For each of them higher is better.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Cosine of the image's and the prompt's CLIP features, by the CLIP model in the folder of the generating model.
    ClipScore,
    /// 1 if the image shows the shape and the colour that the prompt names, else 0: a rule for the bundled world.
    ShapeAndColour,
    /// 1 if the image shows everything that the prompt states (shapes, colours, size, relation, background), else 0: a
    /// rule for the bundled world.
    PromptFollowed,
    /// Focus, grain, contrast and blocks, each 0 to 1, averaged: a rule for the bundled world. It ignores the prompt.
    Clarity,
    /// HPSv2 v2.0: 100 times the cosine.
    #[serde(rename = "hps_v2_0")]
    HpsV20,
    /// HPSv2 v2.1: 100 times the cosine. Not comparable with v2.0.
    #[serde(rename = "hps_v2_1")]
    HpsV21,
    /// PickScore v1: 100 times the cosine.
    PickScore,
    /// LAION's improved aesthetic predictor; it ignores the prompt.
    Aesthetic,
    /// CLIP score by OpenCLIP's ViT-H/14: the cosine.
    #[serde(rename = "clip_score_h14")]
    ClipScoreH14,
    /// CLIP score by OpenAI's ViT-L/14: the cosine.
    #[serde(rename = "clip_score_l14")]
    ClipScoreL14,
    /// ImageReward v1.0, standardised.
    ImageReward,
}

impl Metric {
    /// All metrics, in the order of pages and reports.
    pub const ALL: [Self; 11] = [
        Self::ClipScore,
        Self::ShapeAndColour,
        Self::PromptFollowed,
        Self::Clarity,
        Self::HpsV20,
        Self::HpsV21,
        Self::PickScore,
        Self::Aesthetic,
        Self::ClipScoreH14,
        Self::ClipScoreL14,
        Self::ImageReward,
    ];

    /// Whether it is a reward model, which needs files of its own.
    #[must_use]
    pub fn is_reward(self) -> bool {
        !matches!(self, Self::ClipScore) && !self.is_rule()
    }

    /// Whether it is a rule of the bundled world, computed without a network.
    #[must_use]
    pub fn is_rule(self) -> bool {
        matches!(self, Self::ShapeAndColour | Self::PromptFollowed | Self::Clarity)
    }

    /// The files that it needs, and where people get them. Names are those of repositories of the Hugging Face hub.
    #[must_use]
    pub fn needs(self) -> &'static str {
        match self {
            Self::ClipScore => "clip = \"openai/clip-vit-large-patch14\", or another CLIP",
            Self::ShapeAndColour | Self::PromptFollowed | Self::Clarity => {
                "prompts = { source = \"shapes_held_out\", .. } and a model of the bundled world"
            }
            Self::HpsV20 => {
                "HPS_v2_compressed.pt of xswu/HPSv2, and vocab.json and merges.txt of openai/clip-vit-large-patch14"
            }
            Self::HpsV21 => {
                "HPS_v2.1_compressed.pt of xswu/HPSv2, and vocab.json and merges.txt of openai/clip-vit-large-patch14"
            }
            Self::PickScore => {
                "model.safetensors of yuvalkirstain/PickScore_v1, and vocab.json and merges.txt of \
                 laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
            }
            Self::Aesthetic => {
                "sac+logos+ava1-l14-linearMSE.pth of the improved-aesthetic-predictor, and as backbone the weights of \
                 openai/clip-vit-large-patch14"
            }
            Self::ClipScoreH14 => {
                "open_clip_model.safetensors, vocab.json and merges.txt of laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
            }
            Self::ClipScoreL14 => {
                "model.safetensors, vocab.json and merges.txt of openai/clip-vit-large-patch14"
            }
            Self::ImageReward => {
                "ImageReward.pt of zai-org/ImageReward, and vocab.txt of google-bert/bert-base-uncased"
            }
        }
    }

    /// Whether it resizes images as tensors, where antialiasing is an option.
    #[must_use]
    pub fn resizes_tensors(self) -> bool {
        matches!(self, Self::HpsV20 | Self::HpsV21 | Self::ClipScoreH14)
    }

    /// The value in bodies and columns.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClipScore => "clip_score",
            Self::ShapeAndColour => "shape_and_colour",
            Self::PromptFollowed => "prompt_followed",
            Self::Clarity => "clarity",
            Self::HpsV20 => "hps_v2_0",
            Self::HpsV21 => "hps_v2_1",
            Self::PickScore => "pick_score",
            Self::Aesthetic => "aesthetic",
            Self::ClipScoreH14 => "clip_score_h14",
            Self::ClipScoreL14 => "clip_score_l14",
            Self::ImageReward => "image_reward",
        }
    }

    /// The name on pages and in reports.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ClipScore => "CLIP score",
            Self::ShapeAndColour => "Shape & colour",
            Self::PromptFollowed => "Prompt followed",
            Self::Clarity => "Clarity",
            Self::HpsV20 => "HPS v2.0",
            Self::HpsV21 => "HPS v2.1",
            Self::PickScore => "PickScore",
            Self::Aesthetic => "Aesthetics",
            Self::ClipScoreH14 => "CLIP score (H/14)",
            Self::ClipScoreL14 => "CLIP score (L/14)",
            Self::ImageReward => "ImageReward",
        }
    }
}

impl FromStr for Metric {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|m| m.as_str() == s).ok_or_else(|| {
            format!("{s:?} is not a metric: use one of {}", Self::ALL.map(Self::as_str).join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Metric;

    #[test]
    fn a_metric_has_one_name_in_json_and_text() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).expect("JSON"), metric.as_str());
            assert_eq!(metric.as_str().parse(), Ok(metric));
        }
    }

    /// serde's error for an unknown variant lists every variant of the enum, independently of `ALL`.
    #[test]
    fn the_list_of_all_metrics_is_complete() {
        let error = serde_json::from_str::<Metric>("\"none\"").expect_err("not a metric").to_string();
        let names: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(names, Metric::ALL.map(Metric::as_str), "{error}");
    }
}
