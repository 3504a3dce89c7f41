//! The identity of models that have evaluation images: what their files were when the images were drawn.

use crate::models::Catalogue;
use anyhow::{Context, Result, ensure};
use diffusion::fingerprint::{DEFAULTS, Fingerprint};
use domain::model::Model;

impl Catalogue {
    /// Checks that a model's files are still those that its evaluation images were drawn with. The first call for a model
    /// records them. Default settings are not compared, because the row of an image holds the settings that were used.
    ///
    /// # Errors
    /// Fails if they differ, and names the parts; or if the database does not answer.
    pub async fn check_identity(&self, model: &Model, files: &Fingerprint) -> Result<()> {
        let files = files.clone().without(DEFAULTS);
        let recorded = self.store.record_fingerprint(model.id, &serde_json::to_string(&files)?).await?;
        let recorded: Fingerprint = serde_json::from_str(&recorded)
            .with_context(|| format!("the recorded fingerprint of model {:?} is damaged", model.name))?;
        let differing = recorded.differences(&files);
        ensure!(
            differing.is_empty(),
            "model {:?} was drawn with other files: {} changed since. Its images and votes are of the old files: restore \
             them, or give the changed model another name",
            model.name,
            differing.join(", ")
        );
        Ok(())
    }
}
