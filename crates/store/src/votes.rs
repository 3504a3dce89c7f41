//! Votes, and their counts. Votes of a campaign are listed and counted when it is closed: before, they would tell raters which
//! model made an image that they are judging.

use crate::campaign_lock::require_open;
use crate::contestants::ContestantNames;
use crate::db::{Store, in_transaction, micros, parsed, with_db};
use crate::error::{Conflict, StoreError, missing};
use domain::Timestamp;
use domain::id::{ContestantId, ImageId, MatchupId, RaterId, VoteId};
use domain::preference::{JudgedImage, JudgedVote, Question, Vote, VoteRecord};
use domain::ranking::Tally;
use uuid::Uuid;

/// Counted votes on two contestants. `a` is the one with the smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairVotes {
    /// The contestant with the smaller id.
    pub a: ContestantId,
    /// The other contestant.
    pub b: ContestantId,
    /// Votes for `a`.
    pub wins_a: i64,
    /// Votes for `b`.
    pub wins_b: i64,
    /// Votes "tie".
    pub ties: i64,
    /// Votes "both bad".
    pub both_bad: i64,
}

impl PairVotes {
    /// Number of votes.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.wins_a + self.wins_b + self.ties + self.both_bad
    }
}

impl From<PairVotes> for Tally {
    fn from(votes: PairVotes) -> Self {
        let PairVotes { a, b, wins_a, wins_b, ties, both_bad } = votes;
        Self { a, b, wins_a, wins_b, ties: ties + both_bad }
    }
}

#[derive(sqlx::FromRow)]
struct VoteRow {
    id: Uuid,
    matchup_id: Uuid,
    prompt: String,
    question: String,
    left_model: String,
    left_contestant: Option<Uuid>,
    right_model: String,
    right_contestant: Option<Uuid>,
    choice: String,
    created_at: Timestamp,
}

