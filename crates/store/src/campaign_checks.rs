//! Checks of a campaign's raters: pairs with a known answer, and repeated ones. They are kept apart from matchups and votes.

use crate::campaign_desk::{DeskItem, ItemKind, unordered};
use crate::db::{Store, micros, parsed, with_db, write_db};
use crate::error::StoreError;
use domain::Timestamp;
use domain::campaign::{Campaign, GoldPair};
use domain::id::{CampaignId, ImageId, MatchupId, RaterId};
use domain::preference::Choice;
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::HashSet;
use uuid::Uuid;

/// How a rater's checks have gone in a campaign. A check that was skipped is answered, and not as expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckCounts {
    /// Pairs of the exam that the rater has got.
    pub exam: u32,
    /// Those answered.
    pub exam_answered: u32,
    /// Those answered as expected.
    pub exam_right: u32,
    /// Pairs with a known answer after the exam that are answered.
    pub gold_answered: u32,
    /// Those answered as expected.
    pub gold_right: u32,
    /// Repeated pairs that are answered.
    pub repeats_answered: u32,
    /// Those answered as the first time.
    pub repeats_same: u32,
    /// Gold and repeated pairs that the rater has got.
    pub others: u32,
}

impl Store {
    /// How a rater's checks have gone.
    pub async fn check_counts(
        &self,
        campaign: CampaignId,
        rater: RaterId,
    ) -> Result<CheckCounts, StoreError> {
        let rows: Vec<(String, i64, i64, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT kind, COUNT(*), COUNT(answered_at), COUNT(CASE WHEN choice = expected THEN 1 END) \
             FROM campaign_checks WHERE campaign_id = $1 AND rater_id = $2 GROUP BY kind")
            .bind(campaign.0)
            .bind(rater.0)
            .fetch_all(pool)
            .await?);
        let mut counts = CheckCounts::default();
        for (kind, all, answered, right) in rows {
            let [all, answered, right] = [all, answered, right].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
            match kind.as_str() {
                "exam" => (counts.exam, counts.exam_answered, counts.exam_right) = (all, answered, right),
                "gold" => (counts.gold_answered, counts.gold_right) = (answered, right),
                _ => (counts.repeats_answered, counts.repeats_same) = (answered, right),
            }
            counts.others += if kind == "exam" { 0 } else { all };
        }
        Ok(counts)
    }

    /// Draws a pair with a known answer that the rater has not got; none if there is no other.
    pub(crate) async fn draw_gold<R: Rng>(
        &self,
        campaign: &Campaign,
        rater: RaterId,
        kind: &'static str,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<DeskItem>, StoreError> {
        let got: Vec<(Uuid, Uuid)> = with_db!(self, pool => sqlx::query_as(
            "SELECT left_image, right_image FROM campaign_checks \
             WHERE campaign_id = $1 AND rater_id = $2 AND kind <> 'repeat'")
            .bind(campaign.id.0)
            .bind(rater.0)
            .fetch_all(pool)
            .await?);
        let got: HashSet<_> = got.into_iter().map(|(a, b)| unordered(ImageId(a), ImageId(b))).collect();
        let left: Vec<&GoldPair> = campaign
            .spec
            .gold
            .iter()
            .filter(|pair| !got.contains(&unordered(pair.better, pair.worse)))
            .collect();
        let Some(&&GoldPair { better, worse }) = left.choose(rng) else { return Ok(None) };
        let Some(image) = self.get_image(better).await? else { return Ok(None) };
        let swap: bool = rng.random();
        let (left, right) = if swap { (worse, better) } else { (better, worse) };
        let question = campaign.spec.questions.first().copied().unwrap_or_default();
        let item = DeskItem {
            id: MatchupId::new(now, rng.random()),
            prompt: image.params.prompt,
            question,
            left,
            right,
            more: Vec::new(),
            kind: ItemKind::Check,
        };
        let expected = if swap { Choice::Right } else { Choice::Left };
        self.insert_check(campaign.id, rater, kind, &item, expected, now).await?;
        Ok(Some(item))
    }

    /// Draws a pair that the rater has judged, with its sides exchanged; none if all were repeated.
    pub(crate) async fn draw_repeat<R: Rng>(
        &self,
        campaign: CampaignId,
        rater: RaterId,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<DeskItem>, StoreError> {
        let rows: Vec<(String, String, Uuid, Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.prompt, m.question, m.left_image, m.right_image, v.choice \
             FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE m.campaign_id = $1 AND v.rater_id = $2 AND NOT EXISTS (SELECT 1 FROM campaign_checks c \
             WHERE c.campaign_id = $1 AND c.rater_id = $2 AND c.left_image = m.right_image \
             AND c.right_image = m.left_image AND c.question = m.question) ORDER BY v.id")
            .bind(campaign.0)
            .bind(rater.0)
            .fetch_all(pool)
            .await?);
        let Some((prompt, question, left, right, choice)) = rows.choose(rng) else { return Ok(None) };
        let item = DeskItem {
            id: MatchupId::new(now, rng.random()),
            prompt: prompt.clone(),
            question: parsed(question.parse(), "matchups", "question", campaign)?,
            left: ImageId(*right),
            right: ImageId(*left),
            more: Vec::new(),
            kind: ItemKind::Check,
        };
        let expected = match parsed(choice.parse(), "votes", "choice", campaign)? {
            Choice::Left => Choice::Right,
            Choice::Right => Choice::Left,
            same => same,
        };
        self.insert_check(campaign, rater, "repeat", &item, expected, now).await?;
        Ok(Some(item))
    }

    async fn insert_check(
        &self,
        campaign: CampaignId,
        rater: RaterId,
        kind: &'static str,
        item: &DeskItem,
        expected: Choice,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        write_db!(self, pool => sqlx::query(
            "INSERT INTO campaign_checks \
             (id, campaign_id, rater_id, kind, prompt, question, left_image, right_image, expected, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(item.id.0)
            .bind(campaign.0)
            .bind(rater.0)
            .bind(kind)
            .bind(&item.prompt)
            .bind(item.question.as_str())
            .bind(item.left.0)
            .bind(item.right.0)
            .bind(expected.as_str())
            .bind(now)
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }

    /// Answers a check, or skips it without a choice. The first answer counts: returns whether this was it.
    pub async fn answer_check(
        &self,
        id: MatchupId,
        rater: RaterId,
        choice: Option<Choice>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let answered = write_db!(self, pool => sqlx::query(
            "UPDATE campaign_checks SET choice = $3, answered_at = $4 \
             WHERE id = $1 AND rater_id = $2 AND answered_at IS NULL")
            .bind(id.0)
            .bind(rater.0)
            .bind(choice.map(Choice::as_str))
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        Ok(answered > 0)
    }
}
