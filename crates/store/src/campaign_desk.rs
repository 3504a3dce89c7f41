//! What a rater of a campaign gets: pairs of its models that have too few votes, and checks at their turns.

use crate::db::{Store, micros, parsed, with_db};
use crate::error::StoreError;
use chrono::TimeDelta;
use domain::Timestamp;
use domain::campaign::{Campaign, Form, Turn, passed, turn};
use domain::id::{CampaignId, ImageId, MatchupId, ModelId, RaterId};
use domain::matchmaking::{Candidate, comparable_pairs};
use domain::preference::{Matchup, Question};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// What an item of a campaign's desk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A pair of the campaign's models.
    Pair,
    /// A pair that measures the rater.
    Check,
    /// Three or four images, of which the best is picked.
    Set,
    /// A pair that the answer to a set has decided. It takes no answer of its own.
    Decided,
}

/// A pair at a campaign's desk: a matchup, or a check that looks like one. Or a set of three or four images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskItem {
    /// Id of the matchup, check or set.
    pub id: MatchupId,
    /// The prompt of both images.
    pub prompt: String,
    /// The question to answer.
    pub question: Question,
    /// The image on the left.
    pub left: ImageId,
    /// The image on the right.
    pub right: ImageId,
    /// A third and a fourth image, in a set.
    pub more: Vec<ImageId>,
    /// What it is.
    pub kind: ItemKind,
}

#[derive(sqlx::FromRow)]
struct ItemRow {
    id: Uuid,
    prompt: String,
    question: String,
    left_image: Uuid,
    right_image: Uuid,
    third_image: Option<Uuid>,
    fourth_image: Option<Uuid>,
    kind: i64,
}

impl TryFrom<ItemRow> for DeskItem {
    type Error = StoreError;
    fn try_from(row: ItemRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: MatchupId(row.id),
            prompt: row.prompt,
            question: parsed(row.question.parse(), "matchups", "question", row.id)?,
            left: ImageId(row.left_image),
            right: ImageId(row.right_image),
            more: row.third_image.into_iter().chain(row.fourth_image).map(ImageId).collect(),
            kind: match row.kind {
                0 => ItemKind::Pair,
                1 => ItemKind::Check,
                2 => ItemKind::Set,
                _ => ItemKind::Decided,
            },
        })
    }
}

/// An item of a campaign: a question about two comparable images of two of its models, whatever their sides.
type Item = (Question, (ImageId, ImageId));

/// Two images whatever their sides.
pub(crate) fn unordered(a: ImageId, b: ImageId) -> (ImageId, ImageId) {
    (a.min(b), a.max(b))
}

impl Store {
    /// The next pairs of a rater in an open campaign of these models, at most `count`, in the order in which they are to be
    /// answered. Fewer if nothing is left, while the exam is not decided, and after it is failed.
    ///
    /// # Errors
    /// Fails if the database does not answer or a row is inconsistent.
    pub async fn desk_items<R: Rng>(
        &self,
        campaign: &Campaign,
        models: &[ModelId],
        rater: RaterId,
        count: usize,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Vec<DeskItem>, StoreError> {
        let mut items = self.open_desk_items(campaign.id, rater, count).await?;
        // Read when the first one is drawn: the images of all models.
        let mut wanted = None;
        while items.len() < count {
            // Ids in the order of the draws.
            let now = micros(now + TimeDelta::microseconds(i64::try_from(items.len()).unwrap_or(0)));
            let checks = self.check_counts(campaign.id, rater).await?;
            if checks.exam >= campaign.spec.exam
                && passed(&campaign.spec, checks.exam_answered, checks.exam_right) != Some(true)
            {
                break;
            }
            let others = checks.others + self.drawn_items(campaign.id, rater).await?;
            let check = match turn(&campaign.spec, checks.exam, others) {
                Turn::Exam => self.draw_gold(campaign, rater, "exam", now, rng).await?,
                Turn::Gold => self.draw_gold(campaign, rater, "gold", now, rng).await?,
                Turn::Repeat => self.draw_repeat(campaign.id, rater, now, rng).await?,
                Turn::Item => None,
            };
            let item = match check {
                Some(check) => Some(check),
                None if campaign.spec.form == Form::BestOfFour => {
                    self.draw_set(campaign, models, rater, now, rng).await?
                }
                None => {
                    let wanted = match &mut wanted {
                        Some(wanted) => wanted,
                        None => wanted.insert(self.wanted_items(campaign, models).await?),
                    };
                    self.draw_item(campaign.id, wanted, rater, now, rng).await?
                }
            };
            match item {
                Some(item) => items.push(item),
                None => break,
            }
        }
        Ok(items)
    }

    /// A pair that was drawn for this rater in this campaign.
    pub async fn get_desk_item(
        &self,
        campaign: CampaignId,
        rater: RaterId,
        id: MatchupId,
    ) -> Result<Option<DeskItem>, StoreError> {
        let row: Option<ItemRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT id, prompt, question, first_image AS left_image, second_image AS right_image, third_image, fourth_image, \
             CAST(2 AS BIGINT) AS kind FROM rankings WHERE campaign_id = $1 AND rater_id = $2 AND id = $3 \
             UNION ALL SELECT id, prompt, question, left_image, right_image, NULL, NULL, \
             CAST(CASE WHEN ranking_id IS NULL THEN 0 ELSE 3 END AS BIGINT) FROM matchups \
             WHERE campaign_id = $1 AND rater_id = $2 AND id = $3 \
             UNION ALL SELECT id, prompt, question, left_image, right_image, NULL, NULL, CAST(1 AS BIGINT) FROM campaign_checks \
             WHERE campaign_id = $1 AND rater_id = $2 AND id = $3")
            .bind(campaign.0)
            .bind(rater.0)
            .bind(id.0)
            .fetch_optional(pool)
            .await?);
        row.map(DeskItem::try_from).transpose()
    }

