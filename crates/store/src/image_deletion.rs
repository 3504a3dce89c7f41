//! Deletion of images that users requested.

use crate::db::{Store, in_transaction};
use crate::error::{Conflict, StoreError};
use domain::id::ImageId;
use domain::image::Purpose;

impl Store {
    /// Deletes an image that a user requested, with the matchups of it that nobody has judged. Returns its artifact, which the
    /// caller deletes afterwards; none if there is no such image.
    ///
    /// # Errors
    /// Fails with `Conflict::ImageNotRequested` for a sample of a run or an image of an evaluation; with `Conflict::ImageInUse` if
    /// a vote, a skip, a check of a campaign, or a known answer of a campaign that is not closed refers to it.
    pub async fn remove_requested_image(&self, id: ImageId) -> Result<Option<String>, StoreError> {
        let artifact = in_transaction!(self, tx => {
            let found: Option<(String, String)> =
                sqlx::query_as("SELECT artifact, purpose FROM images WHERE id = $1")
                    .bind(id.0)
                    .fetch_optional(&mut *tx)
                    .await?;
            let Some((artifact, purpose)) = found else { return Ok(None) };
            if purpose != Purpose::Generation.as_str() {
                return Err(Conflict::ImageNotRequested.into());
            }
            let uses: i64 = sqlx::query_scalar(
                "SELECT (SELECT COUNT(*) FROM campaign_checks WHERE left_image = $1 OR right_image = $1) \
                 + (SELECT COUNT(*) FROM campaigns WHERE state <> 'closed' AND spec LIKE $2)")
                .bind(id.0)
                .bind(format!("%{id}%"))
                .fetch_one(&mut *tx)
                .await?;
            if uses > 0 {
                return Err(Conflict::ImageInUse.into());
            }
            for change in [
                "DELETE FROM matchups WHERE (left_image = $1 OR right_image = $1) \
                 AND id NOT IN (SELECT matchup_id FROM votes) AND id NOT IN (SELECT matchup_id FROM undone_votes) \
                 AND id NOT IN (SELECT matchup_id FROM skips)",
                "DELETE FROM images WHERE id = $1",
            ] {
                sqlx::query(change).bind(id.0).execute(&mut *tx).await.map_err(in_use)?;
            }
            Some(artifact)
        });
        Ok(artifact)
    }
}

/// What refers to an image.
fn in_use(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(e) if e.is_foreign_key_violation() => Conflict::ImageInUse.into(),
        _ => error.into(),
    }
}
