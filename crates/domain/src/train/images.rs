//! Augmentation of training images, and the image sizes that condition SDXL.

use serde::{Deserialize, Serialize};

/// Which images are mirrored left to right, each with probability 1/2 in every epoch. Images whose caption contains
/// the word "left" or "right" are never mirrored: the caption would become wrong. (The reference scripts mirror those
/// too.)
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HorizontalFlip {
    /// None.
    #[default]
    Off,
    /// Winner and loser together, so that they stay comparable, as in diffusers' Diffusion-DPO example for SDXL.
    PerPair,
    /// Winner and loser independently, as in Diffusion-DPO's `train.py`.
    #[serde(alias = "per_picture")]
    PerImage,
}

/// The image sizes that condition SDXL's UNet in training. No effect on other models.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MicroConditioningSpec {
    /// Each image's size before resizing and the position of its crop, as in diffusers'
    /// `train_text_to_image_sdxl.py`.
    #[default]
    #[serde(alias = "picture")]
    Image,
    /// The training size and no crop for every image, as in Diffusion-DPO's `train.py`.
    Whole,
}