    /// Pairs that are drawn and neither answered nor skipped, oldest first.
    async fn open_desk_items(
        &self,
        campaign: CampaignId,
        rater: RaterId,
        count: usize,
    ) -> Result<Vec<DeskItem>, StoreError> {
        let rows: Vec<ItemRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT id, prompt, question, first_image AS left_image, second_image AS right_image, third_image, fourth_image, \
             CAST(2 AS BIGINT) AS kind FROM rankings WHERE campaign_id = $1 AND rater_id = $2 AND answered_at IS NULL \
             UNION ALL SELECT m.id, m.prompt, m.question, m.left_image, m.right_image, NULL, NULL, CAST(0 AS BIGINT) \
             FROM matchups m WHERE m.campaign_id = $1 AND m.rater_id = $2 AND m.ranking_id IS NULL \
             AND NOT EXISTS (SELECT 1 FROM votes v WHERE v.matchup_id = m.id AND v.rater_id = $2) \
             AND NOT EXISTS (SELECT 1 FROM skips s WHERE s.matchup_id = m.id AND s.rater_id = $2) \
             UNION ALL SELECT id, prompt, question, left_image, right_image, NULL, NULL, CAST(1 AS BIGINT) FROM campaign_checks \
             WHERE campaign_id = $1 AND rater_id = $2 AND answered_at IS NULL ORDER BY 1 LIMIT $3")
            .bind(campaign.0)
            .bind(rater.0)
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(DeskItem::try_from).collect()
    }

