//! Skipped matchups, and answers that raters take back.

use crate::campaign_lock::require_open;
use crate::db::{Store, in_transaction, micros, parsed, with_db};
use crate::error::{Conflict, StoreError, missing};
use crate::votes::count_vote;
use domain::Timestamp;
use domain::id::{CampaignId, MatchupId, RaterId};
use domain::preference::Choice;
use uuid::Uuid;

/// The newest vote or skip of a rater outside campaigns.
const LAST_ANSWER: &str = "SELECT answered.matchup_id FROM \
     (SELECT matchup_id, created_at FROM votes WHERE rater_id = $1 \
      UNION ALL SELECT matchup_id, created_at FROM skips WHERE rater_id = $1) AS answered \
     JOIN matchups m ON m.id = answered.matchup_id WHERE m.campaign_id IS NULL \
     ORDER BY answered.created_at DESC, answered.matchup_id DESC LIMIT 1";

/// The newest vote, answer to a set, or skip of a rater in a campaign, or the newest check outside the exam that the rater has answered.
const LAST_ANSWER_IN_CAMPAIGN: &str = "SELECT answered.matchup_id FROM \
     (SELECT v.matchup_id, v.created_at FROM votes v JOIN matchups m ON m.id = v.matchup_id \
      WHERE v.rater_id = $1 AND m.campaign_id = $2 AND m.ranking_id IS NULL \
      UNION ALL SELECT id AS matchup_id, answered_at AS created_at FROM rankings \
      WHERE rater_id = $1 AND campaign_id = $2 AND answered_at IS NOT NULL \
      UNION ALL SELECT s.matchup_id, s.created_at FROM skips s JOIN matchups m ON m.id = s.matchup_id \
      WHERE s.rater_id = $1 AND m.campaign_id = $2 \
      UNION ALL SELECT id AS matchup_id, answered_at AS created_at FROM campaign_checks \
      WHERE rater_id = $1 AND campaign_id = $2 AND answered_at IS NOT NULL AND kind <> 'exam') AS answered \
     ORDER BY answered.created_at DESC, answered.matchup_id DESC LIMIT 1";

/// The query of the newest answer of a rater, in a campaign or outside all.
macro_rules! last_answer {
    ($campaign:expr, $rater:expr) => {
        match $campaign {
            None => sqlx::query_scalar(LAST_ANSWER).bind($rater.0),
            Some(campaign) => {
                let campaign: CampaignId = campaign;
                sqlx::query_scalar(LAST_ANSWER_IN_CAMPAIGN).bind($rater.0).bind(campaign.0)
            }
        }
    };
}

