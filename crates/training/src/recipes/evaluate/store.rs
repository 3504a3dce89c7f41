//! Where an evaluation keeps its images, scores and reports.

use crate::judges::Scores;
use anyhow::Result;
use domain::evaluate::ReportFile;
use domain::image::GenerationParams;
use image::RgbImage;
use std::path::PathBuf;

/// Images, scores and reports of an evaluation: files of a folder (`FolderStore`), or rows and artifacts of the
/// database (the worker's). Models and prompts are identified by their index. An image exists completely or not at all.
pub trait EvaluationStore {
    /// Keeps the categories of prompts: prompt and category. Called once, before images are drawn.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn put_categories(&mut self, categories: &[(&str, &str)]) -> Result<()>;

    /// Which of a model's images exist, one per prompt. Called once per model, before its images are drawn.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    fn existing(&mut self, model: usize, params: &[GenerationParams]) -> Result<Vec<bool>>;

    /// Keeps new images: the prompt's index, how the image was drawn, and the image.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn put_images(&mut self, model: usize, images: &[(usize, &GenerationParams, &RgbImage)]) -> Result<()>;

    /// Keeps a model's scores, by metric one per prompt.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn put_scores(&mut self, model: usize, scores: &Scores) -> Result<()>;

    /// The file of an image.
    ///
    /// # Errors
    /// Fails if there is no such image.
    fn image_file(&self, model: usize, index: usize) -> Result<PathBuf>;

    /// Keeps a form of the report.
    ///
    /// # Errors
    /// Fails if the store cannot be written.
    fn put_report(&mut self, file: ReportFile, bytes: Vec<u8>) -> Result<()>;
}
