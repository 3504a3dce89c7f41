//! Campaigns: their rows, states and counts. What raters get is in `campaign_desk.rs`.

use crate::db::{Store, in_transaction, micros, parsed, with_db};
use crate::error::{Conflict, StoreError};
use crate::votes::{PairVotes, count_vote};
use domain::Timestamp;
use domain::campaign::{Campaign, CampaignState};
use domain::id::{CampaignId, ContestantId, MatchupId, ModelId};
use domain::preference::{Choice, Question};
use domain::problem::Problems;
use std::collections::HashSet;
use uuid::Uuid;

/// What has been judged in a campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CampaignCounts {
    /// Votes that count. The answer to a set is one.
    pub votes: i64,
    /// Raters with at least one of these votes.
    pub raters: i64,
}

#[derive(sqlx::FromRow)]
struct CampaignRow {
    id: Uuid,
    spec: String,
    state: String,
    created_at: Timestamp,
    closed_at: Option<Timestamp>,
}

impl TryFrom<CampaignRow> for Campaign {
    type Error = StoreError;
    fn try_from(row: CampaignRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: CampaignId(row.id),
            spec: parsed(serde_json::from_str(&row.spec), "campaigns", "spec", row.id)?,
            state: parsed(row.state.parse(), "campaigns", "state", row.id)?,
            created_at: row.created_at,
            closed_at: row.closed_at,
        })
    }
}

macro_rules! select_campaigns {
    ($rest:literal) => {
        concat!("SELECT id, spec, state, created_at, closed_at FROM campaigns ", $rest)
    };
}