impl Store {
    /// Records that a rater does not want to judge a matchup: the rater does not get it again. No effect if it was skipped
    /// before.
    ///
    /// # Errors
    /// Fails with `Missing` if the rater does not exist, or the matchup does not exist for this rater; with
    /// `Conflict::AlreadyVoted`.
    pub async fn skip_matchup(
        &self,
        matchup: MatchupId,
        rater: RaterId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            let voted: Option<(i64,)> = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM votes v WHERE v.matchup_id = m.id AND v.rater_id = $2) \
                 FROM matchups m WHERE m.id = $1 AND (m.rater_id IS NULL OR m.rater_id = $2)")
                .bind(matchup.0)
                .bind(rater.0)
                .fetch_optional(&mut *tx)
                .await?;
            match voted {
                None => return Err(StoreError::Missing("matchup for this rater")),
                Some((0,)) => {}
                Some(_) => return Err(Conflict::AlreadyVoted.into()),
            }
            sqlx::query(
                "INSERT INTO skips (matchup_id, rater_id, created_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (matchup_id, rater_id) DO NOTHING")
                .bind(matchup.0)
                .bind(rater.0)
                .bind(micros(now))
                .execute(&mut *tx)
                .await
                .map_err(|e| missing(e, "rater"))?;
        });
        Ok(())
    }

    /// The matchup that a rater judged or skipped last, in a campaign or outside all: the one whose answer can be taken back.
    pub async fn last_answered(
        &self,
        rater: RaterId,
        campaign: Option<CampaignId>,
    ) -> Result<Option<MatchupId>, StoreError> {
        let row: Option<Uuid> =
            with_db!(self, pool => last_answer!(campaign, rater).fetch_optional(pool).await?);
        Ok(row.map(MatchupId))
    }

    /// Takes back a rater's last answer, so that the matchup is open to the rater again. A vote is kept among those that were
    /// undone, and counts no more; a skip is forgotten.
    ///
    /// # Errors
    /// Fails with `Missing` if the rater has not answered; with `Conflict::NotLastAnswer` if the rater has answered another
    /// matchup since.
    pub async fn undo_answer(
        &self,
        matchup: MatchupId,
        rater: RaterId,
        campaign: Option<CampaignId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            if let Some(campaign) = campaign {
                require_open!(tx, campaign.0);
            }
            let answered: i64 = sqlx::query_scalar(
                "SELECT (SELECT COUNT(*) FROM votes WHERE matchup_id = $1 AND rater_id = $2) + \
                 (SELECT COUNT(*) FROM skips WHERE matchup_id = $1 AND rater_id = $2) + \
                 (SELECT COUNT(*) FROM rankings WHERE id = $1 AND rater_id = $2 AND answered_at IS NOT NULL) + \
                 (SELECT COUNT(*) FROM campaign_checks WHERE id = $1 AND rater_id = $2 AND answered_at IS NOT NULL)")
                .bind(matchup.0)
                .bind(rater.0)
                .fetch_one(&mut *tx)
                .await?;
            if answered == 0 {
                return Err(StoreError::Missing("answer of this rater to this matchup"));
            }
            let last: Option<Uuid> = last_answer!(campaign, rater).fetch_optional(&mut *tx).await?;
            if last != Some(matchup.0) {
                return Err(Conflict::NotLastAnswer.into());
            }
            let counted: Option<String> = sqlx::query_scalar(
                "SELECT v.choice FROM votes v JOIN matchups m ON m.id = v.matchup_id \
                 WHERE v.matchup_id = $1 AND v.rater_id = $2 AND m.campaign_id IS NULL")
                .bind(matchup.0)
                .bind(rater.0)
                .fetch_optional(&mut *tx)
                .await?;
            if let Some(choice) = counted {
                let choice: Choice = parsed(choice.parse(), "votes", "choice", matchup)?;
                count_vote!(tx, matchup, choice, -1_i64);
            }
            sqlx::query(
                "INSERT INTO undone_votes (id, matchup_id, rater_id, choice, created_at, undone_at) \
                 SELECT id, matchup_id, rater_id, choice, created_at, $3 FROM votes \
                 WHERE matchup_id IN (SELECT id FROM matchups WHERE id = $1 OR ranking_id = $1) AND rater_id = $2 \
                 ON CONFLICT (id) DO NOTHING")
                .bind(matchup.0)
                .bind(rater.0)
                .bind(micros(now))
                .execute(&mut *tx)
                .await?;
            for table in [
                "DELETE FROM votes WHERE matchup_id IN (SELECT id FROM matchups WHERE id = $1 OR ranking_id = $1) AND rater_id = $2",
                "DELETE FROM skips WHERE matchup_id = $1 AND rater_id = $2",
                "UPDATE rankings SET places = NULL, answered_at = NULL WHERE id = $1 AND rater_id = $2",
                "UPDATE campaign_checks SET choice = NULL, answered_at = NULL WHERE id = $1 AND rater_id = $2",
            ] {
                sqlx::query(table).bind(matchup.0).bind(rater.0).execute(&mut *tx).await?;
            }
        });
        Ok(())
    }

    /// Number of votes that raters took back.
    pub async fn count_undone_votes(&self) -> Result<i64, StoreError> {
        let (count,): (i64,) = with_db!(self, pool =>
            sqlx::query_as("SELECT COUNT(*) FROM undone_votes").fetch_one(pool).await?);
        Ok(count)
    }
}
