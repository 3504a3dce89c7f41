//! The preprocessing of the three common implementations of FID. They give different numbers for the same images, so a
//! number is only comparable with numbers of the same mode.

use super::resize::{tensorflow_bilinear, torch_bilinear};
use crate::inception::SIDE;
use crate::preprocess::{Window, resize_f32};
use image::RgbImage;
use std::str::FromStr;

/// An implementation of FID. They differ in how an image is resized and scaled; weights and distance are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// pytorch-fid: torch's bilinear resizing without antialiasing, scaled to -1..1.
    #[default]
    PytorchFid,
    /// clean-fid in its mode "clean": Pillow's bicubic resizing of float channels, (x - 128) / 128.
    CleanFid,
    /// torch-fidelity: TensorFlow 1's bilinear resizing, (x - 128) / 128.
    TorchFidelity,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::PytorchFid, Self::CleanFid, Self::TorchFidelity];

    /// The name in commands and results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PytorchFid => "pytorch-fid",
            Self::CleanFid => "clean-fid",
            Self::TorchFidelity => "torch-fidelity",
        }
    }

    /// The input of Inception: (3, 299, 299), channels first.
    pub(super) fn pixels(self, image: &RgbImage) -> Vec<f32> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let mut pixels = Vec::with_capacity(3 * SIDE * SIDE);
        for channel in 0..3 {
            let values = image.as_raw().iter().skip(channel).step_by(3);
            // pytorch-fid resizes values from 0 to 1, the others from 0 to 255.
            let unit = if self == Self::PytorchFid { 255.0 } else { 1.0 };
            let plane: Vec<f32> = values.map(|&v| f32::from(v) / unit).collect();
            match self {
                Self::PytorchFid => {
                    let resized = torch_bilinear(&plane, width, height, SIDE);
                    pixels.extend(resized.iter().map(|v| 2.0 * v - 1.0));
                }
                Self::CleanFid => {
                    let resized =
                        resize_f32(&plane, (width, height), (SIDE, SIDE), Window::whole((SIDE, SIDE)));
                    pixels.extend(resized.iter().map(|v| (v.clamp(0.0, 255.0) - 128.0) / 128.0));
                }
                Self::TorchFidelity => {
                    let resized = tensorflow_bilinear(&plane, width, height, SIDE);
                    pixels.extend(resized.iter().map(|v| (v - 128.0) / 128.0));
                }
            }
        }
        pixels
    }
}

impl FromStr for Mode {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == s)
            .ok_or_else(|| format!("unknown mode {s:?}: use {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}