impl Store {
    /// Inserts an open campaign of these models. `owner_sha256`: hash of the key that shows its owner what others must not see.
    ///
    /// # Errors
    /// Fails with `Conflict::CampaignName` if there is one of this name; with `Invalid` if the spec cannot be written as JSON.
    pub async fn insert_campaign(
        &self,
        campaign: &Campaign,
        models: &[ModelId],
        owner_sha256: &str,
    ) -> Result<(), StoreError> {
        let spec = serde_json::to_string(&campaign.spec)
            .map_err(|e| Problems::one("spec", format!("cannot be written as JSON: {e}")))?;
        in_transaction!(self, tx => {
            let inserted = sqlx::query(
                "INSERT INTO campaigns (id, name, spec, state, owner_sha256, wanted_votes, ends_at, created_at) \
                 VALUES ($1, $2, $3, 'open', $4, $5, $6, $7) ON CONFLICT (name) DO NOTHING")
                .bind(campaign.id.0)
                .bind(campaign.spec.name.trim())
                .bind(&spec)
                .bind(owner_sha256)
                .bind(campaign.spec.votes.map(i64::from))
                .bind(campaign.spec.ends_at.map(micros))
                .bind(micros(campaign.created_at))
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if inserted == 0 {
                return Err(Conflict::CampaignName.into());
            }
            for model in models {
                sqlx::query("INSERT INTO campaign_models (campaign_id, model_id) VALUES ($1, $2)")
                    .bind(campaign.id.0)
                    .bind(model.0)
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    /// Looks up a campaign.
    pub async fn get_campaign(&self, id: CampaignId) -> Result<Option<Campaign>, StoreError> {
        let row: Option<CampaignRow> = with_db!(self, pool =>
            sqlx::query_as(select_campaigns!("WHERE id = $1")).bind(id.0).fetch_optional(pool).await?);
        row.map(Campaign::try_from).transpose()
    }

    /// Lists campaigns, newest first.
    pub async fn list_campaigns(&self, at_most: u32) -> Result<Vec<Campaign>, StoreError> {
        let rows: Vec<CampaignRow> = with_db!(self, pool =>
            sqlx::query_as(select_campaigns!("ORDER BY id DESC LIMIT $1"))
                .bind(i64::from(at_most))
                .fetch_all(pool)
                .await?);
        rows.into_iter().map(Campaign::try_from).collect()
    }

    /// Whether this is the hash of the key of the campaign's owner.
    pub async fn is_campaign_owner(&self, id: CampaignId, sha256: &str) -> Result<bool, StoreError> {
        let found: Option<Uuid> = with_db!(self, pool =>
            sqlx::query_scalar("SELECT id FROM campaigns WHERE id = $1 AND owner_sha256 = $2")
                .bind(id.0)
                .bind(sha256)
                .fetch_optional(pool)
                .await?);
        Ok(found.is_some())
    }

    /// The models of a campaign that still exist.
    pub async fn campaign_models(&self, id: CampaignId) -> Result<Vec<ModelId>, StoreError> {
        let rows: Vec<Uuid> = with_db!(self, pool =>
            sqlx::query_scalar("SELECT model_id FROM campaign_models WHERE campaign_id = $1 ORDER BY model_id")
                .bind(id.0)
                .fetch_all(pool)
                .await?);
        Ok(rows.into_iter().map(ModelId).collect())
    }

    /// Opens, pauses or closes a campaign.
    ///
    /// # Errors
    /// Fails with `Conflict::CampaignClosed` if it is closed, which is final, and is to be opened or paused; with `Missing`.
    pub async fn set_campaign_state(
        &self,
        id: CampaignId,
        state: CampaignState,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let closed_at = (state == CampaignState::Closed).then(|| micros(now));
        in_transaction!(self, tx => {
            let before: Option<String> = sqlx::query_scalar("SELECT state FROM campaigns WHERE id = $1")
                .bind(id.0)
                .fetch_optional(&mut *tx)
                .await?;
            match before.as_deref() {
                None => return Err(StoreError::Missing("campaign")),
                Some("closed") if state != CampaignState::Closed => {
                    return Err(Conflict::CampaignClosed.into());
                }
                Some(_) => {}
            }
            let changed = sqlx::query(
                "UPDATE campaigns SET state = $2, closed_at = $3 WHERE id = $1 AND state <> 'closed'")
                .bind(id.0)
                .bind(state.as_str())
                .bind(closed_at)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            // From now on its votes count like all others.
            if changed > 0 && state == CampaignState::Closed {
                let votes: Vec<(Uuid, String)> = sqlx::query_as(
                    "SELECT v.matchup_id, v.choice FROM votes v JOIN matchups m ON m.id = v.matchup_id \
                     WHERE m.campaign_id = $1")
                    .bind(id.0)
                    .fetch_all(&mut *tx)
                    .await?;
                for (matchup, choice) in votes {
                    let choice: Choice = parsed(choice.parse(), "votes", "choice", matchup)?;
                    count_vote!(tx, MatchupId(matchup), choice, 1_i64);
                }
            }
        });
        Ok(())
    }

    /// Closes the campaigns whose time is over, and those that have their votes.
    pub async fn close_ended_campaigns(&self, now: Timestamp) -> Result<(), StoreError> {
        // Most calls find none, and need not wait for the connection that writes.
        let due: Vec<Uuid> = with_db!(self, pool => sqlx::query_scalar(
            "SELECT c.id FROM campaigns c WHERE c.state <> 'closed' AND (c.ends_at <= $1 OR c.wanted_votes <= \
             (SELECT COUNT(DISTINCT COALESCE(m.ranking_id, m.id)) FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE m.campaign_id = c.id))")
            .bind(micros(now))
            .fetch_all(pool)
            .await?);
        for id in due {
            self.set_campaign_state(CampaignId(id), CampaignState::Closed, now).await?;
        }
        Ok(())
    }

    /// Counts the votes of a campaign and its raters.
    pub async fn campaign_counts(&self, id: CampaignId) -> Result<CampaignCounts, StoreError> {
        let (votes, raters): (i64, i64) = with_db!(self, pool => sqlx::query_as(
            "SELECT COUNT(DISTINCT COALESCE(m.ranking_id, m.id)), COUNT(DISTINCT v.rater_id) FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE m.campaign_id = $1")
            .bind(id.0)
            .fetch_one(pool)
            .await?);
        Ok(CampaignCounts { votes, raters })
    }

    /// Counts a campaign's votes on a question for each pair of contestants.
    pub async fn campaign_tallies(
        &self,
        id: CampaignId,
        question: Question,
    ) -> Result<Vec<PairVotes>, StoreError> {
        let rows: Vec<(Uuid, Uuid, String, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT COALESCE(l.contestant_id, l.model_id), COALESCE(r.contestant_id, r.model_id), v.choice, COUNT(*) \
             FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             JOIN images l ON l.id = m.left_image JOIN images r ON r.id = m.right_image \
             WHERE m.campaign_id = $1 AND m.question = $2 \
             GROUP BY COALESCE(l.contestant_id, l.model_id), COALESCE(r.contestant_id, r.model_id), v.choice")
            .bind(id.0)
            .bind(question.as_str())
            .fetch_all(pool)
            .await?);
        let mut tallies: std::collections::BTreeMap<(Uuid, Uuid), PairVotes> =
            std::collections::BTreeMap::new();
        for (left, right, choice, count) in rows {
            let (a, b) = (left.min(right), left.max(right));
            let empty = PairVotes {
                a: ContestantId(a),
                b: ContestantId(b),
                wins_a: 0,
                wins_b: 0,
                ties: 0,
                both_bad: 0,
            };
            let tally = tallies.entry((a, b)).or_insert(empty);
            match (choice.as_str(), left == a) {
                ("tie", _) => tally.ties += count,
                ("both_bad", _) => tally.both_bad += count,
                ("left", true) | ("right", false) => tally.wins_a += count,
                _ => tally.wins_b += count,
            }
        }
        Ok(tallies.into_values().collect())
    }

    /// The models of campaigns that are not closed: while they are judged, nothing may tell which images are theirs.
    pub async fn models_being_judged(&self) -> Result<HashSet<ModelId>, StoreError> {
        let rows: Vec<Uuid> = with_db!(self, pool => sqlx::query_scalar(
            "SELECT DISTINCT cm.model_id FROM campaign_models cm JOIN campaigns c ON c.id = cm.campaign_id \
             WHERE c.state <> 'closed'")
            .fetch_all(pool)
            .await?);
        Ok(rows.into_iter().map(ModelId).collect())
    }

    /// Whether a model has an evaluation image of this prompt: raters of a campaign of the model may be judging it.
    pub async fn has_evaluation_of(&self, model: ModelId, prompt: &str) -> Result<bool, StoreError> {
        let found: Option<Uuid> = with_db!(self, pool => sqlx::query_scalar(
            "SELECT id FROM images WHERE model_id = $1 AND purpose = 'evaluation' AND prompt = $2 LIMIT 1")
            .bind(model.0)
            .bind(prompt)
            .fetch_optional(pool)
            .await?);
        Ok(found.is_some())
    }
}
