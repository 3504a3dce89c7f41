//! Votes that were made elsewhere, on images that the database knows.

use crate::db::{Store, in_transaction, micros};
use crate::error::{StoreError, missing};
use crate::votes::count_vote;
use domain::Timestamp;
use domain::id::{ImageId, MatchupId, RaterId, VoteId};
use domain::matchmaking::shared_prompt;
use domain::preference::{Choice, Question};
use files::sha256;
use rand::Rng;
use uuid::Uuid;

/// A vote to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedVote {
    /// The image on the left and the one on the right.
    pub images: [ImageId; 2],
    /// The question that the rater answered.
    pub question: Question,
    /// The answer.
    pub choice: Choice,
    /// The rater's name elsewhere. It is not kept, only its SHA-256, by which the rater is found again.
    pub rater: String,
    /// When it was cast.
    pub created_at: Timestamp,
}

impl Store {
    /// Imports a vote, as if its rater had judged the images here. False if the rater has a vote on the same images and question
    /// already: importing a file again changes nothing.
    ///
    /// # Errors
    /// Fails with `Missing` if there is no such image, and if the images have different prompts.
    pub async fn import_vote<R: Rng>(&self, vote: &ImportedVote, rng: &mut R) -> Result<bool, StoreError> {
        let ImportedVote { images: [left, right], question, choice, created_at, .. } = *vote;
        let (a, b) = (self.get_image(left).await?, self.get_image(right).await?);
        let prompt = shared_prompt(a.as_ref(), b.as_ref())?;
        let name = sha256::of_bytes(vote.rater.as_bytes());
        let new_rater = RaterId::new(created_at, rng.random());
        let (matchup, id) = (MatchupId::new(created_at, rng.random()), VoteId::new(created_at, rng.random()));
        let at = micros(created_at);
        let is_new = in_transaction!(self, tx => {
            let known: Option<(Uuid,)> =
                sqlx::query_as("SELECT rater_id FROM imported_raters WHERE name_sha256 = $1")
                    .bind(&name)
                    .fetch_optional(&mut *tx)
                    .await?;
            let rater = known.map_or(new_rater.0, |(rater,)| rater);
            if known.is_none() {
                sqlx::query("INSERT INTO raters (id, created_at) VALUES ($1, $2)")
                    .bind(rater)
                    .bind(at)
                    .execute(&mut *tx)
                    .await?;
                sqlx::query("INSERT INTO imported_raters (name_sha256, rater_id) VALUES ($1, $2)")
                    .bind(&name)
                    .bind(rater)
                    .execute(&mut *tx)
                    .await?;
            }
            let earlier: Option<(Uuid,)> = sqlx::query_as(
                "SELECT v.id FROM votes v CROSS JOIN matchups m WHERE v.rater_id = $1 AND m.id = v.matchup_id \
                 AND m.question = $2 AND ((m.left_image = $3 AND m.right_image = $4) \
                 OR (m.left_image = $4 AND m.right_image = $3)) LIMIT 1")
                .bind(rater)
                .bind(question.as_str())
                .bind(left.0)
                .bind(right.0)
                .fetch_optional(&mut *tx)
                .await?;
            if earlier.is_none() {
                sqlx::query(
                    "INSERT INTO matchups (id, prompt, question, left_image, right_image, rater_id, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7)")
                    .bind(matchup.0)
                    .bind(&prompt)
                    .bind(question.as_str())
                    .bind(left.0)
                    .bind(right.0)
                    .bind(rater)
                    .bind(at)
                    .execute(&mut *tx)
                    .await
                    .map_err(|error| missing(error, "image"))?;
                sqlx::query("INSERT INTO votes (id, matchup_id, rater_id, choice, created_at) VALUES ($1, $2, $3, $4, $5)")
                    .bind(id.0)
                    .bind(matchup.0)
                    .bind(rater)
                    .bind(choice.as_str())
                    .bind(at)
                    .execute(&mut *tx)
                    .await?;
                count_vote!(tx, matchup, choice, 1_i64);
            }
            earlier.is_none()
        });
        Ok(is_new)
    }
}
