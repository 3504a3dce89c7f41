//! How a CLIP's input pixels are normalised.

use crate::preprocess::{CLIP_DEVIATION, CLIP_MEAN};
use diffusion::Result;
use diffusion::config;
use serde::Deserialize;
use std::path::Path;

/// Mean and standard deviation of each channel, by which pixels are normalised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normalisation {
    pub(crate) mean: [f32; 3],
    pub(crate) deviation: [f32; 3],
}

impl Normalisation {
    /// Reads `preprocessor_config.json` of a folder; OpenAI's values if there is no such file.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self> {
        let file = folder.map(|folder| folder.join("preprocessor_config.json")).filter(|file| file.is_file());
        let PreprocessorConfig { image_mean, image_std } = match file {
            Some(file) => config::read(&file)?,
            None => PreprocessorConfig { image_mean: CLIP_MEAN, image_std: CLIP_DEVIATION },
        };
        Ok(Self { mean: image_mean, deviation: image_std })
    }
}

/// The fields of `preprocessor_config.json` that are read.
#[derive(Debug, Deserialize)]
struct PreprocessorConfig {
    #[serde(default = "clip_mean")]
    image_mean: [f32; 3],
    #[serde(default = "clip_deviation")]
    image_std: [f32; 3],
}

fn clip_mean() -> [f32; 3] {
    CLIP_MEAN
}
fn clip_deviation() -> [f32; 3] {
    CLIP_DEVIATION
}
