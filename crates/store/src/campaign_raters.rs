//! Raters of a campaign: consent, what they have done, their own answers, and erasure.

use crate::campaign_checks::CheckCounts;
use crate::campaign_desk::{DeskItem, ItemKind};
use crate::db::{Store, in_transaction, micros, parsed, with_db, write_db};
use crate::error::StoreError;
use crate::votes::count_vote;
use domain::Timestamp;
use domain::id::{CampaignId, ImageId, MatchupId, RaterId};
use domain::preference::Choice;
use uuid::Uuid;

/// What a rater has done in a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaterCounts {
    /// The rater.
    pub rater: RaterId,
    /// What the panel that sent the rater calls them.
    pub external_id: Option<String>,
    /// Votes that count.
    pub votes: i64,
    /// How the rater's checks have gone.
    pub checks: CheckCounts,
}

/// A vote of a rater in a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAnswer {
    /// The pair.
    pub item: DeskItem,
    /// The rater's choice.
    pub choice: Choice,
    /// When it was cast.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct OwnRow {
    id: Uuid,
    prompt: String,
    question: String,
    left_image: Uuid,
    right_image: Uuid,
    ranking_id: Option<Uuid>,
    choice: String,
    created_at: Timestamp,
}

impl TryFrom<OwnRow> for OwnAnswer {
    type Error = StoreError;
    fn try_from(row: OwnRow) -> Result<Self, StoreError> {
        Ok(Self {
            item: DeskItem {
                id: MatchupId(row.id),
                prompt: row.prompt,
                question: parsed(row.question.parse(), "matchups", "question", row.id)?,
                left: ImageId(row.left_image),
                right: ImageId(row.right_image),
                more: Vec::new(),
                kind: if row.ranking_id.is_none() { ItemKind::Pair } else { ItemKind::Decided },
            },
            choice: parsed(row.choice.parse(), "votes", "choice", row.id)?,
            created_at: row.created_at,
        })
    }
}

impl Store {
    /// Records that a rater has read a campaign's instructions and agreed to take part. The first agreement counts.
    pub async fn agree(
        &self,
        campaign: CampaignId,
        rater: RaterId,
        external_id: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        write_db!(self, pool => sqlx::query(
            "INSERT INTO campaign_raters (campaign_id, rater_id, external_id, consented_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (campaign_id, rater_id) DO NOTHING")
            .bind(campaign.0)
            .bind(rater.0)
            .bind(external_id)
            .bind(micros(now))
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }

    /// Whether a rater has agreed to take part in a campaign.
    pub async fn has_agreed(&self, campaign: CampaignId, rater: RaterId) -> Result<bool, StoreError> {
        let found: Option<Uuid> = with_db!(self, pool => sqlx::query_scalar(
            "SELECT rater_id FROM campaign_raters WHERE campaign_id = $1 AND rater_id = $2")
            .bind(campaign.0)
            .bind(rater.0)
            .fetch_optional(pool)
            .await?);
        Ok(found.is_some())
    }

    /// What each rater who has agreed has done in a campaign, in the order in which they agreed.
    pub async fn campaign_raters(&self, campaign: CampaignId) -> Result<Vec<RaterCounts>, StoreError> {
        let rows: Vec<(Uuid, Option<String>, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT c.rater_id, c.external_id, (SELECT COUNT(DISTINCT COALESCE(m.ranking_id, m.id)) FROM votes v JOIN matchups m \
             ON m.id = v.matchup_id \
             WHERE m.campaign_id = $1 AND v.rater_id = c.rater_id) \
             FROM campaign_raters c WHERE c.campaign_id = $1 ORDER BY c.consented_at, c.rater_id")
            .bind(campaign.0)
            .fetch_all(pool)
            .await?);
        let mut raters = Vec::with_capacity(rows.len());
        for (rater, external_id, votes) in rows {
            let rater = RaterId(rater);
            let checks = self.check_counts(campaign, rater).await?;
            raters.push(RaterCounts { rater, external_id, votes, checks });
        }
        Ok(raters)
    }

    /// The votes of a rater in a campaign, newest first.
    pub async fn own_answers(
        &self,
        campaign: CampaignId,
        rater: RaterId,
    ) -> Result<Vec<OwnAnswer>, StoreError> {
        let rows: Vec<OwnRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.id, m.prompt, m.question, m.left_image, m.right_image, m.ranking_id, v.choice, v.created_at \
             FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE m.campaign_id = $1 AND v.rater_id = $2 ORDER BY v.id DESC")
            .bind(campaign.0)
            .bind(rater.0)
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(OwnAnswer::try_from).collect()
    }

    /// Deletes everything that a campaign knows of a rater: agreement, votes, also those taken back, skips and checks.
    pub async fn erase_from_campaign(&self, campaign: CampaignId, rater: RaterId) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            // Holds the row: the campaign is not closed, and its votes are not counted, in between.
            sqlx::query("UPDATE campaigns SET state = state WHERE id = $1").bind(campaign.0).execute(&mut *tx).await?;
            // Those of a closed campaign are counted.
            let counted: Vec<(Uuid, String)> = sqlx::query_as(
                "SELECT v.matchup_id, v.choice FROM votes v JOIN matchups m ON m.id = v.matchup_id \
                 JOIN campaigns c ON c.id = m.campaign_id \
                 WHERE c.id = $1 AND c.state = 'closed' AND v.rater_id = $2")
                .bind(campaign.0)
                .bind(rater.0)
                .fetch_all(&mut *tx)
                .await?;
            for (matchup, choice) in counted {
                let choice: Choice = parsed(choice.parse(), "votes", "choice", matchup)?;
                count_vote!(tx, MatchupId(matchup), choice, -1_i64);
            }
            for change in [
                "DELETE FROM votes WHERE rater_id = $2 AND matchup_id IN (SELECT id FROM matchups WHERE campaign_id = $1)",
                "DELETE FROM undone_votes WHERE rater_id = $2 \
                 AND matchup_id IN (SELECT id FROM matchups WHERE campaign_id = $1)",
                "DELETE FROM skips WHERE rater_id = $2 AND matchup_id IN (SELECT id FROM matchups WHERE campaign_id = $1)",
                "DELETE FROM matchups WHERE campaign_id = $1 AND rater_id = $2",
                "DELETE FROM rankings WHERE campaign_id = $1 AND rater_id = $2",
                "DELETE FROM campaign_checks WHERE campaign_id = $1 AND rater_id = $2",
                "DELETE FROM campaign_raters WHERE campaign_id = $1 AND rater_id = $2",
            ] {
                sqlx::query(change).bind(campaign.0).bind(rater.0).execute(&mut *tx).await?;
            }
        });
        Ok(())
    }
}
