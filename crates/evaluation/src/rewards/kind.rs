//! The published reward models and what their scores are.

/// A published reward model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RewardKind {
    /// HPSv2 v2.0: the version of most papers, and the default of `hpsv2.score`.
    HpsV20,
    /// HPSv2 v2.1: the default of `hpsv2.evaluate`. Its scores are not comparable with those of v2.0.
    HpsV21,
    /// PickScore v1.
    PickScore,
    /// LAION's improved aesthetic predictor (sac+logos+ava1-l14-linearMSE).
    Aesthetic,
    /// CLIP score with OpenCLIP's ViT-H/14.
    ClipScoreH14,
    /// CLIP score with OpenAI's ViT-L/14.
    ClipScoreL14,
    /// ImageReward v1.0.
    ImageReward,
}

impl RewardKind {
    /// Every reward model.
    pub const ALL: [Self; 7] = [
        Self::HpsV20,
        Self::HpsV21,
        Self::PickScore,
        Self::Aesthetic,
        Self::ClipScoreH14,
        Self::ClipScoreL14,
        Self::ImageReward,
    ];

    /// The name in specs, results and file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HpsV20 => "hps_v2_0",
            Self::HpsV21 => "hps_v2_1",
            Self::PickScore => "pick_score",
            Self::Aesthetic => "aesthetic",
            Self::ClipScoreH14 => "clip_score_h14",
            Self::ClipScoreL14 => "clip_score_l14",
            Self::ImageReward => "image_reward",
        }
    }

    /// What the score is: backbone, scale and clamping, for reports.
    #[must_use]
    pub fn statement(self) -> &'static str {
        match self {
            Self::HpsV20 => {
                "HPSv2 v2.0 (ViT-H/14): 100 x cosine of image and prompt in f32, not clamped; longer side resized as \
                 a tensor, black border. The package's score() is a hundredth of this"
            }
            Self::HpsV21 => {
                "HPSv2 v2.1 (ViT-H/14): 100 x cosine of image and prompt in f32, not clamped; longer side resized as \
                 a tensor, black border. Not comparable with v2.0"
            }
            Self::PickScore => {
                "PickScore v1 (ViT-H/14): 100 x cosine of image and prompt, not clamped; the package multiplies by \
                 exp(logit_scale) of the file, which is about 100"
            }
            Self::Aesthetic => {
                "LAION improved aesthetic predictor, linearMSE on OpenAI ViT-L/14: about 1 to 10, not clamped; \
                 independent of the prompt"
            }
            Self::ClipScoreH14 => {
                "CLIP score: cosine by OpenCLIP ViT-H/14 laion2B-s32B-b79K, neither scaled nor clamped; images \
                 prepared as HPSv2's"
            }
            Self::ClipScoreL14 => {
                "CLIP score: cosine by OpenAI ViT-L/14, neither scaled nor clamped; images prepared as OpenAI's"
            }
            Self::ImageReward => {
                "ImageReward v1.0: standardised to mean 0 and standard deviation 1 on its training images; not clamped"
            }
        }
    }

    /// Whether the score depends on the prompt.
    pub(crate) fn reads_prompt(self) -> bool {
        self != Self::Aesthetic
    }
}

impl std::str::FromStr for RewardKind {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|k| k.as_str() == s)
            .ok_or_else(|| format!("unknown reward model {s:?}: use {}", names()))
    }
}
