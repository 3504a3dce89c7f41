//! What becomes of an image between its file and the networks, and what SDXL is told of that.

use serde::{Deserialize, Serialize};

/// Which images are turned left to right, each with a chance of one half, drawn anew every time an example is dealt.
/// Images whose caption has the word "left" or "right" never are: it would become wrong of them. The reference scripts
/// turn those too.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HorizontalFlip {
    /// None.
    #[default]
    Off,
    /// Winner and loser together, so that a pair stays comparable, as diffusers' Diffusion-DPO example for SDXL does.
    PerPair,
    /// Winner and loser each by a draw of its own, as Diffusion-DPO's `train.py` does.
    #[serde(alias = "per_picture")]
    PerImage,
}

/// What SDXL's UNet is told of an image's sizes in training; other models are told nothing.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MicroConditioningSpec {
    /// The truth of each image: its size before it was resized, and where it was cut, as diffusers'
    /// `train_text_to_image_sdxl.py` does.
    #[default]
    #[serde(alias = "picture")]
    Image,
    /// That it is whole and of the training size, as Diffusion-DPO's `train.py` does.
    Whole,
}