    /// Number of pairs of the campaign's models that a rater has got.
    async fn drawn_items(&self, campaign: CampaignId, rater: RaterId) -> Result<u32, StoreError> {
        let (count,): (i64,) = with_db!(self, pool =>
            sqlx::query_as("SELECT COUNT(*) FROM matchups WHERE campaign_id = $1 AND rater_id = $2")
                .bind(campaign.0)
                .bind(rater.0)
                .fetch_one(pool)
                .await?);
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Number of answers that count towards a rater's session: votes on pairs of the models, and answered checks after the
    /// exam. To the rater they look the same.
    pub async fn count_answers(&self, campaign: CampaignId, rater: RaterId) -> Result<i64, StoreError> {
        let (count,): (i64,) = with_db!(self, pool => sqlx::query_as(
            "SELECT (SELECT COUNT(DISTINCT COALESCE(m.ranking_id, m.id)) FROM votes v JOIN matchups m ON m.id = v.matchup_id \
             WHERE m.campaign_id = $1 AND v.rater_id = $2) + (SELECT COUNT(*) FROM campaign_checks \
             WHERE campaign_id = $1 AND rater_id = $2 AND choice IS NOT NULL AND kind <> 'exam')")
            .bind(campaign.0)
            .bind(rater.0)
            .fetch_one(pool)
            .await?);
        Ok(count)
    }

    /// Draws one of the wanted items with the fewest votes that the rater has not got, at random, and its sides; none if there
    /// is none.
    async fn draw_item<R: Rng>(
        &self,
        campaign: CampaignId,
        wanted: &[(Item, i64)],
        rater: RaterId,
        now: Timestamp,
        rng: &mut R,
    ) -> Result<Option<DeskItem>, StoreError> {
        let got = self.items_of_rater(campaign, rater).await?;
        let left: Vec<&(Item, i64)> = wanted.iter().filter(|(item, _)| !got.contains(item)).collect();
        let least = left.iter().map(|(_, votes)| *votes).min();
        let fewest: Vec<Item> =
            left.into_iter().filter(|(_, votes)| Some(*votes) == least).map(|(item, _)| *item).collect();
        let Some(&(question, (a, b))) = fewest.choose(rng) else { return Ok(None) };
        let (left, right) = if rng.random() { (a, b) } else { (b, a) };
        let image = self.get_image(left).await?.ok_or(StoreError::Missing("image"))?;
        let item = DeskItem {
            id: MatchupId::new(now, rng.random()),
            prompt: image.params.prompt,
            question,
            left,
            right,
            more: Vec::new(),
            kind: ItemKind::Pair,
        };
        let matchup = Matchup {
            id: item.id,
            prompt: item.prompt.clone(),
            question,
            left,
            right,
            rater_id: Some(rater),
            created_at: now,
        };
        self.insert_matchup(&matchup, Some(campaign)).await?;
        Ok(Some(item))
    }

    /// The items that have fewer votes than the campaign wants, with their votes.
    async fn wanted_items(
        &self,
        campaign: &Campaign,
        models: &[ModelId],
    ) -> Result<Vec<(Item, i64)>, StoreError> {
        let votes = self.votes_of_items(campaign.id).await?;
        let items = self.campaign_items(campaign, models).await?.into_iter();
        let with_votes = items.map(|item| (item, votes.get(&item).copied().unwrap_or(0)));
        Ok(with_votes.filter(|(_, votes)| *votes < i64::from(campaign.spec.raters_per_item)).collect())
    }

    /// Every item of a campaign.
    async fn campaign_items(&self, campaign: &Campaign, models: &[ModelId]) -> Result<Vec<Item>, StoreError> {
        let mut candidates: Vec<Vec<Candidate>> = Vec::new();
        for &model in models {
            candidates.push(self.candidates_of(model, &campaign.spec.prompts).await?);
        }
        let mut items = Vec::new();
        for (index, of_a) in candidates.iter().enumerate() {
            for of_b in &candidates[index + 1..] {
                for (a, b) in comparable_pairs(of_a, of_b) {
                    items.extend(campaign.spec.questions.iter().map(|&question| (question, unordered(a, b))));
                }
            }
        }
        Ok(items)
    }

    /// Number of items of a campaign of these models.
    pub async fn count_items(&self, campaign: &Campaign, models: &[ModelId]) -> Result<usize, StoreError> {
        Ok(match campaign.spec.form {
            Form::Pair => self.campaign_items(campaign, models).await?.len(),
            Form::BestOfFour => self.campaign_sets(campaign, models).await?.len(),
        })
    }

    /// The evaluation images of a model, of these prompts unless there are none.
    pub(crate) async fn candidates_of(
        &self,
        model: ModelId,
        prompts: &[String],
    ) -> Result<Vec<Candidate>, StoreError> {
        let rows: Vec<(String, Uuid, String)> = with_db!(self, pool => sqlx::query_as(
            "SELECT params_sha256, id, prompt FROM images WHERE model_id = $1 AND purpose = 'evaluation' \
             ORDER BY params_sha256, id")
            .bind(model.0)
            .fetch_all(pool)
            .await?);
        let wanted: HashSet<&str> = prompts.iter().map(String::as_str).collect();
        let rows =
            rows.into_iter().filter(|(.., prompt)| wanted.is_empty() || wanted.contains(prompt.as_str()));
        Ok(rows.map(|(params, id, _)| Candidate { params, image: ImageId(id) }).collect())
    }

    /// The items that a rater has got, answered or not.
    async fn items_of_rater(
        &self,
        campaign: CampaignId,
        rater: RaterId,
    ) -> Result<HashSet<Item>, StoreError> {
        let rows: Vec<(String, Uuid, Uuid)> = with_db!(self, pool => sqlx::query_as(
            "SELECT question, left_image, right_image FROM matchups WHERE campaign_id = $1 AND rater_id = $2")
            .bind(campaign.0)
            .bind(rater.0)
            .fetch_all(pool)
            .await?);
        rows.into_iter().map(|row| item_of(campaign, row)).collect()
    }

    /// The votes of each item that has any.
    async fn votes_of_items(&self, campaign: CampaignId) -> Result<HashMap<Item, i64>, StoreError> {
        let rows: Vec<(String, Uuid, Uuid, i64)> = with_db!(self, pool => sqlx::query_as(
            "SELECT m.question, m.left_image, m.right_image, COUNT(*) \
             FROM matchups m JOIN votes v ON v.matchup_id = m.id WHERE m.campaign_id = $1 \
             GROUP BY m.question, m.left_image, m.right_image")
            .bind(campaign.0)
            .fetch_all(pool)
            .await?);
        let mut votes = HashMap::new();
        for (question, left, right, count) in rows {
            *votes.entry(item_of(campaign, (question, left, right))?).or_insert(0) += count;
        }
        Ok(votes)
    }
}

fn item_of(campaign: CampaignId, (question, left, right): (String, Uuid, Uuid)) -> Result<Item, StoreError> {
    let question = parsed(question.parse(), "matchups", "question", campaign)?;
    Ok((question, unordered(ImageId(left), ImageId(right))))
}
