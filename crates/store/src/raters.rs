//! Raters: people who vote, each known by the id in a browser cookie.

use crate::db::{Store, micros, with_db, write_db};
use crate::error::StoreError;
use domain::Timestamp;
use domain::id::RaterId;
use domain::preference::Question;

impl Store {
    /// Inserts a rater unless it exists.
    pub async fn ensure_rater(&self, id: RaterId, now: Timestamp) -> Result<(), StoreError> {
        write_db!(self, pool => sqlx::query(
            "INSERT INTO raters (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
            .bind(id.0)
            .bind(micros(now))
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }

    /// Number of raters who have answered a question about images of two contestants.
    pub async fn count_raters(&self, question: Question) -> Result<i64, StoreError> {
        let (count,): (i64,) = with_db!(self, pool => sqlx::query_as(
            // Of each rater, one vote is enough: it is found by the index of votes by rater.
            "SELECT COUNT(*) FROM raters WHERE EXISTS (SELECT 1 FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             JOIN images l ON l.id = m.left_image JOIN images r ON r.id = m.right_image \
             WHERE v.rater_id = raters.id AND m.question = $1 \
             AND (m.campaign_id IS NULL OR m.campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed')) \
             AND COALESCE(l.contestant_id, l.model_id) <> COALESCE(r.contestant_id, r.model_id))")
            .bind(question.as_str())
            .fetch_one(pool)
            .await?);
        Ok(count)
    }
}
