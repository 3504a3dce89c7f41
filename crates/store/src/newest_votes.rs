//! The newest votes on a question, which ratings and agreement are computed from: however many votes there are, no more than asked
//! for are read. Newest are those on the matchups that were drawn last, which an index finds.

use crate::contestants::ContestantNames;
use crate::db::{Store, parsed, with_db};
use crate::error::StoreError;
use crate::images::ImageScore;
use crate::votes::JudgedRow;
use domain::id::{ContestantId, ImageId, RaterId, VoteId};
use domain::preference::{Choice, JudgedVote, Question};
use uuid::Uuid;

/// A vote on images of two contestants, with what ratings and agreement depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatedVote {
    /// Its id, by which votes are ordered in time.
    pub id: VoteId,
    /// The rater.
    pub rater: RaterId,
    /// The prompt of both images.
    pub prompt: String,
    /// The images on the left and on the right.
    pub images: [ImageId; 2],
    /// The contestants on the left and on the right.
    pub shown: [ContestantId; 2],
    /// The rater's choice.
    pub choice: Choice,
}

/// How a rater's checks have gone in campaigns that are closed. Checks that were skipped are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaterChecks {
    /// The rater.
    pub rater: RaterId,
    /// Pairs with a known answer, of exams and later, that were answered as expected.
    pub right: u32,
    /// Those that were not.
    pub wrong: u32,
    /// Repeated pairs that were answered as the first time.
    pub same: u32,
    /// Those that were not.
    pub other: u32,
}

/// A row of `rated_votes`: vote, rater, prompt, images, contestants, choice.
type RatedRow = (Uuid, Uuid, String, Uuid, Uuid, Uuid, Uuid, String);

/// The newest votes on question $1, at most $2, from the newest matchup on. The joins are in the order in which they are to be
/// made: SQLite takes the order of cross joins. The expression is that of the index `matchups_newest`.
macro_rules! newest_votes {
    ($select:literal, $and:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM matchups m CROSS JOIN votes v CROSS JOIN images l CROSS JOIN images r \
             WHERE m.question || '' = $1 AND v.matchup_id = m.id AND l.id = m.left_image AND r.id = m.right_image \
             AND (m.campaign_id IS NULL OR m.campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed')) ",
            $and,
            " ORDER BY m.id DESC, v.id DESC LIMIT $2"
        )
    };
}

impl Store {
    /// Lists the newest votes on a question about two contestants, oldest first, without those that stand for an order of more
    /// images.
    pub async fn rated_votes(&self, question: Question, at_most: u32) -> Result<Vec<RatedVote>, StoreError> {
        let mut rows: Vec<RatedRow> = with_db!(self, pool => sqlx::query_as(newest_votes!(
            "v.id, v.rater_id, m.prompt, l.id, r.id, COALESCE(l.contestant_id, l.model_id), \
             COALESCE(r.contestant_id, r.model_id), v.choice",
            "AND m.ranking_id IS NULL AND COALESCE(l.contestant_id, l.model_id) <> COALESCE(r.contestant_id, r.model_id)"))
            .bind(question.as_str())
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        rows.sort_by_key(|row| row.0);
        rows.into_iter()
            .map(|(id, rater, prompt, left_image, right_image, left, right, choice)| {
                Ok(RatedVote {
                    id: VoteId(id),
                    rater: RaterId(rater),
                    prompt,
                    images: [ImageId(left_image), ImageId(right_image)],
                    shown: [ContestantId(left), ContestantId(right)],
                    choice: parsed(choice.parse(), "votes", "choice", id)?,
                })
            })
            .collect()
    }

    /// The scores of the images of the newest votes on a question.
    pub async fn scores_of_newest_votes(
        &self,
        question: Question,
        at_most: u32,
    ) -> Result<Vec<ImageScore>, StoreError> {
        let rows: Vec<(Uuid, String, f64)> = with_db!(self, pool => sqlx::query_as(concat!(
            "WITH newest AS (", newest_votes!("m.left_image, m.right_image", ""), ") \
             SELECT s.image_id, s.metric, s.value FROM image_scores s \
             WHERE s.image_id IN (SELECT left_image FROM newest UNION SELECT right_image FROM newest) \
             ORDER BY s.image_id, s.metric"))
            .bind(question.as_str())
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        rows.into_iter()
            .map(|(image, metric, value)| {
                let metric = parsed(metric.parse(), "image_scores", "metric", image)?;
                Ok(ImageScore { image_id: ImageId(image), metric, value })
            })
            .collect()
    }

    /// Lists the newest votes on a question with their images, oldest first: as [`Self::judged_votes`], within a bound.
    pub async fn newest_judged_votes(
        &self,
        question: Question,
        at_most: u32,
    ) -> Result<Vec<JudgedVote>, StoreError> {
        let mut rows: Vec<JudgedRow> = with_db!(self, pool => sqlx::query_as(newest_votes!(
            "v.id, m.prompt, m.question, l.id AS left_image, l.artifact AS left_artifact, \
             (SELECT name FROM models WHERE id = l.model_id) AS left_model, l.contestant_id AS left_contestant, \
             r.id AS right_image, r.artifact AS right_artifact, \
             (SELECT name FROM models WHERE id = r.model_id) AS right_model, r.contestant_id AS right_contestant, \
             v.choice, v.rater_id, v.created_at",
            "AND l.model_id IS NOT NULL AND r.model_id IS NOT NULL"))
            .bind(question.as_str())
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        rows.sort_by_key(JudgedRow::id);
        let names: ContestantNames = self.contestant_names().await?;
        rows.into_iter().map(|row| row.vote(&names)).collect()
    }

    /// How the checks of each rater on a question have gone.
    pub async fn rater_checks(&self, question: Question) -> Result<Vec<RaterChecks>, StoreError> {
        let rows: Vec<(Uuid, i64, i64, i64, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT rater_id, COUNT(CASE WHEN kind <> 'repeat' AND choice = expected THEN 1 END), \
             COUNT(CASE WHEN kind <> 'repeat' AND choice <> expected THEN 1 END), \
             COUNT(CASE WHEN kind = 'repeat' AND choice = expected THEN 1 END), \
             COUNT(CASE WHEN kind = 'repeat' AND choice <> expected THEN 1 END) \
             FROM campaign_checks WHERE question = $1 AND choice IS NOT NULL \
             AND campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed') GROUP BY rater_id ORDER BY rater_id")
            .bind(question.as_str())
            .fetch_all(pool)
            .await?);
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(rows
            .into_iter()
            .map(|(rater, right, wrong, same, other)| RaterChecks {
                rater: RaterId(rater),
                right: count(right),
                wrong: count(wrong),
                same: count(same),
                other: count(other),
            })
            .collect())
    }
}
