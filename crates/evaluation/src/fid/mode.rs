//! The three common ways to compute FID. They give different numbers for the same images, so a number without its
//! mode says little.

use super::resize::{tensorflow_bilinear, torch_bilinear};
use crate::inception::SIDE;
use crate::preprocess::{Filter, Window, resize_f32};
use image::RgbImage;
use std::str::FromStr;

/// Whose FID. Each names what the network sees of an image; weights and distance are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// pytorch-fid: torch's bilinear resizing without antialiasing, from -1 to 1.
    #[default]
    PytorchFid,
    /// clean-fid ("clean"): Pillow's bicubic resizing of single-precision channels, (x - 128) / 128.
    CleanFid,
    /// torch-fidelity: bilinear resizing as TensorFlow 1 did it, (x - 128) / 128.
    TorchFidelity,
}

impl Mode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::PytorchFid, Self::CleanFid, Self::TorchFidelity];

    /// The word in commands and results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PytorchFid => "pytorch-fid",
            Self::CleanFid => "clean-fid",
            Self::TorchFidelity => "torch-fidelity",
        }
    }

    /// What Inception sees: (3, 299, 299), channels first.
    #[must_use]
    pub fn pixels(self, image: &RgbImage) -> Vec<f32> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let mut seen = Vec::with_capacity(3 * SIDE * SIDE);
        for channel in 0..3 {
            let values = image.as_raw().iter().skip(channel).step_by(3);
            // pytorch-fid resizes fractions of 255, the others levels.
            let unit = if self == Self::PytorchFid { 255.0 } else { 1.0 };
            let plane: Vec<f32> = values.map(|&v| f32::from(v) / unit).collect();
            match self {
                Self::PytorchFid => {
                    seen.extend(torch_bilinear(&plane, width, height, SIDE).iter().map(|v| 2.0 * v - 1.0));
                }
                Self::CleanFid => {
                    let resized = resize_f32(
                        &plane,
                        (width, height),
                        (SIDE, SIDE),
                        Window::whole((SIDE, SIDE)),
                        Filter::Bicubic,
                    );
                    seen.extend(resized.iter().map(|v| (v.clamp(0.0, 255.0) - 128.0) / 128.0));
                }
                Self::TorchFidelity => {
                    let resized = tensorflow_bilinear(&plane, width, height, SIDE);
                    seen.extend(resized.iter().map(|v| (v - 128.0) / 128.0));
                }
            }
        }
        seen
    }
}

impl FromStr for Mode {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == s)
            .ok_or_else(|| format!("{s:?} is no mode: use {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}