impl VoteRow {
    fn record(self, names: &ContestantNames) -> Result<VoteRecord, StoreError> {
        let row = self;
        Ok(VoteRecord {
            id: VoteId(row.id),
            matchup_id: MatchupId(row.matchup_id),
            prompt: row.prompt,
            question: parsed(row.question.parse(), "matchups", "question", row.id)?,
            left_model: names.of(row.left_model, row.left_contestant),
            right_model: names.of(row.right_model, row.right_contestant),
            choice: parsed(row.choice.parse(), "votes", "choice", row.id)?,
            created_at: row.created_at,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(crate) struct JudgedRow {
    id: Uuid,
    prompt: String,
    question: String,
    left_image: Uuid,
    left_artifact: String,
    left_model: String,
    left_contestant: Option<Uuid>,
    right_image: Uuid,
    right_artifact: String,
    right_model: String,
    right_contestant: Option<Uuid>,
    choice: String,
    rater_id: Uuid,
    created_at: Timestamp,
}

impl JudgedRow {
    /// The vote's id, by which votes are ordered in time.
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn vote(self, names: &ContestantNames) -> Result<JudgedVote, StoreError> {
        let row = self;
        let image = |id, artifact, model, contestant| JudgedImage {
            id: ImageId(id),
            artifact,
            model: names.of(model, contestant),
        };
        Ok(JudgedVote {
            prompt: row.prompt,
            question: parsed(row.question.parse(), "matchups", "question", row.id)?,
            images: [
                image(row.left_image, row.left_artifact, row.left_model, row.left_contestant),
                image(row.right_image, row.right_artifact, row.right_model, row.right_contestant),
            ],
            choice: parsed(row.choice.parse(), "votes", "choice", row.id)?,
            rater_id: RaterId(row.rater_id),
            created_at: row.created_at,
        })
    }
}

/// Adds a vote to the counts of its pair of contestants: `$by` is 1, or -1 for a vote that is withdrawn.
macro_rules! count_vote {
    ($tx:ident, $matchup:expr, $choice:expr, $by:literal) => {
        sqlx::query(
            "INSERT INTO pair_votes (question, contestant_a, contestant_b, wins_a, wins_b, ties, both_bad) \
             SELECT question, CASE WHEN l < r THEN l ELSE r END, CASE WHEN l < r THEN r ELSE l END, \
                CASE WHEN (l < r AND $2 = 'left') OR (l > r AND $2 = 'right') THEN $3 ELSE 0 END, \
                CASE WHEN (l < r AND $2 = 'right') OR (l > r AND $2 = 'left') THEN $3 ELSE 0 END, \
                CASE WHEN $2 = 'tie' THEN $3 ELSE 0 END, CASE WHEN $2 = 'both_bad' THEN $3 ELSE 0 END \
             FROM (SELECT m.question, COALESCE(li.contestant_id, li.model_id) AS l, \
                   COALESCE(ri.contestant_id, ri.model_id) AS r \
                   FROM matchups m JOIN images li ON li.id = m.left_image JOIN images ri ON ri.id = m.right_image \
                   WHERE m.id = $1) AS judged WHERE l <> r \
             ON CONFLICT (question, contestant_a, contestant_b) DO UPDATE SET \
                wins_a = pair_votes.wins_a + EXCLUDED.wins_a, wins_b = pair_votes.wins_b + EXCLUDED.wins_b, \
                ties = pair_votes.ties + EXCLUDED.ties, both_bad = pair_votes.both_bad + EXCLUDED.both_bad")
            .bind($matchup.0)
            .bind($choice.as_str())
            .bind($by)
            .execute(&mut *$tx)
            .await?
    };
}

pub(crate) use count_vote;

impl Store {
    /// Lists every vote on a question with its images, oldest first.
    pub async fn judged_votes(&self, question: Question) -> Result<Vec<JudgedVote>, StoreError> {
        let rows: Vec<JudgedRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT v.id, m.prompt, m.question, l.id AS left_image, l.artifact AS left_artifact, a.name AS left_model, \
             l.contestant_id AS left_contestant, r.id AS right_image, r.artifact AS right_artifact, b.name AS right_model, \
             r.contestant_id AS right_contestant, v.choice, v.rater_id, v.created_at \
             FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             JOIN images l ON l.id = m.left_image JOIN models a ON a.id = l.model_id \
             JOIN images r ON r.id = m.right_image JOIN models b ON b.id = r.model_id \
             WHERE m.question = $1 \
             AND (m.campaign_id IS NULL OR m.campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed')) \
             ORDER BY v.id")
            .bind(question.as_str())
            .fetch_all(pool)
            .await?);
        let names = self.contestant_names().await?;
        rows.into_iter().map(|row| row.vote(&names)).collect()
    }

    /// Inserts a vote.
    ///
    /// # Errors
    /// Fails with `Missing` if the rater does not exist, or the matchup does not exist for this rater; with
    /// `Conflict::AlreadyVoted`; with `Conflict::CampaignNotOpen`.
    pub async fn cast_vote(&self, vote: &Vote) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            let matchup: Option<(Option<Uuid>,)> = sqlx::query_as(
                "SELECT campaign_id FROM matchups WHERE id = $1 AND (rater_id IS NULL OR rater_id = $2)")
                .bind(vote.matchup_id.0)
                .bind(vote.rater_id.0)
                .fetch_optional(&mut *tx)
                .await?;
            let Some((campaign,)) = matchup else {
                return Err(StoreError::Missing("matchup for this rater"));
            };
            if let Some(campaign) = campaign {
                require_open!(tx, campaign);
            }
            let inserted = sqlx::query(
                "INSERT INTO votes (id, matchup_id, rater_id, choice, created_at) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (matchup_id, rater_id) DO NOTHING")
                .bind(vote.id.0)
                .bind(vote.matchup_id.0)
                .bind(vote.rater_id.0)
                .bind(vote.choice.as_str())
                .bind(micros(vote.created_at))
                .execute(&mut *tx)
                .await
                .map_err(|e| missing(e, "rater"))?
                .rows_affected();
            if inserted == 0 {
                return Err(Conflict::AlreadyVoted.into());
            }
            // Votes of a campaign are counted when it is closed.
            if campaign.is_none() {
                count_vote!(tx, vote.matchup_id, vote.choice, 1_i64);
            }
        });
        Ok(())
    }

    /// Lists votes with the names of the models, newest first.
    pub async fn list_votes(&self, at_most: u32) -> Result<Vec<VoteRecord>, StoreError> {
        let rows: Vec<VoteRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT v.id, v.matchup_id, m.prompt, m.question, a.name AS left_model, l.contestant_id AS left_contestant, \
             b.name AS right_model, r.contestant_id AS right_contestant, v.choice, v.created_at \
             FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             JOIN images l ON l.id = m.left_image JOIN models a ON a.id = l.model_id \
             JOIN images r ON r.id = m.right_image JOIN models b ON b.id = r.model_id \
             WHERE m.campaign_id IS NULL OR m.campaign_id IN (SELECT id FROM campaigns WHERE state = 'closed') \
             ORDER BY v.id DESC LIMIT $1")
            .bind(i64::from(at_most))
            .fetch_all(pool)
            .await?);
        let names = self.contestant_names().await?;
        rows.into_iter().map(|row| row.record(&names)).collect()
    }

    /// Number of votes that a rater has cast.
    pub async fn count_votes(&self, rater: RaterId) -> Result<i64, StoreError> {
        let (count,): (i64,) = with_db!(self, pool =>
            sqlx::query_as("SELECT COUNT(*) FROM votes WHERE rater_id = $1").bind(rater.0).fetch_one(pool).await?);
        Ok(count)
    }

    /// Counts the votes on a question for each pair of contestants. Votes on two images of one contestant rank nothing and are
    /// left out.
    pub async fn tallies(&self, question: Question) -> Result<Vec<PairVotes>, StoreError> {
        let rows: Vec<(Uuid, Uuid, i64, i64, i64, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT contestant_a, contestant_b, wins_a, wins_b, ties, both_bad FROM pair_votes \
             WHERE question = $1 AND wins_a + wins_b + ties + both_bad > 0 ORDER BY contestant_a, contestant_b")
            .bind(question.as_str())
            .fetch_all(pool)
            .await?);
        let pair = |(a, b, wins_a, wins_b, ties, both_bad)| PairVotes {
            a: ContestantId(a),
            b: ContestantId(b),
            wins_a,
            wins_b,
            ties,
            both_bad,
        };
        Ok(rows.into_iter().map(pair).collect())
    }
}
